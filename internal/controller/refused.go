package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

const (
	// refusedTries is how often what the API server refused is tried within a minute each; then refusedRecheck is between tries.
	refusedTries   = 10
	refusedRecheck = 5 * time.Minute
	maxRefusedWait = time.Minute
)

// comesAndGoes reports whether an error of the API server is nobody's fault and the newer state is on its way: conflicts, and what
// comes and goes. A namespace does not.
func comesAndGoes(err error) bool {
	var write *credential.WriteError
	if errors.As(err, &write) && write.NamespaceMissing() {
		return false
	}
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		errors.Is(err, claims.ErrLost) || errors.Is(err, errSaving) || errors.Is(err, context.Canceled)
}

// refusedRetry is when a step is tried again that the API server refused: whoever can mend that is at it, or is not there.
func refusedRetry(now time.Time, uid types.UID, s step, attempts int32) time.Time {
	delay := refusedRecheck
	if attempts <= refusedTries {
		delay = min(maxRefusedWait, firstRetry<<max(0, attempts-1))
	}
	return now.Add(delay - time.Duration(float64(delay)*0.1*fraction(uid, string(s))))
}

// refused notes that the API server did not do what a step wanted. The other steps go on.
func (r *Reconciler) refused(o *work, s step, err error) {
	now := r.Clock.Now()
	reason, message := refusedText(err)
	o.recordFailure(s, reason, message, now, func(attempts int32) time.Time { return refusedRetry(now, o.conn.UID, s, attempts) })
}

// refusedText says what the API server did not do, and what helps. The API server's own words say which quota, policy or role it was.
func refusedText(err error) (reason, message string) {
	if errors.Is(err, credential.ErrTooLarge) {
		return v1alpha1.ReasonSecretWriteFailing, "What is to be stored is too large for the credential Secret of this connection. Shorten the client credentials; if they are short, delete the connection and create it anew. It says: " + mcpoauth.Sanitize(err.Error(), maxScopeText)
	}
	var w *credential.WriteError
	if !errors.As(err, &w) {
		return v1alpha1.ReasonAPIServerFailing, "The API server does not do what the operator asks; it is asked again. It says: " + mcpoauth.Sanitize(err.Error(), maxScopeText)
	}
	secret := fmt.Sprintf("The Secret %s in namespace %s ", w.Name, w.Namespace)
	switch {
	case w.NamespaceMissing():
		message = secret + "cannot be created, since its namespace does not exist. Create it: `kubectl create namespace " + w.Namespace + "`"
	case w.Immutable:
		message = secret + "is immutable, so it cannot be written. Delete it, and it is made anew: " + deletion(w)
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		message = secret + "is not accepted by the API server. Correct spec.tokenSecret. The API server says: " + w.Cause()
	case apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		message = fmt.Sprintf("%scannot be written: the API server refuses to %s it. Change the quota, policy or role that says so; it is tried again by itself. The API server says: %s", secret, w.Verb, w.Cause())
	default:
		message = fmt.Sprintf("%scannot be written: the API server fails to %s it, and is asked again. It says: %s", secret, w.Verb, w.Cause())
	}
	return v1alpha1.ReasonSecretWriteFailing, message
}

// deletion is the command that deletes a Secret.
func deletion(w *credential.WriteError) string {
	return fmt.Sprintf("`kubectl -n %s delete secret %s`", w.Namespace, w.Name)
}

// ofServers are the failures that servers or persons can mend: without those of the API server.
func (f failures) ofServers() failures {
	return slices.DeleteFunc(slices.Clone(f), func(failure v1alpha1.Failure) bool { return is(failure.Reason, ofAPIServer) })
}

// ofAPIServer is the most important failure of the API server; nil if there is none.
func (f failures) ofAPIServer() *v1alpha1.Failure {
	for i := range f {
		if is(f[i].Reason, ofAPIServer) {
			return &f[i]
		}
	}
	return nil
}

// blind reports that not even the stored state can be read. All that is known is what status said, and what time it is.
func (r *Reconciler) blind(ctx context.Context, conn *v1alpha1.MCPConnection, err error) (ctrl.Result, error) {
	if comesAndGoes(err) {
		return r.settle(err)
	}
	now := r.Clock.Now()
	o := &work{observed: &observed{conn: conn, failures: rememberedFailures(conn, r.ExternalURL)}}
	r.refused(o, stepObserve, err)
	if err := r.patchStatus(ctx, o, unreadStatus(now, o.observed)); err != nil {
		return r.settle(err)
	}
	tasks := o.failures.retries()
	if t := conn.Status.Token; t != nil && t.ExpiresAt != nil {
		tasks = append(tasks, task{step: stepObserve, at: t.ExpiresAt.Time})
	}
	next, _ := earliest(now, tasks)
	return wakeAt(now, next.at, func(time.Time) slots.Urgency { return slots.Ordinary }), nil
}

// unreadStatus is the status as it was, with Ready turned False on time.
func unreadStatus(now time.Time, o *observed) v1alpha1.MCPConnectionStatus {
	status := *o.conn.Status.DeepCopy()
	status.ObservedGeneration, status.Next = o.conn.Generation, nil
	reportFailures(&status, o.failures)
	failure := o.failures.find(stepObserve)
	ready := no(failure.Reason, failure.Message)
	expired := status.Token != nil && status.Token.ExpiresAt != nil && !now.Before(status.Token.ExpiresAt.Time)
	if old := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); old != nil && old.Status == metav1.ConditionTrue && !expired {
		ready = yes(failure.Reason, failure.Message)
	}
	reconciling, _ := progressVerdicts(o, ready)
	kept := slices.DeleteFunc(status.Conditions, func(c metav1.Condition) bool {
		return slices.Contains([]string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled}, c.Type)
	})
	for i := range kept {
		kept[i].ObservedGeneration = o.conn.Generation
	}
	status.Conditions = append([]metav1.Condition{condition(now, o, v1alpha1.ConditionReady, ready)}, kept...)
	if reconciling != nil {
		status.Conditions = append(status.Conditions, condition(now, o, v1alpha1.ConditionReconciling, reconciling))
	}
	return status
}

// secretVersion stands for the live token Secret and the token to be published. A publication that was refused is tried at
// once under another one. Where others change what was written, every version is another one, and only a new token counts.
func (o *observed) secretVersion(contested bool) string {
	var version []string
	if g := o.grant(); g != nil {
		version = append(version, issuedAt(g), g.Revoke)
	}
	if contested {
		return "c" + credential.Hash(strings.Join(version, " "))[:12]
	}
	if o.secret != nil {
		version = append(version, string(o.secret.UID), o.secret.ResourceVersion)
	}
	return "r" + credential.Hash(strings.Join(version, " "))[:12]
}

// retryPublish has a publication tried now that was refused for what is not there any more.
func (o *observed) retryPublish(now time.Time) {
	f := o.failures.find(stepPublish)
	if f == nil {
		return
	}
	if before := f.Inputs; before != "" && before != o.secretVersion(strings.HasPrefix(before, "c")) {
		f.RetryAt = timeOf(now.Truncate(time.Second))
	}
}

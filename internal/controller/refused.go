package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// settlesByItself reports whether an error of the API server is nobody's fault and the newer state is on its way:
// conflicts, and what comes and goes. A namespace does not.
func settlesByItself(err error) bool {
	var write *credential.WriteError
	if errors.As(err, &write) && write.NamespaceMissing() {
		return false
	}
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		errors.Is(err, claims.ErrLost) || errors.Is(err, errSaving) || errors.Is(err, context.Canceled)
}

// refused notes that the API server did not do what a step wanted. The other steps go on.
func (r *Reconciler) refused(w *work, step lifecycle.Step, err error) {
	now := r.Clock.Now()
	reason, message := refusedText(err)
	w.RecordFailure(step, reason, message, now, func(attempts int32) time.Time {
		return lifecycle.RefusedRetry(now, w.Conn.UID, step, attempts)
	})
}

// refusedText says what the API server did not do, and what helps. The API server's own words say which quota, policy
// or role it was.
func refusedText(err error) (reason, message string) {
	if errors.Is(err, credential.ErrTooLarge) {
		return v1alpha1.ReasonSecretWriteFailing, "What is to be stored is too large for the credential Secret of this " +
			"connection. Shorten the client credentials; if they are short, delete the connection and create it " +
			"anew. It says: " + mcpoauth.Sanitize(err.Error(), lifecycle.MaxScopeText)
	}
	var w *credential.WriteError
	if !errors.As(err, &w) {
		return v1alpha1.ReasonAPIServerFailing, "The API server does not do what the operator asks; it is asked " +
			"again. It says: " + mcpoauth.Sanitize(err.Error(), lifecycle.MaxScopeText)
	}
	secret := fmt.Sprintf("The Secret %s in namespace %s ", w.Name, w.Namespace)
	switch {
	case w.NamespaceMissing():
		message = secret + "cannot be created, since its namespace does not exist. Create it: `kubectl create namespace " +
			w.Namespace + "`"
	case w.Immutable:
		message = secret + "is immutable, so it cannot be written. Delete it, and it is made anew: " + deletion(w)
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		message = secret + "is not accepted by the API server. Correct spec.tokenSecret. The API server says: " + w.Cause()
	case apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		message = fmt.Sprintf("%scannot be written: the API server refuses to %s it. Change the quota, policy or role that "+
			"says so; it is tried again by itself. The API server says: %s", secret, w.Verb, w.Cause())
	default:
		message = fmt.Sprintf("%scannot be written: the API server fails to %s it, and is asked again. It says: %s", secret,
			w.Verb, w.Cause())
	}
	return v1alpha1.ReasonSecretWriteFailing, message
}

// deletion is the command that deletes a Secret.
func deletion(w *credential.WriteError) string {
	return fmt.Sprintf("`kubectl -n %s delete secret %s`", w.Namespace, w.Name)
}

// reportUnread reports that not even the stored state can be read. All that is known is what status said, and what time
// it is.
func (r *Reconciler) reportUnread(ctx context.Context, conn *v1alpha1.MCPConnection, err error) (ctrl.Result, error) {
	if settlesByItself(err) {
		return r.settle(err)
	}
	now := r.Clock.Now()
	w := &work{State: &lifecycle.State{Conn: conn, Failures: lifecycle.RememberedFailures(conn, r.ExternalURL)}}
	r.refused(w, lifecycle.StepObserve, err)
	if err := r.patchStatus(ctx, w, lifecycle.UnreadStatus(now, w.State)); err != nil {
		return r.settle(err)
	}
	tasks := w.Failures.Retries()
	if t := conn.Status.Token; t != nil && t.ExpiresAt != nil {
		tasks = append(tasks, lifecycle.Task{Step: lifecycle.StepObserve, At: t.ExpiresAt.Time})
	}
	next, _ := lifecycle.Earliest(now, tasks)
	return wakeAt(now, next.At), nil
}

package controller

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// failures are the steps that fail now, in the order of importance.
type failures []v1alpha1.Failure

// failuresOf reads what status remembers, less what a new spec or a request of a person has made void.
func failuresOf(conn *v1alpha1.MCPConnection) failures {
	if conn.Status.Failure == nil {
		return nil
	}
	all := append(failures{*conn.Status.Failure.DeepCopy()}, conn.Status.OtherFailures...)
	trigger := triggerOf(conn)
	return slices.DeleteFunc(all, func(f v1alpha1.Failure) bool { return f.Trigger != trigger })
}

// triggerOf is a fingerprint of what may call for a new start: the generation and the request annotations.
func triggerOf(conn *v1alpha1.MCPConnection) string {
	a := conn.Annotations
	return credential.Hash(fmt.Sprintf("%d %q %q %q", conn.Generation,
		a[v1alpha1.AnnotationReauthorize], a[v1alpha1.AnnotationRefresh], a[v1alpha1.AnnotationRevoke]))[:12]
}

// outlived forgets failures to replace a token that was replaced since: a process may have died before it wrote that to
// status, and the new token's time has not come.
func (f *failures) outlived(g *credential.Grant, now time.Time) {
	if g == nil || setBack(now, g.IssuedAt) { // by such a clock every failure is older
		return
	}
	*f = slices.DeleteFunc(*f, func(failure v1alpha1.Failure) bool {
		s := step(failure.Step)
		return (s == stepRefresh || s == stepRequestToken) && failure.Since != nil && failure.Since.Time.Before(g.IssuedAt.Truncate(time.Second))
	})
}

func (f failures) find(s step) *v1alpha1.Failure {
	for i := range f {
		if f[i].Step == string(s) {
			return &f[i]
		}
	}
	return nil
}

func (f failures) has(s step) bool { return f.find(s) != nil }

// waiting says whether a step failed and its retry time has not come.
func (f failures) waiting(s step, now time.Time) bool {
	failure := f.find(s)
	return failure != nil && (failure.RetryAt == nil || now.Before(failure.RetryAt.Time)) && !setBack(now, attemptOf(failure))
}

// attemptOf is when a step failed last, as far as is known.
func attemptOf(f *v1alpha1.Failure) time.Time {
	if f.AttemptedAt == nil {
		return time.Time{}
	}
	return f.AttemptedAt.Time
}

// retries are the failed steps, due when they are tried again.
func (f failures) retries() []task {
	var tasks []task
	for _, failure := range f {
		if failure.RetryAt != nil {
			tasks = append(tasks, task{step: step(failure.Step), at: failure.RetryAt.Time})
		}
	}
	return tasks
}

// clear forgets the failure of a step that succeeded.
func (f *failures) clear(s step) {
	*f = slices.DeleteFunc(*f, func(failure v1alpha1.Failure) bool { return failure.Step == string(s) })
}

// healed forgets the failure of a step that the API server refused before and did not now. A step that failed at a server has
// noted that itself.
func (f *failures) healed(s step, before *v1alpha1.Failure) {
	if now := f.find(s); before != nil && now != nil && now.Attempts == before.Attempts && is(now.Reason, ofAPIServer) && !contestedFailure(now) {
		f.clear(s)
	}
}

// settled is o without the failures of steps that are not to be done any more: a discovery for a consent that is no
// longer wanted, a publication that something else made up for. Nobody would ever retry and clear them.
func (o *observed) settled(now time.Time) *observed {
	settled := *o
	settled.failures = slices.DeleteFunc(slices.Clone(o.failures), func(f v1alpha1.Failure) bool { return !o.toDo(step(f.Step), now) })
	return &settled
}

// consentDue says whether a link is wanted and there is none.
func (o *observed) consentDue(now time.Time) bool { return o.consentWanted(now) && !o.offerUsable(now) }

// recordFailure notes one more failure of a step. retry is called with the number of attempts and says when to try
// again; zero means only after an edit.
func (o *observed) recordFailure(s step, reason, message string, now time.Time, retry func(attempts int32) time.Time) {
	f := &o.failures
	failure := v1alpha1.Failure{Step: string(s), Since: timeOf(now), AttemptedAt: timeOf(now), Trigger: triggerOf(o.conn), Inputs: o.inputsOf(reason)}
	if old := f.find(s); old != nil {
		failure.Attempts = old.Attempts
		if old.Since != nil && !old.Since.After(now) {
			failure.Since = old.Since
		}
	}
	failure.Attempts++
	failure.Reason, failure.Message = reason, sentence(message)
	if at := retry(failure.Attempts); !at.IsZero() {
		failure.RetryAt = timeOf(at)
	}
	f.put(failure)
}

// put notes a failure in place of the one of the same step.
func (f *failures) put(failure v1alpha1.Failure) {
	f.clear(step(failure.Step))
	*f = append(*f, failure)
	slices.SortStableFunc(*f, func(a, b v1alpha1.Failure) int {
		return importance(step(a.Step)) - importance(step(b.Step))
	})
}

// timeOf is an instant as the API stores it: whole seconds, rounded up so that a retry never comes early.
func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	whole := t.Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return &metav1.Time{Time: whole}
}

// fail notes that a step failed at a server, and when it is tried again.
func (o *observed) fail(now time.Time, s step, err error, reason string) {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Kind: mcpoauth.Transient, Message: err.Error()}
	}
	if reason == "" {
		reason = string(e.Code)
	}
	o.failAs(now, s, e, reason, e.Message)
}

// failAs is fail with a reason and a message of its own. While a token is valid neither the back-off nor the server may use up
// what is left of it.
func (o *observed) failAs(now time.Time, s step, e *mcpoauth.Error, reason, message string) {
	var expiresAt time.Time
	switch g := o.grant(); {
	case g != nil && s == stepRefresh && g.SetAside != nil: // nothing hurries any more
		o.recordFailure(s, reason, message, now, func(int32) time.Time { return now.Add(max(retryDelay(o.conn.UID, s, longAgo, e.Kind), e.RetryAfter)) })
		return
	case g != nil && (s == stepRefresh || s == stepRequestToken):
		expiresAt = g.ExpiresAt
		if g.EndsAt.After(now) && (expiresAt.IsZero() || g.EndsAt.Before(expiresAt)) {
			expiresAt = g.EndsAt
		}
	case g != nil && s == stepUpdateRegistration:
		expiresAt = g.Client.SecretExpiresAt
	}
	o.recordFailure(s, reason, message, now, func(attempts int32) time.Time {
		return retryTime(now, retryDelay(o.conn.UID, s, attempts, e.Kind), e.RetryAfter, expiresAt)
	})
}

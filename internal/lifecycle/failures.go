package lifecycle

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// Failures are the steps that fail now, in the order of importance.
type Failures []v1alpha1.Failure

// failuresOf reads what status remembers, less what a new spec or a request of a person has made void.
func failuresOf(conn *v1alpha1.MCPConnection) Failures {
	if conn.Status.Failure == nil {
		return nil
	}
	all := append(Failures{*conn.Status.Failure.DeepCopy()}, conn.Status.OtherFailures...)
	trigger := TriggerOf(conn)
	return slices.DeleteFunc(all, func(f v1alpha1.Failure) bool { return f.Trigger != trigger })
}

// TriggerOf is a fingerprint of what may call for a new start: the generation and the request annotations.
func TriggerOf(conn *v1alpha1.MCPConnection) string {
	a := conn.Annotations
	return credential.Hash(fmt.Sprintf("%d %q %q %q", conn.Generation,
		a[v1alpha1.AnnotationReauthorize], a[v1alpha1.AnnotationRefresh], a[v1alpha1.AnnotationRevoke]))[:12]
}

// Outlived forgets failures to replace a token that was replaced since: a process may have died before it wrote that to
// status, and the new token's time has not come.
func (f *Failures) Outlived(g *credential.Grant, now time.Time) {
	if g == nil || SetBack(now, g.IssuedAt) { // by such a clock every failure is older
		return
	}
	*f = slices.DeleteFunc(*f, func(failure v1alpha1.Failure) bool {
		step := Step(failure.Step)
		return (step == StepRefresh || step == StepRequestToken) && failure.Since != nil &&
			failure.Since.Time.Before(g.IssuedAt.Truncate(time.Second))
	})
}

// Find is the failure of a step; nil if it does not fail.
func (f Failures) Find(step Step) *v1alpha1.Failure {
	for i := range f {
		if f[i].Step == string(step) {
			return &f[i]
		}
	}
	return nil
}

// Has reports whether a step fails.
func (f Failures) Has(step Step) bool { return f.Find(step) != nil }

// waiting reports whether a step failed and its retry time has not come.
func (f Failures) waiting(step Step, now time.Time) bool {
	failure := f.Find(step)
	return failure != nil && (failure.RetryAt == nil || now.Before(failure.RetryAt.Time)) &&
		!SetBack(now, attemptOf(failure))
}

// attemptOf is when a step failed last, as far as is known.
func attemptOf(f *v1alpha1.Failure) time.Time {
	if f.AttemptedAt == nil {
		return time.Time{}
	}
	return f.AttemptedAt.Time
}

// Retries are the failed steps, due when they are tried again.
func (f Failures) Retries() []Task {
	var tasks []Task
	for _, failure := range f {
		if failure.RetryAt != nil {
			tasks = append(tasks, Task{Step: Step(failure.Step), At: failure.RetryAt.Time})
		}
	}
	return tasks
}

// Clear forgets the failure of a step that succeeded.
func (f *Failures) Clear(step Step) {
	*f = slices.DeleteFunc(*f, func(failure v1alpha1.Failure) bool { return failure.Step == string(step) })
}

// Healed forgets the failure of a step that the API server refused before and did not now. A step that failed at a
// server has noted that itself.
func (f *Failures) Healed(step Step, before *v1alpha1.Failure) {
	if now := f.Find(step); before != nil && now != nil && now.Attempts == before.Attempts &&
		reasons.Is(now.Reason, reasons.OfAPIServer) && !ContestedFailure(now) {
		f.Clear(step)
	}
}

// settled is s without the failures of steps that are not to be done any more: a discovery for a consent that is no
// longer wanted, a publication that something else made up for. Nobody would ever retry and clear them.
func (s *State) settled(now time.Time) *State {
	settled := *s
	settled.Failures = slices.DeleteFunc(slices.Clone(s.Failures),
		func(f v1alpha1.Failure) bool { return !s.needed(Step(f.Step), now) })
	return &settled
}

// consentDue reports whether a link is wanted and there is none.
func (s *State) consentDue(now time.Time) bool { return s.consentWanted(now) && !s.offerUsable(now) }

// RecordFailure notes one more failure of a step. retry is called with the number of attempts and says when to try
// again; zero means only after an edit.
func (s *State) RecordFailure(step Step, reason, message string, now time.Time, retry func(attempts int32) time.Time) {
	f := &s.Failures
	failure := v1alpha1.Failure{Step: string(step), Since: TimeOf(now), AttemptedAt: TimeOf(now),
		Trigger: TriggerOf(s.Conn), Inputs: s.InputsOf(reason)}
	if old := f.Find(step); old != nil {
		failure.Attempts = old.Attempts
		if old.Since != nil && !old.Since.After(now) {
			failure.Since = old.Since
		}
	}
	failure.Attempts++
	failure.Reason, failure.Message = reason, Sentence(message)
	if at := retry(failure.Attempts); !at.IsZero() {
		failure.RetryAt = TimeOf(at)
	}
	f.Put(failure)
}

// Put notes a failure in place of the one of the same step.
func (f *Failures) Put(failure v1alpha1.Failure) {
	f.Clear(Step(failure.Step))
	*f = append(*f, failure)
	slices.SortStableFunc(*f, func(a, b v1alpha1.Failure) int {
		return importance(Step(a.Step)) - importance(Step(b.Step))
	})
}

// TimeOf is an instant as the API stores it: whole seconds, rounded up so that a retry never comes early.
func TimeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	whole := t.Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return &metav1.Time{Time: whole}
}

// FailWith notes that a step failed at a server, and when it is tried again.
func (s *State) FailWith(now time.Time, step Step, err error, reason string) {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Kind: mcpoauth.Transient, Message: err.Error()}
	}
	if reason == "" {
		reason = string(e.Code)
	}
	s.FailAs(now, step, e, reason, e.Message)
}

// FailAs is FailWith with a reason and a message of its own. While a token is valid neither the back-off nor the server
// may use up what is left of it.
func (s *State) FailAs(now time.Time, step Step, e *mcpoauth.Error, reason, message string) {
	var expiresAt time.Time
	switch g := s.Grant(); {
	case g != nil && step == StepRefresh && g.SetAside != nil: // nothing hurries any more
		s.RecordFailure(step, reason, message, now, func(int32) time.Time {
			return now.Add(max(RetryDelay(s.Conn.UID, step, longAgo, e.Kind), e.RetryAfter))
		})
		return
	case g != nil && (step == StepRefresh || step == StepRequestToken):
		expiresAt = g.ExpiresAt
		if g.EndsAt.After(now) && (expiresAt.IsZero() || g.EndsAt.Before(expiresAt)) {
			expiresAt = g.EndsAt
		}
	case g != nil && step == StepUpdateRegistration:
		expiresAt = g.Client.SecretExpiresAt
	}
	s.RecordFailure(step, reason, message, now, func(attempts int32) time.Time {
		return RetryTime(now, RetryDelay(s.Conn.UID, step, attempts, e.Kind), e.RetryAfter, expiresAt)
	})
}

// RememberedFailures are those of status, unless something calls for a new start.
func RememberedFailures(conn *v1alpha1.MCPConnection, externalURL string) Failures {
	remembered := failuresOf(conn)
	if f := remembered.Find(StepStartAuthorization); f != nil && f.Reason == v1alpha1.ReasonConsentUnavailable &&
		externalURL != "" {
		remembered.Clear(StepStartAuthorization)
	}
	return remembered
}

// ofServers are the failures that servers or persons can mend: without those of the API server.
func (f Failures) ofServers() Failures {
	return slices.DeleteFunc(slices.Clone(f), func(failure v1alpha1.Failure) bool {
		return reasons.Is(failure.Reason, reasons.OfAPIServer)
	})
}

// ofAPIServer is the most important failure of the API server; nil if there is none.
func (f Failures) ofAPIServer() *v1alpha1.Failure {
	for i := range f {
		if reasons.Is(f[i].Reason, reasons.OfAPIServer) {
			return &f[i]
		}
	}
	return nil
}

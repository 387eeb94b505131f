package lifecycle

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/reasons"
)

// isSentence ends with a full stop, or with what is to be pasted: in quotes, or on lines of its own.
var isSentence = regexp.MustCompile("(?s)([.]|\"[^\"]+\"|`[^`]+`|:\n.+)$")

var reasonForm = regexp.MustCompile(`^[A-Z][A-Za-z]*$`)

// CheckStatusLaws says which laws of status a connection breaks, as one sentence each. now is when it was reconciled.
func CheckStatusLaws(conn *v1alpha1.MCPConnection, now time.Time) []string {
	l := &laws{now: now}
	status := &conn.Status
	if status.ObservedGeneration != conn.Generation {
		l.broken("observedGeneration is %d at generation %d", status.ObservedGeneration, conn.Generation)
	}
	seen := map[string]bool{}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if seen[c.Type] {
			l.broken("%s is there twice", c.Type)
		}
		seen[c.Type] = true
		l.condition(conn, c)
	}
	l.readiness(conn)
	l.failures(status)
	return l.out
}

type laws struct {
	now time.Time
	out []string
}

func (l *laws) broken(format string, args ...any) {
	l.out = append(l.out, fmt.Sprintf(format, args...))
}

// condition checks what holds for each condition by itself.
func (l *laws) condition(conn *v1alpha1.MCPConnection, c *metav1.Condition) {
	if c.ObservedGeneration != conn.Status.ObservedGeneration {
		l.broken("%s speaks of generation %d, the status of %d", c.Type, c.ObservedGeneration, conn.Status.ObservedGeneration)
	}
	if c.LastTransitionTime.IsZero() || c.LastTransitionTime.After(l.now) {
		l.broken("%s changed at %s, and now is %s", c.Type, c.LastTransitionTime, l.now)
	}
	if !reasonForm.MatchString(c.Reason) {
		l.broken("%s has the reason %q", c.Type, c.Reason)
	}
	l.message(conn, c.Type, c.Message)
	abnormal := c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled
	switch {
	case abnormal && c.Status != metav1.ConditionTrue:
		l.broken("%s is %s: abnormal conditions are True or absent", c.Type, c.Status)
	case !abnormal && c.Type != v1alpha1.ConditionProbed && c.Status != metav1.ConditionTrue &&
		c.Status != metav1.ConditionFalse:
		l.broken("%s is %q", c.Type, c.Status)
	case abnormal || c.Type == v1alpha1.ConditionReady: // see readiness
	case !v1alpha1.IsConditionType(c.Type):
		l.broken("%s is no condition of the contract", c.Type)
	case !slices.Contains(reasons.At(c.Type, c.Status), c.Reason):
		l.broken("%s=%s cannot have the reason %s", c.Type, c.Status, c.Reason)
	}
}

// message checks that a text is a sentence for a person and holds no link.
func (l *laws) message(conn *v1alpha1.MCPConnection, where, text string) {
	if text == "" || text != strings.TrimSpace(text) || !isSentence.MatchString(text) || strings.HasSuffix(text, "..") ||
		len(text) > 32768 {
		l.broken("the message of %s is no sentence: %q", where, text)
	}
	link := conn.Status.AuthorizationURL
	ticket := link[strings.LastIndexByte(link, '/')+1:]
	if strings.Contains(text, "/connect/") || (ticket != "" && strings.Contains(text, ticket)) {
		l.broken("the message of %s holds the link", where)
	}
}

// readiness checks Ready against the other conditions and the token.
func (l *laws) readiness(conn *v1alpha1.MCPConnection) {
	conditions, token := conn.Status.Conditions, conn.Status.Token
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil {
		l.broken("Ready is missing")
		return
	}
	l.progress(conditions, ready)
	if ready.Reason == v1alpha1.ReasonSuspended && conn.Status.AuthorizationURL != "" {
		l.broken("a link is shown while the connection is suspended")
	}
	if f := allFailures(&conn.Status).Find(StepFinalize); f == nil {
		l.readyReason(conditions, ready)
	} else if ready.Reason != f.Reason {
		l.broken("Ready says %s, and the deletion fails with %s", ready.Reason, f.Reason)
	}
	if ready.Status == metav1.ConditionTrue && (token == nil || token.SecretName == "" ||
		(token.ExpiresAt != nil && !token.ExpiresAt.After(l.now))) {
		l.broken("Ready is True with the token %+v", token)
	}
}

// progress checks Reconciling and Stalled, by which kstatus judges.
func (l *laws) progress(conditions []metav1.Condition, ready *metav1.Condition) {
	reconciling, stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionReconciling),
		meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)
	neither := reconciling == nil && stalled == nil
	switch {
	case reconciling != nil && stalled != nil:
		l.broken("Reconciling and Stalled are both present")
	case ready.Status == metav1.ConditionTrue && !neither:
		l.broken("Reconciling or Stalled is present while Ready is True")
	case ready.Status == metav1.ConditionFalse && ready.Reason != v1alpha1.ReasonSuspended && neither:
		l.broken("neither Reconciling nor Stalled is present while Ready is False")
	}
	for _, c := range []*metav1.Condition{reconciling, stalled} {
		if c != nil && c.Reason != ready.Reason {
			l.broken("%s says %s and Ready says %s", c.Type, c.Reason, ready.Reason)
		}
	}
}

// readyReason checks that Ready's reason is its own or that of a condition it follows from.
func (l *laws) readyReason(conditions []metav1.Condition, ready *metav1.Condition) {
	if l.probeReason(conditions, ready) || slices.Contains(reasons.At(v1alpha1.ConditionReady, ready.Status),
		ready.Reason) {
		return
	}
	isTrue := ready.Status == metav1.ConditionTrue
	for _, name := range []string{v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered,
		v1alpha1.ConditionAuthorized} {
		c := meta.FindStatusCondition(conditions, name)
		switch {
		case c == nil, isTrue && name != v1alpha1.ConditionAuthorized, !isTrue && c.Status == metav1.ConditionTrue:
			continue
		case c.Reason != ready.Reason:
			l.broken("Ready=%s says %s, but %s=%s says %s", ready.Status, ready.Reason, name, c.Status, c.Reason)
		}
		return
	}
	if !isTrue || ready.Reason != v1alpha1.ReasonSucceeded {
		l.broken("Ready=%s says %s, and no condition says why", ready.Status, ready.Reason)
	}
}

// probeReason reports whether Ready's reason is that of Probed, and checks that it is where it has to be.
func (l *laws) probeReason(conditions []metav1.Condition, ready *metav1.Condition) bool {
	probed := meta.FindStatusCondition(conditions, v1alpha1.ConditionProbed)
	if probed == nil {
		return false
	}
	wants := map[string]metav1.ConditionStatus{v1alpha1.ReasonProbeUnauthorized: metav1.ConditionFalse,
		v1alpha1.ReasonInsufficientScope: metav1.ConditionTrue}[probed.Reason]
	if wants == ready.Status && probed.Reason == ready.Reason {
		return true
	}
	if (wants != "" && reasons.Is(ready.Reason, reasons.Yields)) || (probed.Reason == v1alpha1.ReasonProbeUnauthorized &&
		ready.Status == metav1.ConditionTrue) {
		l.broken("Ready=%s says %s, and Probed=%s says %s", ready.Status, ready.Reason, probed.Status, probed.Reason)
	}
	return false
}

// failures checks that status.failure and status.otherFailures are whole.
func (l *laws) failures(status *v1alpha1.MCPConnectionStatus) {
	if status.Failure == nil {
		if len(status.OtherFailures) > 0 {
			l.broken("there are other failures but no failure")
		}
		return
	}
	var steps []string
	for _, f := range append([]v1alpha1.Failure{*status.Failure}, status.OtherFailures...) {
		if slices.Contains(steps, f.Step) || importance(Step(f.Step)) < 0 {
			l.broken("a failure of step %q after %v", f.Step, steps)
		}
		steps = append(steps, f.Step)
		if f.Attempts < 1 || f.Since == nil || f.Since.After(l.now.Add(time.Second)) || f.Reason == "" || f.Trigger == "" {
			l.broken("the failure of %s is not whole: %+v", f.Step, f)
		}
		if f.RetryAt != nil && f.Since != nil && f.RetryAt.Before(f.Since) {
			l.broken("%s is retried at %s, before it failed at %s", f.Step, f.RetryAt, f.Since)
		}
		l.message(&v1alpha1.MCPConnection{Status: *status}, "the failure of "+f.Step, f.Message)
	}
}

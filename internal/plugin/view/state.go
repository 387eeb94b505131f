package view

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Condition of a connection; nil if it is not there yet.
func Condition(m *v1alpha1.MCPConnection, kind string) *metav1.Condition {
	return meta.FindStatusCondition(m.Status.Conditions, kind)
}

// Ready reports whether the token Secret holds a valid token.
func Ready(m *v1alpha1.MCPConnection) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReady)
}

// Known reports whether the operator has judged the present spec.
func Known(m *v1alpha1.MCPConnection) bool {
	ready := Condition(m, v1alpha1.ConditionReady)
	return ready != nil && ready.Status != metav1.ConditionUnknown && ready.ObservedGeneration >= m.Generation &&
		ready.Reason != v1alpha1.ReasonProgressing
}

// Stalled reports whether nothing goes on before somebody edits something.
func Stalled(m *v1alpha1.MCPConnection) bool {
	stalled := Condition(m, v1alpha1.ConditionStalled)
	return stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.ObservedGeneration >= m.Generation
}

// Suspended reports whether spec.suspend holds.
func Suspended(m *v1alpha1.MCPConnection) bool { return ptr.Deref(m.Spec.Suspend, false) }

// Reason of Ready; empty if nobody has looked yet.
func Reason(m *v1alpha1.MCPConnection) string {
	if ready := Condition(m, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// NeedsPerson reports whether nothing but a person's act brings a connection on: there is a link to open, or it is
// stalled. It looks at no reason, so that those of a newer operator count too.
func NeedsPerson(m *v1alpha1.MCPConnection) bool {
	return !Suspended(m) && m.DeletionTimestamp == nil && (m.Status.AuthorizationURL != "" || Stalled(m))
}

// Next is what a person can do: a sentence, a command to paste, or both; empty if there is nothing to do.
func Next(m *v1alpha1.MCPConnection) (sentence, command string) {
	mcpc := func(verb string) string { return fmt.Sprintf("kubectl mcpc %s %s -n %s", verb, m.Name, m.Namespace) }
	switch reason := Reason(m); {
	case m.DeletionTimestamp != nil:
		return "wait: it is being deleted", ""
	case Suspended(m):
		return "", mcpc("resume")
	case reason == v1alpha1.ReasonConsentUnavailable:
		return "give the operator an address for browsers; this says how:", mcpc("authorize")
	case m.Status.AuthorizationURL != "":
		return "", mcpc("authorize")
	case Stalled(m):
		return "mend what the sentence above names:", fmt.Sprintf("kubectl edit mcpc %s -n %s", m.Name, m.Namespace)
	case !Known(m):
		return "wait: the operator has not judged it yet:", mcpc("wait")
	case m.Status.Failure != nil && m.Status.Failure.RetryAt != nil:
		return "nothing: it is tried again by itself", ""
	}
	return "", ""
}

// Ago is a time in the past or future as seen from now: "5m ago", "in 5m"; "now" for less than a second.
func Ago(now time.Time, t *metav1.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	d := t.Sub(now).Round(time.Second)
	switch {
	case d > 0:
		return "in " + duration.HumanDuration(d)
	case d < 0:
		return duration.HumanDuration(-d) + " ago"
	}
	return "now"
}

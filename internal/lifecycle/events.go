package lifecycle

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/reasons"
)

// UnknownNotes are the events for unknown annotations that status does not tell of yet: one each.
func UnknownNotes(before, now []string) []Note {
	var notes []Note
	for _, name := range lacking(now, before) {
		notes = append(notes, Note{Warning: true, Reason: "UnknownAnnotation", Message: fmt.Sprintf(
			"The annotation %s means nothing on an MCPConnection, so nothing is done. Those that do are %s, %s.", name,
			strings.Join(requestAnnotations, ", "), v1alpha1.AnnotationChallenge)})
	}
	return notes
}

// Note is an event besides those that follow from conditions.
type Note struct {
	Warning bool
	Reason  string
	Message string
}

// EventOf is the event for a change of state: of Ready if it changed, else of the first other condition that did.
func EventOf(before, after []metav1.Condition) *Note {
	for _, name := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed,
		v1alpha1.ConditionRegistered, v1alpha1.ConditionDiscovered} {
		old, now := meta.FindStatusCondition(before, name), meta.FindStatusCondition(after, name)
		if now == nil || (old != nil && old.Status == now.Status && old.Reason == now.Reason) {
			continue
		}
		if old == nil && name != v1alpha1.ConditionReady {
			continue
		}
		return &Note{Warning: !reasons.Is(now.Reason, reasons.Normal), Reason: now.Reason, Message: now.Message}
	}
	return nil
}

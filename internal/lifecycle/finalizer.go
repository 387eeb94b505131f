package lifecycle

import (
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// finalizing ends what is stored also where the finalizer was stripped and another's holds the object.
func finalizing(s *State, _ time.Time) []Task {
	if !s.Deleted() {
		return nil
	}
	t := dueNow(StepFinalize)
	t.waits = s.finalizerMissing() && s.Held == nil && !s.ownsSecret()
	return []Task{t}
}

func addingFinalizer(s *State, _ time.Time) []Task {
	return whenNeeded(StepAddFinalizer, s.finalizerMissing() && !s.Deleted() && (s.KeepsAnything() || !s.suspended()))
}

func notingPolicy(s *State, _ time.Time) []Task {
	return whenNeeded(StepNotePolicy, s.policyOutdated())
}

// creatingCredential comes before anything is registered or asked: then there is a place to save it.
func creatingCredential(s *State, _ time.Time) []Task {
	if s.Held != nil || s.Unusable != nil {
		return nil
	}
	t := dueNow(StepCreateCredential)
	t.first = true
	return []Task{t}
}

// ReasonFinalizerRemoved is of the failure and the event that tell of a finalizer which somebody keeps removing.
const ReasonFinalizerRemoved = "FinalizerRemoved"

func (s *State) finalizerMissing() bool {
	return !slices.Contains(s.Conn.Finalizers, v1alpha1.Finalizer)
}

// KeepsAnything reports whether there is something that a deletion would have to end.
func (s *State) KeepsAnything() bool {
	return s.Held != nil || s.Unusable != nil || s.ownsSecret()
}

// NotedPolicy is the deletion policy as it is noted with the credential, for a connection that vanishes past its
// finalizer.
func NotedPolicy(spec *v1alpha1.MCPConnectionSpec) string {
	if spec.DeletionPolicy == v1alpha1.DeletionPolicyRevoke {
		return ""
	}
	return string(spec.DeletionPolicy)
}

func (s *State) policyOutdated() bool {
	return s.Held != nil && !s.Deleted() && s.Held.Deletion.Policy != NotedPolicy(s.Spec())
}

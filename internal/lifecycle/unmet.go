package lifecycle

import (
	"errors"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Unmet says that something from inside the cluster is not there or not allowed, so that nothing was sent.
type Unmet struct{ Reason, Message string }

func (u Unmet) Error() string { return u.Message }

// NoteMissingClient notes that a referenced Secret is not there; it is looked for again within a minute.
func (s *State) NoteMissingClient(now time.Time, step Step) {
	s.NotePrecondition(now, step, Unmet{v1alpha1.ReasonCredentialsMissing, s.Client.Missing})
}

// NoteUnmet notes an error that says what a step wants.
func (s *State) NoteUnmet(now time.Time, step Step, err error) {
	var u Unmet
	if errors.As(err, &u) {
		s.NotePrecondition(now, step, u)
	}
}

// NotePrecondition notes that a step cannot begin; it is looked at again within a minute.
func (s *State) NotePrecondition(now time.Time, step Step, u Unmet) {
	s.RecordFailure(step, u.Reason, u.Message, now, func(int32) time.Time { return now.Add(missingRetry) })
}

package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// saves are the answers that are saved beside the reconciles, by connection.
type saves struct {
	mu      sync.Mutex
	waiting map[types.UID]lifecycle.FailedSave
}

// of is the answer of a connection that is being saved; nil if there is none.
func (s *saves) of(uid types.UID) *lifecycle.FailedSave {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, is := s.waiting[uid]; is {
		return &f
	}
	return nil
}

// note counts one more failure to save an answer; the next try follows after a pause.
func (s *saves) note(uid types.UID, err error, now time.Time, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[types.UID]lifecycle.FailedSave{}
	}
	f, is := s.waiting[uid]
	if !is {
		f.Since = now
	}
	f.Err, f.Tries, f.Tried, f.Again = err, f.Tries+1, now, now.Add(pause)
	s.waiting[uid] = f
}

func (s *saves) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, uid)
}

// noteSave shows in status that an answer is in memory only. A failure to save that is remembered and over is
// forgotten.
func (w *work) noteSave(save *lifecycle.FailedSave) {
	w.Saving = save
	w.Failures.Clear(lifecycle.StepSave)
	if save == nil || w.Deleted() { // finalize tells what holds it up
		return
	}
	reason, message := refusedText(save.Err)
	w.Failures.Put(v1alpha1.Failure{
		Step: string(lifecycle.StepSave), Reason: reason,
		Message: lifecycle.Sentence("An answer of a server is in memory only, and lost if the operator is killed before " +
			"it can be saved. " + message),
		Attempts: save.Tries, Since: lifecycle.TimeOf(save.Since), AttemptedAt: lifecycle.TimeOf(save.Tried),
		RetryAt: lifecycle.TimeOf(save.Again), Trigger: lifecycle.TriggerOf(w.Conn), Inputs: w.InputsOf(reason),
	})
}

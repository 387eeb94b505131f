package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// saves are the answers that are saved beside the reconciles, by connection.
type saves struct {
	mu      sync.Mutex
	waiting map[types.UID]failedSave
}

// failedSave is an answer that could not be saved so far.
type failedSave struct {
	err                 error
	tries               int32
	since, tried, again time.Time
}

// of is the answer of a connection that is being saved; nil if there is none.
func (s *saves) of(uid types.UID) *failedSave {
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
		s.waiting = map[types.UID]failedSave{}
	}
	f, is := s.waiting[uid]
	if !is {
		f.since = now
	}
	f.err, f.tries, f.tried, f.again = err, f.tries+1, now, now.Add(pause)
	s.waiting[uid] = f
}

func (s *saves) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, uid)
}

// noteSave shows in status that an answer is in memory only. A failure to save that is remembered and over is forgotten.
func (o *work) noteSave(save *failedSave) {
	o.saving = save
	o.failures.clear(stepSave)
	if save == nil || o.deleted() { // finalize tells what holds it up
		return
	}
	reason, message := refusedText(save.err)
	o.failures.put(v1alpha1.Failure{
		Step: string(stepSave), Reason: reason, Message: sentence("An answer of a server is in memory only, and lost if the operator is killed before it can be saved. " + message),
		Attempts: save.tries, Since: timeOf(save.since), AttemptedAt: timeOf(save.tried), RetryAt: timeOf(save.again), Trigger: triggerOf(o.conn), Inputs: o.inputsOf(reason),
	})
}

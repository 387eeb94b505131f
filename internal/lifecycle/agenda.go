package lifecycle

import (
	"iter"
	"slices"
	"time"
)

// Task is a step that is wanted, or will be.
type Task struct {
	Step Step
	// since is when the step came to be wanted, or when it will be.
	since time.Time
	// notBefore holds the step back whatever fails; waits says that something else comes first, whose end nobody knows.
	notBefore time.Time
	waits     bool
	// after are the steps whose failures it waits for, and which it keeps from being forgotten.
	after []Step
	// first says that nothing that comes later is done before it.
	first bool
	// deadline is by when the next token is to be there, once its time has come; zero for all else.
	deadline time.Time
	// anytime says that the instant was not chosen: the step is due already, or is done again and again.
	anytime bool

	// At is when it is due, with all of that; zero if that does not come by itself.
	At time.Time
}

// activity contributes the tasks of one step, or of a chain of steps of which only the next one is known.
type activity func(s *State, now time.Time) []Task

// activities in the order in which they are done when several are due.
var activities = []activity{
	finalizing, forgettingChallenge, addingFinalizer, notingPolicy, creatingCredential, withdrawing, takingChallenge,
	publishing, revoking,
	exchanging, updatingRegistration, refreshing, requestingNext, unregistering, grantChain, probing, observing,
}

// tasks are all that is to be done for a connection, now and later, in the order in which it is done when it is due.
func tasks(now time.Time, s *State) iter.Seq[Task] {
	return func(yield func(Task) bool) {
		for _, contribute := range activities {
			for _, t := range contribute(s, now) {
				if s.allows(t.Step) && !yield(s.timed(t, now)) {
					return
				}
			}
		}
	}
}

// agenda is the list of them.
func agenda(now time.Time, s *State) []Task { return slices.Collect(tasks(now, s)) }

// timed applies what failed: it is tried again at its time.
func (s *State) timed(t Task, now time.Time) Task {
	t.At = t.since
	if t.notBefore.After(t.At) {
		t.At, t.anytime = t.notBefore, false
	}
	for _, step := range t.after {
		f := s.Failures.Find(step)
		switch {
		case f == nil || SetBack(now, attemptOf(f)):
		case f.RetryAt == nil:
			t.waits = true
		case f.RetryAt.After(t.At):
			t.At, t.anytime = f.RetryAt.Time, false
		}
	}
	if t.waits {
		t.At = time.Time{}
	}
	return t
}

// wanted reports whether the task's time has come, whatever holds it back.
func (t Task) wanted(now time.Time) bool { return !t.since.After(now) }

// due reports whether the task may be done now.
func (t Task) due(now time.Time) bool { return !t.waits && !t.At.After(now) }

// Decide names the next step: the first of the agenda that is due and that nothing before it holds up.
func Decide(now time.Time, s *State) Step {
	if s.Conn == nil || s.Busy > 0 { // nil: it was let go
		return StepNone
	}
	for t := range tasks(now, s) {
		switch {
		case t.Step == StepObserve:
		case t.due(now):
			return t.Step
		case t.first:
			return StepNone
		}
	}
	return StepNone
}

// needed reports whether a step that failed is still wanted. Nobody would ever retry and clear the failure of another.
func (s *State) needed(step Step, now time.Time) bool {
	switch step {
	case StepObserve:
		return true // observe itself forgets it
	case StepSave:
		return s.Saving != nil
	}
	for _, contribute := range activities {
		for _, t := range contribute(s, now) {
			if slices.Contains(t.after, step) && t.wanted(now) {
				return true
			}
		}
	}
	return false
}

// dueNow is a step that is wanted now.
func dueNow(step Step) Task { return Task{Step: step, after: []Step{step}, anytime: true} }

// whenNeeded is the task of a step that may be wanted now.
func whenNeeded(step Step, wanted bool) []Task {
	if !wanted {
		return nil
	}
	return []Task{dueNow(step)}
}

// blocked holds tasks back for something that comes first.
func blocked(tasks []Task) []Task {
	for i := range tasks {
		tasks[i].waits = true
	}
	return tasks
}

// observing is for what time alone changes: nothing is done then, but status tells something else.
func observing(s *State, now time.Time) []Task {
	tasks := []Task{{Step: StepObserve, since: s.secretExpiry()}}
	if g := s.Grant(); g != nil {
		tasks = append(tasks, Task{Step: StepObserve, since: g.ExpiresAt.Truncate(time.Second)})
	}
	if f := s.Failures.Find(StepSave); f != nil && f.RetryAt != nil {
		tasks = append(tasks, Task{Step: StepObserve, since: f.RetryAt.Time})
	}
	if !s.suspended() && s.awaitsNewInputs() {
		tasks = append(tasks, Task{Step: StepObserve, since: now.Add(InputsRecheck), anytime: true})
	}
	return slices.DeleteFunc(tasks, func(t Task) bool { return !t.since.After(now) })
}

// restrictions say what is done in states in which not everything is: while several hold, what all of them allow.
var restrictions = []struct {
	while func(s *State) bool
	only  []Step
}{
	{(*State).Deleted, []Step{StepFinalize}},
	{(*State).untouchable, []Step{StepObserve, StepForgetChallenge, StepAddFinalizer}},
	{(*State).savesAnswer, []Step{StepObserve, StepForgetChallenge, StepAddFinalizer, StepWithdrawToken, StepPublish}},
	{(*State).suspended, []Step{StepObserve, StepForgetChallenge, StepAddFinalizer, StepNotePolicy, StepWithdrawToken,
		StepPublish, StepRevoke}},
}

// allows reports whether a step may be done in this state.
func (s *State) allows(step Step) bool {
	for _, r := range restrictions {
		if r.while(s) && !slices.Contains(r.only, step) {
			return false
		}
	}
	return true
}

// untouchable reports whether nothing may be written for the connection: its credential must not be used, or there is
// no finalizer yet.
func (s *State) untouchable() bool {
	return !s.Deleted() && (s.Unusable != nil || (s.finalizerMissing() && !s.KeepsAnything()))
}

// savesAnswer reports whether the grant is about to change: nothing spends, revokes or asks until then.
func (s *State) savesAnswer() bool { return s.Saving != nil && !s.Deleted() }

// MaxSteps bounds the effects of one reconcile; what is left goes on in the next.
const MaxSteps = 16

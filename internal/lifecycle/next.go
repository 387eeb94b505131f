package lifecycle

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// told is the instant as status tells it, in whole seconds: for the next token that whose moment it is (see
// RefreshMoment), for all else rounded down, so that nobody rests for too long.
func (t Task) told() *metav1.Time {
	if renews(t.Step) && !t.anytime {
		return TimeOf(t.At)
	}
	return &metav1.Time{Time: t.At.Truncate(time.Second)}
}

// dueAt is the moment that told was made of, or up to a second before it.
func dueAt(uid types.UID, next *v1alpha1.NextStatus) time.Time {
	if renews(Step(next.Step)) {
		return RefreshMoment(uid, next.At.Time)
	}
	return next.At.Time
}

// renews reports whether a step gets the next token without a person.
func renews(step Step) bool { return step == StepRefresh || step == StepRequestToken }

// nextTask is what comes next by itself; false if nothing does.
func (s *State) nextTask(now time.Time) (Task, bool) {
	if s.Busy > 0 {
		return Task{Step: s.Waits, At: now, anytime: true}, true
	}
	later := *s // the next reconcile has no memory
	later.Discovery, later.Registered, later.Rediscover = nil, nil, false
	if step := Decide(now, &later); step != StepNone {
		return Task{Step: step, At: now, anytime: true}, true
	}
	return Earliest(now, agenda(now, s))
}

// Earliest is the first task ahead. Those that have passed were acted on.
func Earliest(now time.Time, tasks []Task) (next Task, ok bool) {
	for _, t := range tasks {
		if t.At.After(now) && (!ok || t.At.Before(next.At)) {
			next, ok = t, true
		}
	}
	return next, ok
}

// reportNext tells what comes next. A plan that did not change keeps its words, so that status is not written for it;
// so does one that waits.
func reportNext(now time.Time, s *State) *v1alpha1.NextStatus {
	if s.Deleted() {
		return nil
	}
	t, ok := s.nextTask(now)
	if !ok {
		return nil
	}
	next := &v1alpha1.NextStatus{At: t.told(), Step: string(t.Step),
		ComputedAt: &metav1.Time{Time: now.Truncate(time.Second)}, Basis: s.basis()}
	old := s.Conn.Status.Next
	if old == nil || old.At == nil || old.ComputedAt == nil || old.Step != next.Step || old.Basis != next.Basis ||
		SetBack(now, old.ComputedAt.Time) {
		return next
	}
	believed := func(n *v1alpha1.NextStatus, from time.Time) bool { return n.At.Sub(from) <= maxRest }
	switch {
	case believed(next, now) &&
		!believed(old, old.ComputedAt.Time): // on its last day a plan is told anew, and believed from then on
		return next
	case old.At.Equal(next.At), t.anytime && !old.At.After(t.At):
		return old
	}
	return next
}

// Schedule is when to look again: at the earliest of all known times; zero if nothing comes by itself.
func Schedule(now time.Time, s *State) time.Time {
	all := agenda(now, s)
	switch {
	case s.Busy > 0: // what waits for a slot holds up nothing else
		all = append(all, Task{Step: s.Waits, At: now.Add(s.Busy)})
	case Decide(now, s) != StepNone: // too many steps for one reconcile, or an instant that came after the last decision
		return now.Add(UrgentSlotRetry)
	}
	next, _ := Earliest(now, all)
	return next.At
}

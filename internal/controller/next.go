package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// told is the instant as status tells it, in whole seconds: for the next token that whose moment it is (see RefreshMoment), for
// all else rounded down, so that nobody rests for too long.
func (t task) told() *metav1.Time {
	if renews(t.step) && !t.anytime {
		return timeOf(t.at)
	}
	return &metav1.Time{Time: t.at.Truncate(time.Second)}
}

// dueAt is the moment that told was made of, or up to a second before it.
func dueAt(uid types.UID, next *v1alpha1.NextStatus) time.Time {
	if renews(step(next.Step)) {
		return RefreshMoment(uid, next.At.Time)
	}
	return next.At.Time
}

// renews reports whether a step gets the next token without a person.
func renews(s step) bool { return s == stepRefresh || s == stepRequestToken }

// nextTask is what comes next by itself; false if nothing does.
func (o *observed) nextTask(now time.Time) (task, bool) {
	if o.busy > 0 {
		return task{step: o.waits, at: now, anytime: true}, true
	}
	later := *o // the next reconcile has no memory
	later.discovery, later.registered, later.rediscover = nil, nil, false
	if s := decide(now, &later); s != stepNone {
		return task{step: s, at: now, anytime: true}, true
	}
	return earliest(now, agenda(now, o))
}

// earliest is the first task ahead. Those that have passed were acted on.
func earliest(now time.Time, tasks []task) (next task, ok bool) {
	for _, t := range tasks {
		if t.at.After(now) && (!ok || t.at.Before(next.at)) {
			next, ok = t, true
		}
	}
	return next, ok
}

// reportNext tells what comes next. A plan that did not change keeps its words, so that status is not written for it; so does
// one that waits.
func reportNext(now time.Time, o *observed) *v1alpha1.NextStatus {
	if o.deleted() {
		return nil
	}
	t, ok := o.nextTask(now)
	if !ok {
		return nil
	}
	next := &v1alpha1.NextStatus{At: t.told(), Step: string(t.step), ComputedAt: &metav1.Time{Time: now.Truncate(time.Second)}, Basis: o.basis()}
	old := o.conn.Status.Next
	if old == nil || old.At == nil || old.ComputedAt == nil || old.Step != next.Step || old.Basis != next.Basis || setBack(now, old.ComputedAt.Time) {
		return next
	}
	believed := func(n *v1alpha1.NextStatus, from time.Time) bool { return n.At.Sub(from) <= maxRest }
	switch {
	case believed(next, now) && !believed(old, old.ComputedAt.Time): // on its last day a plan is told anew, and believed from then on
		return next
	case old.At.Equal(next.At), t.anytime && !old.At.After(t.at):
		return old
	}
	return next
}

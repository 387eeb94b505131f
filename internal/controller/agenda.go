package controller

import (
	"iter"
	"slices"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

// task is a step that is wanted, or will be.
type task struct {
	step step
	// since is when the step came to be wanted, or when it will be.
	since time.Time
	// notBefore holds the step back whatever fails; waits says that something else comes first, whose end nobody knows.
	notBefore time.Time
	waits     bool
	// after are the steps whose failures it waits for, and which it keeps from being forgotten.
	after []step
	// first says that nothing that comes later is done before it.
	first bool
	// deadline is by when the next token is to be there, once its time has come; zero for all else.
	deadline time.Time
	// anytime says that the instant was not chosen: the step is due already, or is done again and again.
	anytime bool

	// at is when it is due, with all of that; zero if that does not come by itself.
	at time.Time
}

// activity contributes the tasks of one step, or of a chain of steps of which only the next one is known.
type activity func(o *observed, now time.Time) []task

// activities in the order in which they are done when several are due.
var activities = []activity{
	finalization, forgettingChallenge, addingFinalizer, notingPolicy, creatingCredential, withdrawal, takingChallenge, publication, revocation,
	exchange, registrationUpdate, refreshing, renewal, unregistration, grantChain, trying, looking,
}

// tasks are all that is to be done for a connection, now and later, in the order in which it is done when it is due.
func tasks(now time.Time, o *observed) iter.Seq[task] {
	return func(yield func(task) bool) {
		for _, contribute := range activities {
			for _, t := range contribute(o, now) {
				if o.allows(t.step) && !yield(o.timed(t, now)) {
					return
				}
			}
		}
	}
}

// agenda is the list of them.
func agenda(now time.Time, o *observed) []task { return slices.Collect(tasks(now, o)) }

// timed applies what failed: it is tried again at its time.
func (o *observed) timed(t task, now time.Time) task {
	t.at = t.since
	if t.notBefore.After(t.at) {
		t.at, t.anytime = t.notBefore, false
	}
	for _, s := range t.after {
		f := o.failures.find(s)
		switch {
		case f == nil || setBack(now, attemptOf(f)):
		case f.RetryAt == nil:
			t.waits = true
		case f.RetryAt.After(t.at):
			t.at, t.anytime = f.RetryAt.Time, false
		}
	}
	if t.waits {
		t.at = time.Time{}
	}
	return t
}

// wanted reports whether the task's time has come, whatever holds it back.
func (t task) wanted(now time.Time) bool { return !t.since.After(now) }

// due reports whether the task may be done now.
func (t task) due(now time.Time) bool { return !t.waits && !t.at.After(now) }

// decide names the next step: the first of the agenda that is due and that nothing before it holds up.
func decide(now time.Time, o *observed) step {
	if o.conn == nil || o.busy > 0 { // nil: it was let go
		return stepNone
	}
	for t := range tasks(now, o) {
		switch {
		case t.step == stepObserve:
		case t.due(now):
			return t.step
		case t.first:
			return stepNone
		}
	}
	return stepNone
}

// toDo reports whether a step that failed is still wanted. Nobody would ever retry and clear the failure of another.
func (o *observed) toDo(s step, now time.Time) bool {
	switch s {
	case stepObserve:
		return true // observe itself forgets it
	case stepSave:
		return o.saving != nil
	}
	for _, contribute := range activities {
		for _, t := range contribute(o, now) {
			if slices.Contains(t.after, s) && t.wanted(now) {
				return true
			}
		}
	}
	return false
}

// asap is a step that is wanted now.
func asap(s step) task { return task{step: s, after: []step{s}, anytime: true} }

// one is the task of a step that may be wanted now.
func one(s step, wanted bool) []task {
	if !wanted {
		return nil
	}
	return []task{asap(s)}
}

// finalization ends what is stored also where the finalizer was stripped and another's holds the object.
func finalization(o *observed, _ time.Time) []task {
	if !o.deleted() {
		return nil
	}
	t := asap(stepFinalize)
	t.waits = o.finalizerMissing() && o.held == nil && !o.ownsSecret()
	return []task{t}
}

func forgettingChallenge(o *observed, _ time.Time) []task {
	return one(stepForgetChallenge, o.challengeTakenOff())
}

func addingFinalizer(o *observed, _ time.Time) []task {
	return one(stepAddFinalizer, o.finalizerMissing() && !o.deleted() && (o.keepsAnything() || !o.suspended()))
}

func notingPolicy(o *observed, _ time.Time) []task { return one(stepNotePolicy, o.policyOutdated()) }

// creatingCredential comes before anything is registered or asked: then there is a place to save it.
func creatingCredential(o *observed, _ time.Time) []task {
	if o.held != nil || o.unusable != nil {
		return nil
	}
	t := asap(stepCreateCredential)
	t.first = true
	return []task{t}
}

func withdrawal(o *observed, _ time.Time) []task { return one(stepWithdrawToken, o.revokeAsked()) }

func takingChallenge(o *observed, _ time.Time) []task {
	return one(stepTakeChallenge, o.challengeNew())
}

// publication goes on while the connection is suspended only to take a withdrawn token away.
func publication(o *observed, now time.Time) []task {
	if !o.tokenSecretOutdated() && !o.contested(now) {
		return nil
	}
	t, g := asap(stepPublish), o.grant()
	t.waits = o.suspended() && (g == nil || g.Revoke == "")
	return []task{t}
}

// revocation comes before a new grant takes the place of the one to be revoked, and once the token is published no more.
func revocation(o *observed, _ time.Time) []task {
	g := o.withdrawn()
	if g == nil {
		return nil
	}
	t := asap(stepRevoke)
	t.waits = g.AccessToken == "" && g.RefreshToken == "" && o.showsWithdrawn()
	return []task{t}
}

func exchange(o *observed, _ time.Time) []task { return one(stepExchangeCode, o.response() != nil) }

// registrationUpdate comes before a refresh, which an expired secret would end.
func registrationUpdate(o *observed, _ time.Time) []task {
	g := o.grant()
	if !refreshable(g) || !updatable(&g.Client) || updateMoment(&g.Client).IsZero() {
		return nil
	}
	return []task{{step: stepUpdateRegistration, since: updateMoment(&g.Client), after: []step{stepUpdateRegistration}}}
}

// refreshing is by the clock, or because somebody asked. One that failed is tried again.
func refreshing(o *observed, now time.Time) []task {
	g := o.grant()
	if !refreshable(g) {
		return nil
	}
	t := task{step: stepRefresh, since: o.renewalTime(g, now), deadline: o.renewalDeadline(g, now), after: []step{stepRefresh}}
	if o.failures.has(stepRefresh) {
		t.since = time.Time{}
	}
	if o.refreshAsked() {
		t.since = time.Time{}
		return []task{t}
	}
	if fateUnknown(g, now) { // by then nothing can be lost
		t.notBefore = timeOf(certainExpiry(g, now)).Time
	}
	t.waits = o.refreshHeldBack(now)
	return []task{t}
}

// renewal is the same without a person: the next token is requested as the last one was. No server but the authorization server
// is needed for that.
func renewal(o *observed, now time.Time) []task {
	g := o.grant()
	if !o.unattended() || g == nil || g.Revoke != "" || o.clientReplaced(&g.Client) {
		return nil
	}
	t := task{step: stepRequestToken, since: o.renewalTime(g, now), deadline: o.renewalDeadline(g, now), after: []step{stepRequestToken}}
	if o.refreshAsked() {
		t.since = time.Time{}
	}
	return []task{t}
}

// renewalTime is when a token is to be replaced by the next one.
func (o *observed) renewalTime(g *credential.Grant, now time.Time) time.Time {
	if setBack(now, g.IssuedAt) {
		return time.Time{}
	}
	return RefreshMoment(o.conn.UID, g.RefreshAt)
}

// renewalDeadline is by when that has to have been done; zero before its time, and where the grant is over: then nothing hurries.
func (o *observed) renewalDeadline(g *credential.Grant, now time.Time) time.Time {
	if g.SetAside != nil || o.renewalTime(g, now).After(now) {
		return time.Time{}
	}
	return deadline(g.RefreshAt, g.ExpiresAt)
}

// deadline of a refresh: the expiry of the token, or the planned time if nobody knows that.
func deadline(refreshAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return refreshAt
	}
	return expiresAt
}

func unregistration(o *observed, _ time.Time) []task {
	return one(stepUnregister, len(o.unused()) > 0)
}

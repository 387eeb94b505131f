package controller

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// decide names the next step. It reads top to bottom: each case assumes that all above it are false.
func oldDecide(now time.Time, o *observed) step {
	switch {
	case o.conn == nil, o.busy > 0: // nil: it was let go
		return stepNone
	case o.deleted():
		return decideDeletion(now, o)
	case o.challengeTakenOff() && !o.failures.waiting(stepForgetChallenge, now):
		return stepForgetChallenge
	case o.finalizerDue(now):
		return stepAddFinalizer
	case o.saving != nil:
		return decideWhileSaving(now, o)
	case o.unusable != nil, o.finalizerMissing() && !o.keepsAnything():
		return stepNone
	case o.policyDue(now):
		return stepNotePolicy
	case o.suspended():
		return decideSuspended(now, o)
	case o.held == nil: // nothing is registered or asked before there is a place to save it
		return o.unlessWaiting(stepCreateCredential, now)
	case o.revokeAsked() && !o.failures.waiting(stepWithdrawToken, now):
		return stepWithdrawToken
	case o.challengeNew() && !o.failures.waiting(stepTakeChallenge, now):
		return stepTakeChallenge
	case o.publishDue(now):
		return stepPublish
	case o.revokeDue(now): // before a new grant takes the place of the one to be revoked
		return stepRevoke
	case o.response() != nil && !o.failures.waiting(stepExchangeCode, now):
		return stepExchangeCode
	case o.updateRegistrationDue(now): // before a refresh, which an expired secret would end
		return stepUpdateRegistration
	case o.refreshDue(now):
		return stepRefresh
	case o.renewalDue(now) && !o.failures.waiting(stepRequestToken, now):
		return stepRequestToken
	case o.unregisterDue(now):
		return stepUnregister
	}
	if s := decideGrant(now, o); s != stepNone || !o.probeDue(now) {
		return s
	}
	return stepProbe
}

// unlessWaiting is a step that all others need.
func (o *observed) unlessWaiting(s step, now time.Time) step {
	if o.failures.waiting(s, now) {
		return stepNone
	}
	return s
}

// decideGrant names the next step towards a grant, or towards a better one.
func decideGrant(now time.Time, o *observed) step {
	switch {
	case o.unattended():
		return decideRequest(now, o)
	case o.nowhereToPublish():
		return stepNone
	case o.importWanted():
		return decideImport(now, o)
	}
	return decideConsent(now, o)
}

// decideDeletion ends what is stored also where the finalizer was stripped and another's holds the object.
func decideDeletion(now time.Time, o *observed) step {
	if (o.finalizerMissing() && o.held == nil && !o.ownsSecret()) || o.failures.waiting(stepFinalize, now) {
		return stepNone
	}
	return stepFinalize
}

// decideSuspended names the next step of a revocation, the one thing that a suspended connection does.
func decideSuspended(now time.Time, o *observed) step {
	g := o.grant()
	switch {
	case o.revokeAsked() && !o.failures.waiting(stepWithdrawToken, now):
		return stepWithdrawToken
	case g != nil && g.Revoke != "" && o.publishDue(now):
		return stepPublish
	case o.revokeDue(now):
		return stepRevoke
	}
	return stepNone
}

// decideConsent names the next step towards an open link, where a person's consent would help.
func decideConsent(now time.Time, o *observed) step {
	wanted, rediscover := o.consentWanted(now), o.rediscoveryWanted()
	switch {
	case o.response() != nil:
		return stepNone
	case o.offerAstray():
		return o.unlessWaiting(stepEndAuthorization, now)
	case !wanted && !rediscover:
		if o.offer() != nil {
			return o.unlessWaiting(stepEndAuthorization, now)
		}
		return stepNone
	case wanted && !rediscover && o.offerUsable(now):
		return stepNone
	case o.failures.waiting(stepDiscover, now):
		return stepNone
	case wanted && (o.failures.waiting(stepRegister, now) || o.failures.waiting(stepStartAuthorization, now)):
		return stepNone
	case o.discovery == nil:
		return stepDiscover
	case !wanted:
		return stepNone
	case o.issuerChanged():
		return stepStartAuthorization // which says so
	case o.registered == nil && o.externalURL != "":
		return stepRegister
	}
	return stepStartAuthorization
}

// decideImport names the next step towards a grant that exists already. No consent is asked for meanwhile.
func decideImport(now time.Time, o *observed) step {
	switch {
	case o.failures.waiting(stepDiscover, now), o.failures.waiting(stepImportGrant, now):
		return stepNone
	case o.discovery == nil && o.imported.missing == "":
		return stepDiscover
	}
	return stepImportGrant
}

// publishDue says whether the token Secret differs from what it should be, and may be written.
func (o *observed) publishDue(now time.Time) bool {
	return o.tokenSecretOutdated() && !o.failures.waiting(stepPublish, now)
}

// revokeDue says whether a withdrawn grant is still to be revoked at the server.
func (o *observed) revokeDue(now time.Time) bool {
	g := o.withdrawn()
	return g != nil && !o.failures.waiting(stepRevoke, now) && (g.AccessToken != "" || g.RefreshToken != "" || !o.showsWithdrawn())
}

// refreshDue says whether the grant is to be refreshed now, by the clock or because somebody asked.
func (o *observed) refreshDue(now time.Time) bool {
	g := o.grant()
	if !refreshable(g) || o.failures.waiting(stepRefresh, now) {
		return false
	}
	if _, asked := asked(o.conn, v1alpha1.AnnotationRefresh, o.handled.Refresh); asked || o.calledFor(credential.WantsRefresh) {
		return true
	}
	// A failed one is tried again. Whoever left a claim behind is looked into first.
	return (o.failures.has(stepRefresh) || timeToRenew(o.conn.UID, g, now)) && !fateUnknown(g, now) && !o.refreshHeldBack(now)
}

// whileSuspended are the failures of steps that are done also while the connection is suspended.
func (f failures) whileSuspended() failures {
	return slices.DeleteFunc(slices.Clone(f), func(failure v1alpha1.Failure) bool {
		return !slices.Contains([]step{stepAddFinalizer, stepNotePolicy, stepWithdrawToken, stepPublish, stepRevoke}, step(failure.Step))
	})
}

// toDo says whether a step that failed is still to be done, at some time.
func (o *observed) oldToDo(s step, now time.Time) bool {
	g := o.grant()
	switch s {
	case stepObserve:
		return true // observe itself forgets it
	case stepSave:
		return o.saving != nil
	case stepFinalize:
		return o.deleted()
	case stepAddFinalizer:
		return !o.deleted() && o.finalizerMissing()
	case stepCreateCredential:
		return !o.deleted() && o.held == nil && o.unusable == nil
	case stepNotePolicy:
		return o.policyOutdated()
	case stepWithdrawToken:
		return o.revokeAsked()
	case stepTakeChallenge:
		return o.challengeNew()
	case stepForgetChallenge:
		return o.challengeTakenOff()
	case stepEndAuthorization:
		return o.offer() != nil && (o.offerAstray() || !o.consentWanted(now) && !o.rediscoveryWanted())
	case stepPublish:
		return o.tokenSecretOutdated() || o.contested(now)
	case stepExchangeCode:
		return o.response() != nil
	case stepRevoke:
		return o.withdrawn() != nil
	case stepRefresh:
		return refreshable(g)
	case stepRequestToken:
		return o.tokenWanted() || o.renewalDue(now)
	case stepImportGrant:
		return o.importWanted()
	case stepUpdateRegistration:
		return o.updateRegistrationWanted(now)
	case stepUnregister:
		return len(o.unused()) > 0
	case stepDiscover:
		// A token endpoint that seems to have moved asks for discovery too, as long as the refresh fails.
		return o.tokenNeeded(now) || o.calledFor(credential.WantsDiscovery) || ((o.failures.has(stepRefresh) && o.oldToDo(stepRefresh, now) || o.failures.has(stepRequestToken) && o.oldToDo(stepRequestToken, now)) && o.failures.waiting(stepDiscover, now))
	case stepRegister:
		return o.tokenNeeded(now)
	case stepStartAuthorization:
		return !o.unattended() && o.tokenNeeded(now)
	case stepProbe:
		return o.probeable(now) && o.probeFailure() != nil
	}
	return false
}

// tokenNeeded says whether the way to a new grant is to be gone, from the discovery on.
func (o *observed) tokenNeeded(now time.Time) bool {
	if o.unattended() {
		return o.tokenWanted()
	}
	return o.importWanted() || o.consentDue(now)
}

// decideWhileSaving names the next step of a connection whose grant is about to change: nothing that spends, revokes or asks.
func decideWhileSaving(now time.Time, o *observed) step {
	switch {
	case o.unusable != nil:
		return stepNone
	case o.revokeAsked() && !o.failures.waiting(stepWithdrawToken, now):
		return stepWithdrawToken
	case o.publishDue(now) && (!o.suspended() || o.grant() != nil && o.grant().Revoke != ""):
		return stepPublish
	}
	return stepNone
}

// decideRequest names the next step towards a token without a person.
func decideRequest(now time.Time, o *observed) step {
	wanted, rediscover := o.tokenWanted(), o.rediscoveryWanted()
	switch {
	case o.offer() != nil: // of another grant type
		return stepEndAuthorization
	case !wanted && !rediscover, o.failures.waiting(stepDiscover, now):
		return stepNone
	case wanted && (o.failures.waiting(stepRegister, now) || o.failures.waiting(stepRequestToken, now)):
		return stepNone
	case o.discovery == nil:
		return stepDiscover
	case !wanted:
		return stepNone
	case o.registered == nil && !o.issuerChanged():
		return stepRegister
	}
	return stepRequestToken
}

// tasks are all steps that are due at some instant.
func (o *observed) oldTasks(now time.Time) []task {
	o = o.settledBefore(now)
	if o.deleted() {
		return o.failures.retries()
	}
	g := o.grant()
	tasks := []task{{step: stepObserve, at: o.secretExpiry()}}
	if g != nil {
		tasks = append(tasks, task{step: stepObserve, at: g.ExpiresAt.Truncate(time.Second)})
	}
	if o.suspended() {
		return append(tasks, o.failures.whileSuspended().retries()...)
	}
	tasks = append(tasks, o.failures.retries()...)
	if g != nil {
		tasks = append(tasks, o.grantTasks(now, g)...)
	}
	if offer := o.offer(); offer != nil {
		tasks = append(tasks, task{step: stepStartAuthorization, at: offer.ExpiresAt})
	}
	if o.awaitsMending() {
		tasks = append(tasks, task{step: stepObserve, at: now.Add(mendedRecheck), anytime: true})
	}
	return tasks
}

// grantTasks are the steps that are due at some instant for a grant.
func (o *observed) grantTasks(now time.Time, g *credential.Grant) []task {
	tasks := []task{
		{step: stepStartAuthorization, at: linkTime(g)},
		{step: stepStartAuthorization, at: g.ConsentAt()},
		{step: stepProbe, at: o.nextProbe(now)},
	}
	if o.probeWanted(now) {
		tasks = append(tasks, task{step: stepProbe, at: o.restsUntil()})
	}
	if renewable(g) && !o.renewalFails() {
		renew := stepRefresh
		if !refreshable(g) {
			renew = stepRequestToken
		}
		tasks = append(tasks, task{step: renew, at: RefreshMoment(o.conn.UID, g.RefreshAt)})
	}
	if refreshable(g) && !o.failures.has(stepUpdateRegistration) {
		tasks = append(tasks, task{step: stepUpdateRegistration, at: updateMoment(&g.Client)})
	}
	if fateUnknown(g, now) { // by then nothing can be lost
		tasks = append(tasks, task{step: stepRefresh, at: timeOf(certainExpiry(g, now)).Time})
	}
	return tasks
}

func (o *observed) settledBefore(now time.Time) *observed {
	settled := *o
	settled.failures = slices.DeleteFunc(slices.Clone(o.failures), func(f v1alpha1.Failure) bool { return !o.oldToDo(step(f.Step), now) })
	return &settled
}

// TestTheAgendaAgreesWithWhatItReplaced compares the agenda with the three decisions that it replaced.
func TestTheAgendaAgreesWithWhatItReplaced(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	differences, examples := map[string]int{}, map[string]string{}
	note := func(kind string, now time.Time, o *observed) {
		if differences[kind]++; differences[kind] == 1 {
			examples[kind] = fmt.Sprintf("%s %+v saving %t unusable %v deleted %t suspended %t conn %v", now.Sub(epoch), o.failures, o.saving != nil, o.unusable, o.deleted(), o.suspended(), o.conn.Status.Conditions)
		}
	}
	n := 0
	for range number("ORACLE_STATES", 20_000) {
		bytes := make([]byte, 40)
		for i := range bytes {
			bytes[i] = byte(random.UintN(256))
		}
		now, o := arbitrary(bytes)
		if o.conn == nil {
			continue
		}
		n++
		if was, is := oldDecide(now, o), decide(now, o); was != is {
			note(fmt.Sprintf("decide: %q was %q", is, was), now, o)
		}
		for _, f := range o.failures {
			if was, is := o.oldToDo(step(f.Step), now), o.toDo(step(f.Step), now); was != is {
				note(fmt.Sprintf("toDo(%s): %t was %t", f.Step, is, was), now, o)
			}
		}
		was, is := oldSchedule(now, o).RequeueAfter, schedule(now, o).RequeueAfter
		if was > 0 && (is == 0 || was < is) {
			at := now.Add(was)
			if s := decide(at, o); s != stepNone && o.busy == 0 {
				t.Errorf("what was looked at after %s, not now: it is to %s", was, s)
			}
			before, after := report(now, o), report(at, o)
			for _, c := range after.Conditions {
				if old := findCondition(before.Conditions, c.Type); (!o.suspended() || c.Type == ready) && (old == nil || old.Reason != c.Reason || old.Message != c.Message) {
					note("schedule: "+c.Type+" changes at what is no instant any more", now, o)
				}
			}
		}
		switch {
		case was == is:
		case is == 0:
			note("schedule: never, but was once", now, o)
		case was == 0:
			note("schedule: once, but was never", now, o)
		case was < is:
			note("schedule: later than before", now, o)
		default:
			note("schedule: earlier than before", now, o)
		}
	}
	t.Logf("%d states", n)
	for _, kind := range slices.Sorted(maps.Keys(differences)) {
		t.Logf("%8d %s\n%.700s", differences[kind], kind, examples[kind])
	}
}

func oldSchedule(now time.Time, o *observed) ctrl.Result {
	switch {
	case o.busy > 0: // what waits for a slot holds up nothing else
		return wakeFor(now, append(o.oldTasks(now), task{step: o.waits, at: now.Add(o.busy)}))
	case oldDecide(now, o) != stepNone: // too many steps for one reconcile, or an instant that came after the last decision
		return ctrl.Result{RequeueAfter: busyRetry}
	}
	return wakeFor(now, o.oldTasks(now))
}

// finalizerDue reports whether the finalizer is to be put on: before the first write of a Secret, and again when it was stripped.
func (o *observed) finalizerDue(now time.Time) bool {
	return o.finalizerMissing() && !o.failures.waiting(stepAddFinalizer, now) && (o.keepsAnything() || !o.suspended())
}

func (o *observed) policyDue(now time.Time) bool {
	return o.policyOutdated() && !o.failures.waiting(stepNotePolicy, now)
}

func (o *observed) unregisterDue(now time.Time) bool {
	return len(o.unused()) > 0 && !o.failures.waiting(stepUnregister, now)
}

func (o *observed) updateRegistrationDue(now time.Time) bool {
	return o.updateRegistrationWanted(now) && !o.failures.waiting(stepUpdateRegistration, now)
}

// updateRegistrationWanted says whether the time has come to update the client that refreshes the token.
func (o *observed) updateRegistrationWanted(now time.Time) bool {
	g := o.grant()
	return refreshable(g) && updateDue(&g.Client, now) && updatable(&g.Client)
}

// probeDue says whether the server is to be tried now.
func (o *observed) probeDue(now time.Time) bool {
	return o.probeWanted(now) && !now.Before(o.restsUntil())
}

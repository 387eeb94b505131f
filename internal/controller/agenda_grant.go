package controller

import (
	"slices"
	"time"
)

// grantChain is the next step towards a grant, or towards a better one.
func grantChain(o *observed, now time.Time) []task {
	var tasks []task
	switch {
	case o.unattended():
		tasks = requestChain(o, now)
	case o.importWanted():
		tasks = importChain(o)
	default:
		tasks = consentChain(o, now)
	}
	if !o.unattended() {
		tasks = append(tasks, o.consentsAhead(now)...)
	}
	isDiscovery := func(t task) bool { return t.step == stepDiscover }
	if o.rediscoveryFails(now) && o.discovery == nil && !slices.ContainsFunc(tasks, isDiscovery) {
		tasks = append(tasks, task{step: stepDiscover, after: []step{stepDiscover}, anytime: true})
	}
	return tasks
}

// rediscoveryFails reports whether a discovery fails that was made since the next token cannot be had: that is told until the
// discovery would be tried again, which it is only if it is called for once more.
func (o *observed) rediscoveryFails(now time.Time) bool {
	fails := func(s step, wanted bool) bool { return wanted && o.failures.has(s) }
	return o.failures.waiting(stepDiscover, now) &&
		(fails(stepRefresh, refreshable(o.grant())) || fails(stepRequestToken, o.tokenWanted() || slices.ContainsFunc(renewal(o, now), func(t task) bool { return t.wanted(now) })))
}

// requestChain leads to a token without a person, in a new way.
func requestChain(o *observed, now time.Time) []task {
	wanted, rediscover := o.tokenWanted(), o.rediscoveryWanted()
	var tasks []task
	switch {
	case wanted:
		t := task{step: stepRequestToken, after: []step{stepDiscover, stepRegister, stepRequestToken}, anytime: true}
		if g := o.grant(); g != nil {
			t.deadline = o.renewalDeadline(g, now)
		}
		switch {
		case o.discovery == nil:
			t.step = stepDiscover
		case o.registered == nil && !o.issuerChanged():
			t.step = stepRegister
		}
		tasks = []task{t}
	case rediscover:
		tasks = one(stepDiscover, o.discovery == nil)
	}
	if o.offer() != nil { // of another grant type
		return append(one(stepEndAuthorization, true), blocked(tasks)...)
	}
	return tasks
}

// blocked holds tasks back for something that comes first.
func blocked(tasks []task) []task {
	for i := range tasks {
		tasks[i].waits = true
	}
	return tasks
}

// importChain leads to a grant that exists already. No consent is asked for meanwhile.
func importChain(o *observed) []task {
	t := task{step: stepImportGrant, after: []step{stepDiscover, stepImportGrant}, anytime: true}
	if o.discovery == nil && o.imported.missing == "" {
		t.step = stepDiscover
	}
	t.waits = o.nowhereToPublish()
	return []task{t}
}

// consentChain leads to an open link, where a person's consent would help.
func consentChain(o *observed, now time.Time) []task {
	wanted, rediscover := o.consentWanted(now), o.rediscoveryWanted()
	var tasks []task
	switch {
	case wanted && !o.offerUsable(now):
		tasks = []task{{step: o.nextToLink(), after: []step{stepDiscover, stepRegister, stepStartAuthorization}, anytime: true}}
	case rediscover:
		tasks = one(stepDiscover, o.discovery == nil)
	}
	switch {
	case o.response() != nil, o.nowhereToPublish():
		tasks = blocked(tasks)
	case o.offerAstray(), o.offer() != nil && !wanted && !rediscover:
		tasks = append(one(stepEndAuthorization, true), blocked(tasks)...)
	}
	return tasks
}

// nextToLink is the next step to an open link.
func (o *observed) nextToLink() step {
	switch {
	case o.discovery == nil:
		return stepDiscover
	case o.registered == nil && o.externalURL != "" && !o.issuerChanged(): // startAuthorization says that it changed
		return stepRegister
	}
	return stepStartAuthorization
}

// consentsAhead are links to come: when the token runs out, when the grant does, when the client's secret does, when the open
// link does.
func (o *observed) consentsAhead(now time.Time) []task {
	var times []time.Time
	if g := o.grant(); g != nil {
		times = append(times, linkTime(g), g.ConsentAt())
		if refreshable(g) && !updatable(&g.Client) {
			times = append(times, updateMoment(&g.Client))
		}
	}
	if offer := o.offer(); offer != nil {
		times = append(times, offer.ExpiresAt)
	}
	var tasks []task
	for _, at := range times {
		if at.After(now) {
			tasks = append(tasks, task{step: stepStartAuthorization, since: at})
		}
	}
	return tasks
}

// trying has the published token tried at the server: once for each grant, again while the server does not answer or refuses it, for
// each new token while it refuses, once a grant is over, and at the interval of the spec.
func trying(o *observed, now time.Time) []task {
	if !o.probeable(now) {
		return nil
	}
	t := task{step: stepProbe, notBefore: o.probeRestEnd()}
	g := o.grant()
	switch {
	case o.probeFailure() != nil:
		t.after = []step{stepProbe}
	case g.Probe == nil, o.refused(), g.Probe.Reason != "" && g.Probe.Token != tokenID(g), untried(g):
		t.anytime = true
	default:
		if t.since = o.nextProbe(now); t.since.IsZero() {
			return nil
		}
	}
	return []task{t}
}

// looking is for what time alone changes: nothing is done then, but status tells something else.
func looking(o *observed, now time.Time) []task {
	tasks := []task{{step: stepObserve, since: o.secretExpiry()}}
	if g := o.grant(); g != nil {
		tasks = append(tasks, task{step: stepObserve, since: g.ExpiresAt.Truncate(time.Second)})
	}
	if f := o.failures.find(stepSave); f != nil && f.RetryAt != nil {
		tasks = append(tasks, task{step: stepObserve, since: f.RetryAt.Time})
	}
	if !o.suspended() && o.awaitsMending() {
		tasks = append(tasks, task{step: stepObserve, since: now.Add(mendedRecheck), anytime: true})
	}
	return slices.DeleteFunc(tasks, func(t task) bool { return !t.since.After(now) })
}

// restrictions say what is done in states in which not everything is: while several hold, what all of them allow.
var restrictions = []struct {
	while func(o *observed) bool
	only  []step
}{
	{(*observed).deleted, []step{stepFinalize}},
	{(*observed).untouchable, []step{stepObserve, stepForgetChallenge, stepAddFinalizer}},
	{(*observed).savesAnswer, []step{stepObserve, stepForgetChallenge, stepAddFinalizer, stepWithdrawToken, stepPublish}},
	{(*observed).suspended, []step{stepObserve, stepForgetChallenge, stepAddFinalizer, stepNotePolicy, stepWithdrawToken, stepPublish, stepRevoke}},
}

// allows reports whether a step may be done in this state.
func (o *observed) allows(s step) bool {
	for _, r := range restrictions {
		if r.while(o) && !slices.Contains(r.only, s) {
			return false
		}
	}
	return true
}

// untouchable reports whether nothing may be written for the connection: its credential must not be used, or there is no finalizer yet.
func (o *observed) untouchable() bool {
	return !o.deleted() && (o.unusable != nil || (o.finalizerMissing() && !o.keepsAnything()))
}

// savesAnswer reports whether the grant is about to change: nothing spends, revokes or asks until then.
func (o *observed) savesAnswer() bool { return o.saving != nil && !o.deleted() }

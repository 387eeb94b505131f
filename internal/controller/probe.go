package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// refusals are reasons of Probed that Ready repeats: the server was asked, and does not want the token.
var refusals = []string{v1alpha1.ReasonProbeUnauthorized, v1alpha1.ReasonInsufficientScope}

// probeInterval is the time between probes; 0: none follows the first.
func probeInterval(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Probe == nil || spec.Probe.Interval == nil {
		return 0
	}
	return spec.Probe.Interval.Duration
}

// probeable says whether there is something to be tried: the grant's token, while it is published and valid, or a server
// that needs none.
func (o *observed) probeable(now time.Time) bool {
	g := o.grant()
	switch {
	case g == nil, g.Revoke != "", g.SetAside != nil:
		return false
	case g.Public:
		return o.servesPublic()
	}
	return o.holdsToken(now) && !expired(g, now) && o.secretValue(v1alpha1.KeyAccessToken) == g.AccessToken
}

// probeDue says whether the server is to be tried now: once for each grant, again while it does not answer, for each new
// token while it refuses, and at the interval of the spec.
func (o *observed) probeDue(now time.Time) bool {
	if !o.probeable(now) || o.failures.waiting(stepProbe, now) {
		return false
	}
	g := o.grant()
	if g.Probe == nil || o.failures.has(stepProbe) || (g.Probe.Reason != "" && g.Probe.Generation != g.Generation) {
		return true
	}
	next := o.nextProbe(now)
	return !next.IsZero() && !now.Before(next)
}

// nextProbe is when the interval of the spec ends; zero if there is none, or nothing to be tried.
func (o *observed) nextProbe(now time.Time) time.Time {
	interval, c := probeInterval(o.spec()), o.credential()
	if interval == 0 || c == nil || c.ProbedAt.IsZero() || o.failures.has(stepProbe) || !o.probeable(now) {
		return time.Time{}
	}
	return c.ProbedAt.Add(interval)
}

// probePending is what is to be done at once about a token that the probe showed to be refused; WantsNothing once it was
// done, as long as a newer token is to be tried, and where a consent is on its way.
func (o *observed) probePending() credential.Want {
	g := o.grant()
	if g == nil || g.Probe == nil || g.Revoke != "" || g.SetAside != nil || g.Probe.Generation != g.Generation {
		return credential.WantsNothing
	}
	if g.Probe.Wants == credential.WantsRefresh && !renewable(g) {
		return credential.WantsDiscovery
	}
	return g.Probe.Wants
}

// calledFor says whether a consumer's challenge, or one that the probe met, wants this.
func (o *observed) calledFor(want credential.Want) bool {
	return o.pending() == want || o.probePending() == want
}

// refusalPending says whether anything is still to be done about a token that a consumer or the probe was refused with.
func (o *observed) refusalPending() bool {
	g := o.grant()
	return o.probePending() != credential.WantsNothing || (g != nil && g.Challenge != nil && g.Challenge.Wants != credential.WantsNothing)
}

// probeEnded says whether the last probe has a result: nothing is to be done about it, or what is to be done fails.
func (o *observed) probeEnded() bool {
	g := o.grant()
	switch o.probePending() {
	case credential.WantsRefresh:
		return o.renewalFails()
	case credential.WantsDiscovery:
		return o.renewalFails() || o.failures.has(stepDiscover)
	}
	return g.Probe != nil && (g.Probe.Reason == "" || g.Probe.Generation == g.Generation)
}

// renewalFails says whether the next token cannot be had now.
func (o *observed) renewalFails() bool {
	return o.failures.has(stepRefresh) || o.failures.has(stepRequestToken)
}

// probedVerdict speaks of what a consumer's challenge proved, else of the last probe.
func probedVerdict(now time.Time, o *observed) *verdict {
	if v := challengedVerdict(o); v != nil {
		return v
	}
	g := o.grant()
	if g == nil || g.Revoke != "" {
		return nil
	}
	if failure := o.failures.find(stepProbe); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	switch {
	case !o.probeEnded():
		if o.probeable(now) || o.probePending() != credential.WantsNothing {
			return &verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "The published token has not been tried at the server yet."}
		}
		return nil
	case g.Probe.Reason != "":
		return no(g.Probe.Reason, g.Probe.Message)
	}
	return yes(v1alpha1.ReasonSucceeded, fmt.Sprintf("The server answers, and offers %d tools.", g.Probe.Tools))
}

// reportServer shows what the server said of itself.
func reportServer(status *v1alpha1.MCPConnectionStatus, o *observed) {
	g := o.grant()
	if g == nil || g.Revoke != "" || g.Probe == nil || g.Probe.At.IsZero() {
		return
	}
	p := g.Probe
	status.Server = &v1alpha1.ServerStatus{
		Name: p.Name, Version: p.Version, ProtocolVersion: p.ProtocolVersion,
		Tools: ptr.To(p.Tools), ProbedAt: timeOf(p.At),
	}
}

package controller

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

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
	case g == nil, g.Revoke != "":
		return false
	case g.Public:
		return o.servesPublic()
	}
	return o.holdsToken(now) && !expired(g, now) && o.secretValue(v1alpha1.KeyAccessToken) == g.AccessToken
}

// probeRest is how long a server is left alone that another process was the last to try: that process may have died of the answer.
const probeRest = 10 * time.Minute

// probeRestEnd is when that ends; zero if this process tried the server last, or nobody did, or a failure shows that the other one lived on.
func (o *observed) probeRestEnd() time.Time {
	c := o.credential()
	if c == nil || c.ProbedAt.IsZero() || !c.ProbedAt.Before(o.since) {
		return time.Time{}
	}
	if f := o.failures.find(stepProbe); f != nil && !attemptOf(f).Before(c.ProbedAt) {
		return time.Time{}
	}
	return c.ProbedAt.Add(probeRest)
}

// probeWanted reports whether there is a reason to try the server now, though it may be left alone for a while.
func (o *observed) probeWanted(now time.Time) bool {
	return slices.ContainsFunc(trying(o, now), func(t task) bool {
		t.notBefore = time.Time{}
		return o.timed(t, now).due(now)
	})
}

// probeFailure is why the published token is tried again; nil if that is for no earlier failure. What another token met is no
// reason to wait.
func (o *observed) probeFailure() *v1alpha1.Failure {
	f := o.failures.find(stepProbe)
	if f != nil && f.Reason == v1alpha1.ReasonProbeUnauthorized && !o.refused() {
		return nil
	}
	return f
}

// tokenID tells a grant's token from others.
func tokenID(g *credential.Grant) string { return credential.Hash(g.AccessToken) }

// untried says whether a grant is over and nobody knows whether its token is.
func untried(g *credential.Grant) bool { return g.SetAside != nil && !g.SetAside.Tried }

// refused says whether the server answered 401 to exactly the token that is published, and has not accepted it since.
func (o *observed) refused() bool {
	g := o.grant()
	return g != nil && g.Probe != nil && g.Revoke == "" && g.Probe.Reason == v1alpha1.ReasonProbeUnauthorized &&
		o.ownsSecret() && g.Probe.Token == credential.Hash(o.secretValue(v1alpha1.KeyAccessToken))
}

// unusableToken says whether the published token is refused, and all that could be done without a person did not help or
// cannot be done.
func (o *observed) unusableToken() bool { return o.refused() && o.refusalFinal() }

// refusalFinal says whether nothing can be done now about a refusal without a person.
func (o *observed) refusalFinal() bool {
	switch o.probePending() {
	case credential.WantsRefresh:
		return o.renewalFails()
	case credential.WantsDiscovery:
		return o.renewalFails() || o.failures.has(stepDiscover)
	}
	return true
}

// refusalWantsConsent says whether another consent may help where the server refuses the token: it did not help before, or
// was not asked for. An open link stays until the next token was tried.
func (o *observed) refusalWantsConsent() bool {
	g := o.grant()
	return g.Probe != nil && g.Probe.Reason == v1alpha1.ReasonProbeUnauthorized && !g.RefusedBefore && g.GrantType == "" &&
		(o.unusableToken() || o.offer() != nil)
}

// nextProbe is when the interval of the spec ends; zero if there is none, or nothing to be tried.
func (o *observed) nextProbe(now time.Time) time.Time {
	interval, c := probeInterval(o.spec()), o.credential()
	if interval == 0 || c == nil || c.ProbedAt.IsZero() || o.probeFailure() != nil || !o.probeable(now) {
		return time.Time{}
	}
	return c.ProbedAt.Add(interval)
}

// probePending is what is to be done at once about a token that the probe showed to be refused; WantsNothing once it was
// done, as long as a newer token is to be tried, and where a consent is on its way.
func (o *observed) probePending() credential.Want {
	g := o.grant()
	if g == nil || g.Probe == nil || g.Revoke != "" || g.SetAside != nil || g.Probe.Token != tokenID(g) {
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
	return g.Probe != nil && !untried(g) && (g.Probe.Reason == "" || (g.Probe.Token == tokenID(g) && o.refusalFinal()))
}

// renewalFails says whether the next token cannot be had now.
func (o *observed) renewalFails() bool {
	return o.failures.has(stepRefresh) || o.failures.has(stepRequestToken)
}

// probedVerdict speaks of what a consumer's challenge proved, else of the last probe. That the token is of no use comes first.
func probedVerdict(now time.Time, o *observed) *verdict {
	if o.unusableToken() {
		return no(v1alpha1.ReasonProbeUnauthorized, o.refusedText(now))
	}
	if v := challengedVerdict(o); v != nil {
		return v
	}
	g := o.grant()
	if g == nil || g.Revoke != "" {
		return nil
	}
	if failure := o.probeFailure(); failure != nil && !o.refused() {
		return no(failure.Reason, failure.Message)
	}
	switch {
	case !o.probeEnded():
		if rests := o.probeRestEnd(); o.probeWanted(now) && now.Before(rests) {
			return &verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "The operator was started anew since it last tried the server, and tries it again at " + rests.UTC().Format(time.RFC3339)}
		}
		if o.probeable(now) || o.probePending() != credential.WantsNothing {
			return &verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "The published token has not been tried at the server yet."}
		}
		return nil
	case g.Probe.Reason != "":
		return no(g.Probe.Reason, g.Probe.Message)
	case g.Probe.Message != "": // that not all was counted
		return yes(v1alpha1.ReasonSucceeded, g.Probe.Message)
	}
	return yes(v1alpha1.ReasonSucceeded, fmt.Sprintf("The server answers, and offers %d tools.", g.Probe.Tools))
}

// refusedText says that the server refuses the published token, and what a person can do.
func (o *observed) refusedText(now time.Time) string {
	g := o.grant()
	text := g.Probe.Message + " "
	if o.probeable(now) {
		text += "It stays in the token Secret and is tried again at growing intervals. "
	}
	switch {
	case g.SetAside != nil:
		return text + g.SetAside.Message
	case o.linkOpens(now):
		return text + "A refresh and a new look at the server's metadata did not help, or cannot be had. " + openLink
	case g.Public:
		return text + "Its metadata name no authorization server. Have its owner say what it wants."
	case g.GrantType != "":
		return text + "Another token and a new look at the server's metadata did not help, or cannot be had. Have the client's rights checked at the server."
	}
	return text + "A refresh, a new look at the server's metadata and a new consent did not help, or cannot be had. Have the account checked at the server, or ask for another consent with the annotation " +
		v1alpha1.AnnotationReauthorize
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

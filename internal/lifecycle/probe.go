package lifecycle

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// probing has the published token tried at the server: once for each grant, again while the server does not answer or
// refuses it, for each new token while it refuses, once a grant is over, and at the interval of the spec.
func probing(s *State, now time.Time) []Task {
	if !s.probeable(now) {
		return nil
	}
	t := Task{Step: StepProbe, notBefore: s.probeRestEnd()}
	g := s.Grant()
	switch {
	case s.probeFailure() != nil:
		t.after = []Step{StepProbe}
	case g.Probe == nil, s.Refused(), g.Probe.Reason != "" && g.Probe.Token != tokenID(g), Untried(g):
		t.anytime = true
	default:
		if t.since = s.nextProbe(now); t.since.IsZero() {
			return nil
		}
	}
	return []Task{t}
}

// probeInterval is the time between probes; 0: none follows the first.
func probeInterval(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Probe == nil || spec.Probe.Interval == nil {
		return 0
	}
	return spec.Probe.Interval.Duration
}

// probeable reports whether there is something to be tried: the grant's token, while it is published and valid, or a
// server that needs none.
func (s *State) probeable(now time.Time) bool {
	g := s.Grant()
	switch {
	case g == nil, g.Revoke != "":
		return false
	case g.Public:
		return s.servesPublic()
	}
	return s.holdsToken(now) && !expired(g, now) && s.SecretValue(v1alpha1.KeyAccessToken) == g.AccessToken
}

// ProbeRest is how long a server is left alone that another process was the last to try: that process may have died of
// the answer.
const ProbeRest = 10 * time.Minute

// probeRestEnd is when that ends; zero if this process tried the server last, or nobody did, or a failure shows that
// the other one lived on.
func (s *State) probeRestEnd() time.Time {
	c := s.Credential()
	if c == nil || c.ProbedAt.IsZero() || !c.ProbedAt.Before(s.Since) {
		return time.Time{}
	}
	if f := s.Failures.Find(StepProbe); f != nil && !attemptOf(f).Before(c.ProbedAt) {
		return time.Time{}
	}
	return c.ProbedAt.Add(ProbeRest)
}

// probeWanted reports whether there is a reason to try the server now, though it may be left alone for a while.
func (s *State) probeWanted(now time.Time) bool {
	return slices.ContainsFunc(probing(s, now), func(t Task) bool {
		t.notBefore = time.Time{}
		return s.timed(t, now).due(now)
	})
}

// probeFailure is why the published token is tried again; nil if that is for no earlier failure. What another token met
// is no reason to wait.
func (s *State) probeFailure() *v1alpha1.Failure {
	f := s.Failures.Find(StepProbe)
	if f != nil && f.Reason == v1alpha1.ReasonProbeUnauthorized && !s.Refused() {
		return nil
	}
	return f
}

// tokenID tells a grant's token from others.
func tokenID(g *credential.Grant) string { return credential.Hash(g.AccessToken) }

// Untried reports whether a grant is over and nobody knows whether its token is.
func Untried(g *credential.Grant) bool { return g.SetAside != nil && !g.SetAside.Tried }

// Refused reports whether the server answered 401 to exactly the token that is published, and has not accepted it
// since.
func (s *State) Refused() bool {
	g := s.Grant()
	return g != nil && g.Probe != nil && g.Revoke == "" && g.Probe.Reason == v1alpha1.ReasonProbeUnauthorized &&
		s.ownsSecret() && g.Probe.Token == credential.Hash(s.SecretValue(v1alpha1.KeyAccessToken))
}

// unusableToken reports whether the published token is refused, and all that could be done without a person did not
// help or cannot be done.
func (s *State) unusableToken() bool { return s.Refused() && s.refusalFinal() }

// refusalFinal reports whether nothing can be done now about a refusal without a person.
func (s *State) refusalFinal() bool {
	switch s.ProbePending() {
	case credential.WantsRefresh:
		return s.renewalFails()
	case credential.WantsDiscovery:
		return s.renewalFails() || s.Failures.Has(StepDiscover)
	}
	return true
}

// refusalWantsConsent reports whether another consent may help where the server refuses the token: it did not help
// before, or was not asked for. An open link stays until the next token was tried.
func (s *State) refusalWantsConsent() bool {
	g := s.Grant()
	return g.Probe != nil && g.Probe.Reason == v1alpha1.ReasonProbeUnauthorized && !g.RefusedBefore && g.GrantType == "" &&
		(s.unusableToken() || s.Offer() != nil)
}

// nextProbe is when the interval of the spec ends; zero if there is none, or nothing to be tried.
func (s *State) nextProbe(now time.Time) time.Time {
	interval, c := probeInterval(s.Spec()), s.Credential()
	if interval == 0 || c == nil || c.ProbedAt.IsZero() || s.probeFailure() != nil || !s.probeable(now) {
		return time.Time{}
	}
	return c.ProbedAt.Add(interval)
}

// ProbePending is what is to be done at once about a token that the probe showed to be refused; WantsNothing once it
// was done, as long as a newer token is to be tried, and where a consent is on its way.
func (s *State) ProbePending() credential.Want {
	g := s.Grant()
	if g == nil || g.Probe == nil || g.Revoke != "" || g.SetAside != nil || g.Probe.Token != tokenID(g) {
		return credential.WantsNothing
	}
	if g.Probe.Wants == credential.WantsRefresh && !renewable(g) {
		return credential.WantsDiscovery
	}
	return g.Probe.Wants
}

// calledFor reports whether a consumer's challenge, or one that the probe met, wants this.
func (s *State) calledFor(want credential.Want) bool {
	return s.Pending() == want || s.ProbePending() == want
}

// RefusalPending reports whether anything is still to be done about a token that a consumer or the probe was refused
// with.
func (s *State) RefusalPending() bool {
	g := s.Grant()
	return s.ProbePending() != credential.WantsNothing ||
		(g != nil && g.Challenge != nil && g.Challenge.Wants != credential.WantsNothing)
}

// probeEnded reports whether the last probe has a result: nothing is to be done about it, or what is to be done fails.
func (s *State) probeEnded() bool {
	g := s.Grant()
	return g.Probe != nil && !Untried(g) && (g.Probe.Reason == "" || (g.Probe.Token == tokenID(g) && s.refusalFinal()))
}

// renewalFails reports whether the next token cannot be had now.
func (s *State) renewalFails() bool {
	return s.Failures.Has(StepRefresh) || s.Failures.Has(StepRequestToken)
}

// probedVerdict speaks of what a consumer's challenge proved, else of the last probe. That the token is of no use comes
// first.
func probedVerdict(now time.Time, s *State) *verdict {
	if s.unusableToken() {
		return no(v1alpha1.ReasonProbeUnauthorized, s.refusedText(now))
	}
	if v := challengedVerdict(s); v != nil {
		return v
	}
	g := s.Grant()
	if g == nil || g.Revoke != "" {
		return nil
	}
	if failure := s.probeFailure(); failure != nil && !s.Refused() {
		return no(failure.Reason, failure.Message)
	}
	switch {
	case !s.probeEnded():
		if rests := s.probeRestEnd(); s.probeWanted(now) && now.Before(rests) {
			return &verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "The operator was started anew since it last " +
				"tried the server, and tries it again at " + rests.UTC().Format(time.RFC3339)}
		}
		if s.probeable(now) || s.ProbePending() != credential.WantsNothing {
			return &verdict{metav1.ConditionUnknown, v1alpha1.ReasonNotProbed, "The published token has not been tried at " +
				"the server yet."}
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
func (s *State) refusedText(now time.Time) string {
	g := s.Grant()
	text := g.Probe.Message + " "
	if s.probeable(now) {
		text += "It stays in the token Secret and is tried again at growing intervals. "
	}
	switch {
	case g.SetAside != nil:
		return text + g.SetAside.Message
	case s.linkOpens(now):
		return text + "A refresh and a new look at the server's metadata did not help, or cannot be had. " + openLink
	case g.Public:
		return text + "Its metadata name no authorization server. Have its owner say what it wants."
	case g.GrantType != "":
		return text + "Another token and a new look at the server's metadata did not help, or cannot be had. Have the " +
			"client's rights checked at the server."
	}
	return text + "A refresh, a new look at the server's metadata and a new consent did not help, or cannot be had. " +
		"Have the account checked at the server, or ask for another consent with the annotation " +
		v1alpha1.AnnotationReauthorize
}

// reportServer shows what the server said of itself.
func reportServer(status *v1alpha1.MCPConnectionStatus, s *State) {
	g := s.Grant()
	if g == nil || g.Revoke != "" || g.Probe == nil || g.Probe.At.IsZero() {
		return
	}
	p := g.Probe
	status.Server = &v1alpha1.ServerStatus{
		Name: p.Name, Version: p.Version, ProtocolVersion: p.ProtocolVersion,
		Tools: ptr.To(p.Tools), ProbedAt: TimeOf(p.At),
	}
}

package lifecycle

import (
	"slices"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// grantChain is the next step towards a grant, or towards a better one.
func grantChain(s *State, now time.Time) []Task {
	var tasks []Task
	switch {
	case s.NonInteractive():
		tasks = requestChain(s, now)
	case s.importWanted():
		tasks = importChain(s)
	default:
		tasks = consentChain(s, now)
	}
	if !s.NonInteractive() {
		tasks = append(tasks, s.consentsAhead(now)...)
	}
	isDiscovery := func(t Task) bool { return t.Step == StepDiscover }
	if s.rediscoveryFails(now) && s.Discovery == nil && !slices.ContainsFunc(tasks, isDiscovery) {
		tasks = append(tasks, Task{Step: StepDiscover, after: []Step{StepDiscover}, anytime: true})
	}
	return tasks
}

// rediscoveryFails reports whether a discovery fails that was made since the next token cannot be had: that is told
// until the discovery would be tried again, which it is only if it is called for once more.
func (s *State) rediscoveryFails(now time.Time) bool {
	fails := func(step Step, wanted bool) bool { return wanted && s.Failures.Has(step) }
	return s.Failures.waiting(StepDiscover, now) &&
		(fails(StepRefresh, Refreshable(s.Grant())) || fails(StepRequestToken, s.tokenWanted() ||
			slices.ContainsFunc(requestingNext(s, now), func(t Task) bool { return t.wanted(now) })))
}

// rediscoveryWanted reports whether the server is to be discovered whatever is stored.
func (s *State) rediscoveryWanted() bool {
	return s.Rediscover || s.calledFor(credential.WantsDiscovery)
}

// LinkTrouble is why no link to the authorization server that was found could work, whoever the client is; nil if one
// could, or none is wanted.
func LinkTrouble(s *State, now time.Time) error {
	if s.NonInteractive() || s.importWanted() || !s.consentDue(now) {
		return nil
	}
	before := *s
	before.Registered = &mcpoauth.ClientRegistration{}
	b := Binding(&before)
	if s.ExternalURL == "" {
		b.RedirectURI = ""
	}
	return mcpoauth.CheckAuthorizationEndpoint(b.AuthorizationRequest("", ""))
}

// DiscoveryRequest is what the server is asked for: the issuer of the spec, or that of a grant which is to be imported.
func DiscoveryRequest(s *State) mcpoauth.DiscoveryRequest {
	request := discovery.Request(s.Spec())
	if s.importWanted() && request.Issuer == "" {
		request.Issuer = s.Imported.Issuer
	}
	return request
}

package lifecycle

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// consentChain leads to an open link, where a person's consent would help.
func consentChain(s *State, now time.Time) []Task {
	wanted, rediscover := s.consentWanted(now), s.rediscoveryWanted()
	var tasks []Task
	switch {
	case wanted && !s.offerUsable(now):
		tasks = []Task{{Step: s.nextToLink(), after: []Step{StepDiscover, StepRegister, StepStartAuthorization},
			anytime: true}}
	case rediscover:
		tasks = whenNeeded(StepDiscover, s.Discovery == nil)
	}
	switch {
	case s.Response() != nil, s.nowhereToPublish():
		tasks = blocked(tasks)
	case s.offerForAnotherServer(), s.Offer() != nil && !wanted && !rediscover:
		tasks = append(whenNeeded(StepEndAuthorization, true), blocked(tasks)...)
	}
	return tasks
}

// nextToLink is the next step to an open link.
func (s *State) nextToLink() Step {
	switch {
	case s.Discovery == nil:
		return StepDiscover
	case s.Registered == nil && s.ExternalURL != "" && !s.IssuerChanged(): // startAuthorization says that it changed
		return StepRegister
	}
	return StepStartAuthorization
}

// consentsAhead are links to come: when the token runs out, when the grant does, when the client's secret does, when
// the open link does.
func (s *State) consentsAhead(now time.Time) []Task {
	var times []time.Time
	if g := s.Grant(); g != nil {
		times = append(times, linkTime(g), g.ConsentAt())
		if Refreshable(g) && !updatable(&g.Client) {
			times = append(times, UpdateMoment(&g.Client))
		}
	}
	if offer := s.Offer(); offer != nil {
		times = append(times, offer.ExpiresAt)
	}
	var tasks []Task
	for _, at := range times {
		if at.After(now) {
			tasks = append(tasks, Task{Step: StepStartAuthorization, since: at})
		}
	}
	return tasks
}

// consentWanted reports whether a person's consent would help now.
func (s *State) consentWanted(now time.Time) bool {
	return s.consentMissing(now) || s.tokenRunsOut(now)
}

// tokenRunsOut reports whether the time has come to replace a token that cannot be refreshed.
func (s *State) tokenRunsOut(now time.Time) bool {
	g := s.Grant()
	return g != nil && !g.Public && g.Revoke == "" && g.RefreshToken == "" && !g.ExpiresAt.IsZero() &&
		!now.Before(linkTime(g))
}

// consentMissing reports whether a person asked for a new consent, or the one that was given is of no more use.
func (s *State) consentMissing(now time.Time) bool {
	if value, asked := asked(s.Conn, v1alpha1.AnnotationReauthorize, s.Handled.Reauthorize); asked && value != "" {
		return true
	}
	if offer := s.Offer(); offer != nil && offer.Reauthorize != "" && offer.Binding.ServerURL == s.Conn.Spec.ServerURL {
		return true
	}
	g := s.Grant()
	switch {
	case g == nil:
		return true
	case g.Public, g.Revoke != "": // first a leaked grant goes
		return false
	case g.SetAside != nil, s.clientReplaced(&g.Client), WantsConsent(g), s.scopesGrown(), s.clientSecretRunsOut(now),
		s.refusalWantsConsent(), s.grantRunsOut(now):
		return true
	}
	return (g.UnknownOutcomes > 0 || g.Refusals >= minRefusals) && expired(g, now)
}

// grantRunsOut reports whether the time has come to replace a grant that ends and that no refresh prolongs.
func (s *State) grantRunsOut(now time.Time) bool {
	at := s.Grant().ConsentAt()
	return !at.IsZero() && !now.Before(at)
}

// offerForAnotherServer reports whether the open link leads to another server or issuer than the spec names.
func (s *State) offerForAnotherServer() bool {
	offer, issuer := s.Offer(), s.issuer()
	return offer != nil && (offer.Binding.ServerURL != s.Conn.Spec.ServerURL || s.IssuerChanged() ||
		(issuer != "" && offer.Binding.Issuer != issuer))
}

// offerUsable reports whether the open link is the one that is wanted.
func (s *State) offerUsable(now time.Time) bool {
	if value, asked := asked(s.Conn, v1alpha1.AnnotationReauthorize, s.Handled.Reauthorize); asked &&
		(s.Offer() == nil || s.Offer().Reauthorize != value) {
		return false
	}
	return s.offerFits(now)
}

// offerFits reports whether the open link still fits the spec.
func (s *State) offerFits(now time.Time) bool {
	offer := s.Offer()
	return offer != nil && now.Before(offer.ExpiresAt) && offer.SpecHash == BindingHash(s.Spec()) &&
		s.offerCovers(offer) &&
		offer.Binding.RedirectURI == s.RedirectURI() && !s.clientReplaced(&offer.Binding.Client) &&
		!s.offersSameClient(offer, now)
}

// LinkExpiry is when a link is replaced: after its lifetime, or with a client whose secret would expire while it is
// open.
func LinkExpiry(client *mcpoauth.ClientRegistration, now time.Time) time.Time {
	at := now.Add(credential.TicketLifetime)
	if update := UpdateMoment(client); update.After(now) && update.Before(at) {
		at = update
	}
	return at.Truncate(time.Second)
}

// ReauthorizeFor is the annotation value that an offer answers; empty if a person's consent is wanted anyway.
func ReauthorizeFor(s *State) string {
	if value, is := asked(s.Conn, v1alpha1.AnnotationReauthorize, s.Handled.Reauthorize); is {
		return value
	}
	if offer := s.Offer(); offer != nil {
		return offer.Reauthorize
	}
	return ""
}

// CountExpired notes that somebody opened the link of a registration, and that it expired all the same.
func CountExpired(c *credential.Credential, now time.Time) {
	offer := c.Authorization.Offer
	if offer == nil {
		return
	}
	if known := c.Registration(offer.Binding.Issuer, offer.Binding.RedirectURI); known != nil &&
		expiredFor(known, offer, now) {
		known.ExpiredConsents++
	}
}

// expiredFor reports whether a link that somebody opened has expired and belongs to this registration, not to one
// before it.
func expiredFor(known *credential.Registration, offer *credential.Offer, now time.Time) bool {
	return offer != nil && offer.Opened && !now.Before(offer.ExpiresAt) &&
		offer.Binding.Client.ClientID == known.Client.ClientID
}

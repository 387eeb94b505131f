package controller

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// consentWanted says whether a person's consent would help now.
func (o *observed) consentWanted(now time.Time) bool {
	return o.consentMissing(now) || o.tokenRunsOut(now)
}

// tokenRunsOut says whether the time has come to replace a token that cannot be refreshed.
func (o *observed) tokenRunsOut(now time.Time) bool {
	g := o.grant()
	return g != nil && !g.Public && g.Revoke == "" && g.RefreshToken == "" && !g.ExpiresAt.IsZero() && !now.Before(linkTime(g))
}

// consentMissing says whether a person asked for a new consent, or the one that was given is of no more use.
func (o *observed) consentMissing(now time.Time) bool {
	if value, asked := asked(o.conn, v1alpha1.AnnotationReauthorize, o.handled.Reauthorize); asked && value != "" {
		return true
	}
	if offer := o.offer(); offer != nil && offer.Reauthorize != "" && offer.Binding.ServerURL == o.conn.Spec.ServerURL {
		return true
	}
	g := o.grant()
	switch {
	case g == nil:
		return true
	case g.Public, g.Revoke != "": // first a leaked grant goes
		return false
	case g.SetAside != nil, o.clientReplaced(&g.Client), wantsConsent(g), o.scopesGrown(), o.clientWornOut(now), o.refusalWantsConsent(), o.grantRunsOut(now):
		return true
	}
	return (g.UnknownOutcomes > 0 || g.Refusals >= minRefusals) && expired(g, now)
}

// grantRunsOut says whether the time has come to replace a grant that ends and that no refresh prolongs.
func (o *observed) grantRunsOut(now time.Time) bool {
	at := o.grant().ConsentAt()
	return !at.IsZero() && !now.Before(at)
}

// offerAstray says whether the open link leads to another server or issuer than the spec names.
func (o *observed) offerAstray() bool {
	offer, issuer := o.offer(), o.issuer()
	return offer != nil && (offer.Binding.ServerURL != o.conn.Spec.ServerURL || o.issuerChanged() ||
		(issuer != "" && offer.Binding.Issuer != issuer))
}

// offerUsable says whether the open link is the one that is wanted.
func (o *observed) offerUsable(now time.Time) bool {
	if value, asked := asked(o.conn, v1alpha1.AnnotationReauthorize, o.handled.Reauthorize); asked && (o.offer() == nil || o.offer().Reauthorize != value) {
		return false
	}
	return o.offerFits(now)
}

// offerFits says whether the open link still fits the spec.
func (o *observed) offerFits(now time.Time) bool {
	offer := o.offer()
	return offer != nil && now.Before(offer.ExpiresAt) && offer.SpecHash == bindingHash(o.spec()) && o.offerCovers(offer) &&
		offer.Binding.RedirectURI == o.redirectURI() && !o.clientReplaced(&offer.Binding.Client) && !o.offersWornOut(offer, now)
}

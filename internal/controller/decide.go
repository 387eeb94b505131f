package controller

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// step is one effect of the reconciler. A step, its function and its failure share one word.
type step string

const (
	stepNone               step = ""
	stepFinalize           step = "finalize"
	stepObserve            step = "observe" // it comes first, and is never decided
	stepSave               step = "save"    // it goes on beside the reconciles, and is never decided
	stepAddFinalizer       step = "addFinalizer"
	stepCreateCredential   step = "createCredential"
	stepNotePolicy         step = "notePolicy"
	stepWithdrawToken      step = "withdrawToken"
	stepTakeChallenge      step = "takeChallenge"
	stepForgetChallenge    step = "forgetChallenge"
	stepPublish            step = "publish"
	stepExchangeCode       step = "exchangeCode"
	stepRevoke             step = "revoke"
	stepRefresh            step = "refresh"
	stepDiscover           step = "discover"
	stepRegister           step = "register"
	stepUpdateRegistration step = "updateRegistration"
	stepUnregister         step = "unregister"
	stepStartAuthorization step = "startAuthorization"
	stepEndAuthorization   step = "endAuthorization"
	stepRequestToken       step = "requestToken"
	stepImportGrant        step = "importGrant"
	stepProbe              step = "probe"
)

// revokeAsked says whether a person asked for revocation and the token is still published.
func (o *observed) revokeAsked() bool {
	_, asked := asked(o.conn, v1alpha1.AnnotationRevoke, o.handled.Revoke)
	return asked
}

// withdrawn is a grant that is still to be revoked at its server, the current one first; nil if there is none.
func (o *observed) withdrawn() *credential.Grant {
	if g := o.grant(); g != nil && g.Revoke != "" {
		return g
	}
	if c := o.credential(); c != nil {
		for i := range c.Grants {
			if c.Grants[i].Revoke != "" {
				return &c.Grants[i]
			}
		}
	}
	return nil
}

// refreshAsked reports whether a person, a consumer or a probe asks for the next token now.
func (o *observed) refreshAsked() bool {
	_, is := asked(o.conn, v1alpha1.AnnotationRefresh, o.handled.Refresh)
	return is || o.calledFor(credential.WantsRefresh)
}

// fateUnknown says whether a refresh token was sent twice without an answer, so that the access token is kept until it
// expires: then nothing can be lost by another try. Without a known expiry there is nothing to wait for.
func fateUnknown(g *credential.Grant, now time.Time) bool {
	return g.UnknownOutcomes > 1 && now.Before(g.ExpiresAt) && !setBack(now, g.IssuedAt)
}

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

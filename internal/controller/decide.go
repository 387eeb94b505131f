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

// decide names the next step. It reads top to bottom: each case assumes that all above it are false.
func decide(now time.Time, o *observed) step {
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

// revokeAsked says whether a person asked for revocation and the token is still published.
func (o *observed) revokeAsked() bool {
	_, asked := asked(o.conn, v1alpha1.AnnotationRevoke, o.handled.Revoke)
	return asked
}

// revokeDue says whether a withdrawn grant is still to be revoked at the server.
func (o *observed) revokeDue(now time.Time) bool {
	g := o.withdrawn()
	return g != nil && !o.failures.waiting(stepRevoke, now) && (g.AccessToken != "" || g.RefreshToken != "" || !o.showsWithdrawn())
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

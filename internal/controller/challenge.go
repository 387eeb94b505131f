package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxStepUps is how many consents challenges may ask for before the token is refreshed again: no server can have a person
// consent for ever.
const maxStepUps = 3

// challengeID is the SHA-256 of the challenge that a consumer handed over; empty if there is none.
func challengeID(conn *v1alpha1.MCPConnection) string {
	value := conn.Annotations[v1alpha1.AnnotationChallenge]
	if value == "" {
		return ""
	}
	return credential.Hash(value)
}

// challengeNew says whether a challenge was handed over that nobody has looked at.
func (o *observed) challengeNew() bool {
	id, g := challengeID(o.conn), o.grant()
	return id != "" && id != o.handled.Challenge && (g == nil || g.Challenge == nil || g.Challenge.ID != id)
}

// recallChallenge makes up for a status write that was lost, and forgets a challenge that was taken off: set again, it
// is a new request.
func (o *observed) recallChallenge() {
	id, g := challengeID(o.conn), o.grant()
	switch {
	case id == "":
		o.handled.Challenge = ""
	case g != nil && g.Challenge != nil && g.Challenge.ID == id && (g.Challenge.Wants == credential.WantsNothing || wantsConsent(g)):
		o.handled.Challenge = id
	}
}

// takeChallenge writes down what a challenge calls for. A refused token is refreshed once, then the server is discovered;
// missing scopes want a consent, if another one may bring them.
func (r *Reconciler) takeChallenge(ctx context.Context, o *work) error {
	id, g := challengeID(o.conn), o.grant()
	if g == nil || g.Revoke != "" { // a consent is on its way, or nothing would help
		o.handled.Challenge = id
		return nil
	}
	taken := newChallenge(o.conn.Annotations[v1alpha1.AnnotationChallenge], g)
	done := taken.Wants == credential.WantsNothing || taken.Wants == credential.WantsConsent
	if !done {
		o.discovery = nil
	}
	err := onGrant(ctx, o, r.update, func(c *credential.Credential, g *credential.Grant) error {
		if g.Challenge = taken; done {
			o.keep(c, v1alpha1.AnnotationChallenge)
		}
		return nil
	})
	if err == nil && done {
		o.handled.Challenge = id
	}
	return err
}

// newChallenge reads the value of a WWW-Authenticate header. What is not insufficient_scope, or cannot be read, says that the
// token was refused.
func newChallenge(value string, g *credential.Grant) *credential.Challenge {
	challenges := mcpoauth.ParseChallenge(value)
	bearer, _ := mcpoauth.FindBearer(challenges)
	c := &credential.Challenge{ID: credential.Hash(value)}
	switch {
	case bearer.Error == "insufficient_scope" && !g.Public:
		c.Insufficient = true
		c.Scopes = mcpoauth.SelectScopes(bearer.Scopes, &mcpoauth.Discovery{}, "Never") // less what is no scope token
		// What was asked for and not granted would not be granted now either.
		if len(lacking(lacking(c.Scopes, g.GrantedScopes), g.Scopes)) > 0 && g.StepUps < maxStepUps {
			c.Wants = credential.WantsConsent
		}
	case mcpoauth.ChallengesDPoP(challenges) && g.DPoPJWK == "": // a refresh without a key would bring the same again
		c.Wants = credential.WantsDiscovery
	case renewable(g):
		c.Wants = credential.WantsRefresh
	default:
		c.Wants = credential.WantsDiscovery
	}
	return c
}

// lacking are the scopes that are not among those that are there.
func lacking(scopes, there []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(there, s) })
}

// refreshable says whether the refresh token may be spent. A grant that was set aside may be one that is tried now and then.
func refreshable(g *credential.Grant) bool {
	return g != nil && g.GrantType == "" && g.RefreshToken != "" && (g.SetAside == nil || g.SetAside.Retried) && g.Revoke == ""
}

// renewable says whether a new access token can be had without a person.
func renewable(g *credential.Grant) bool {
	return refreshable(g) || (g != nil && g.GrantType != "" && g.Revoke == "")
}

// refreshed notes that a refresh was tried, with whatever outcome: one is enough for a challenge, or for a probe.
func refreshed(g *credential.Grant) {
	if g.Probe != nil && g.Probe.Wants == credential.WantsRefresh {
		g.Probe.Wants = credential.WantsDiscovery
	}
	if g.Challenge != nil && g.Challenge.Wants == credential.WantsRefresh {
		g.Challenge.Wants = credential.WantsDiscovery
	}
}

// rediscovered ends a challenge that the server's metadata had to be looked at for. A token of the right issuer that was
// refused and cannot be refreshed wants a consent.
func rediscovered(g *credential.Grant, sameIssuer bool) {
	if sameIssuer && g.RefreshToken == "" && g.GrantType == "" {
		g.Challenge.Wants = credential.WantsConsent
		return
	}
	g.Challenge = nil
}

func wantsConsent(g *credential.Grant) bool {
	return g.Challenge != nil && g.Challenge.Wants == credential.WantsConsent
}

// pending is what is to be done at once about the challenge that is handed over now; WantsNothing once it was done.
func (o *observed) pending() credential.Want {
	id, g := challengeID(o.conn), o.grant()
	if g == nil || g.Challenge == nil || g.Revoke != "" || g.Challenge.ID != id || o.handled.Challenge == id {
		return credential.WantsNothing
	}
	if g.Challenge.Wants == credential.WantsRefresh && !renewable(g) {
		return credential.WantsDiscovery
	}
	return g.Challenge.Wants
}

// rediscoveryWanted says whether the server is to be discovered whatever is stored.
func (o *observed) rediscoveryWanted() bool {
	return o.rediscover || o.calledFor(credential.WantsDiscovery)
}

// scopesGrown says whether the spec names scopes that were neither granted nor asked for.
func (o *observed) scopesGrown() bool {
	g := o.grant()
	if g == nil || g.Public || g.Revoke != "" || g.SetAside != nil {
		return false
	}
	scopes := mcpoauth.SelectScopes(specScopes(o.spec()), &mcpoauth.Discovery{}, "Never")
	return len(lacking(lacking(scopes, g.GrantedScopes), g.Scopes)) > 0
}

// offerCovers says whether a link asks for the scopes that a challenge demands.
func (o *observed) offerCovers(offer *credential.Offer) bool {
	g := o.grant()
	return g == nil || !wantsConsent(g) || len(lacking(g.Challenge.Scopes, offer.Binding.Scopes)) == 0
}

func specScopes(spec *v1alpha1.MCPConnectionSpec) []string {
	scopes := make([]string, 0, len(spec.Scopes))
	for _, scope := range spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	return scopes
}

// requestedScopes are those of an automatic or specified selection; for more scopes than were granted, all that were
// granted and all that are wanted. What challenges brought is kept.
func requestedScopes(o *observed) []string {
	g, wanted := o.grant(), specScopes(o.spec())
	stepUp := g != nil && wantsConsent(g) && g.Challenge.Insufficient
	if stepUp {
		wanted = slices.Concat(g.GrantedScopes, wanted, g.Challenge.Scopes)
	} else if o.scopesGrown() {
		wanted = slices.Concat(g.GrantedScopes, wanted)
	}
	scopes := mcpoauth.SelectScopes(wanted, o.discovery, string(o.offlineAccess()))
	if g != nil && len(scopes) > 0 {
		scopes = append(scopes, lacking(g.Challenged, scopes)...)
	}
	return scopes
}

// succeed has a new grant inherit from the one before it what challenges demanded, and that the server refused its token.
func succeed(g, old *credential.Grant) {
	if old == nil {
		return
	}
	demanded := slices.Clone(old.Challenged)
	if c := old.Challenge; c != nil && c.Insufficient {
		demanded = append(demanded, lacking(c.Scopes, demanded)...)
		inherit(g, old)
	}
	g.Challenged = lacking(demanded, lacking(demanded, g.GrantedScopes))
	g.RefusedBefore = old.RefusedBefore || (old.Probe != nil && old.Probe.Reason == v1alpha1.ReasonProbeUnauthorized)
}

// inherit carries an insufficient_scope challenge over: it ends if the scopes were granted, and wants nothing more if they
// were asked for in vain.
func inherit(g, old *credential.Grant) {
	c := *old.Challenge
	answered := len(lacking(c.Scopes, g.Scopes)) == 0
	if wantsConsent(old) && answered {
		g.StepUps = old.StepUps + 1
	}
	if len(lacking(c.Scopes, g.GrantedScopes)) == 0 {
		return
	}
	if answered {
		c.Wants = credential.WantsNothing
	}
	g.Challenge = &c
}

// challengedVerdict speaks of what a consumer's challenge proved: the server wants more than any consent brings. It stands as
// long as the annotation does.
func challengedVerdict(o *observed) *verdict {
	g := o.grant()
	if g == nil || g.Challenge == nil || !g.Challenge.Insufficient || g.Challenge.Wants != credential.WantsNothing ||
		g.Revoke != "" || challengeID(o.conn) != g.Challenge.ID {
		return nil
	}
	c := g.Challenge
	why := "The server demands the scopes " + strings.Join(c.Scopes, " ") + " of a consumer, and the token has them"
	switch missing := lacking(c.Scopes, g.GrantedScopes); {
	case len(c.Scopes) == 0:
		why = "The server demands more scopes of a consumer and does not say which"
	case len(missing) > 0:
		why = "The server demands scopes of a consumer that a consent did not bring: " + strings.Join(missing, " ")
	}
	return no(v1alpha1.ReasonInsufficientScope, fmt.Sprintf(
		"%s. No further consent is asked for: have the account's rights checked at the server, or set spec.scopes or the annotation %s; then take the annotation %s off.",
		why, v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationChallenge))
}

// challengeText says why a challenge wants a consent.
func challengeText(c *credential.Challenge) string {
	if c.Insufficient {
		return "The server demands more scopes of a consumer: " + strings.Join(c.Scopes, " ") + ". "
	}
	return "The server refused the token of a consumer, and it cannot be refreshed. "
}

// offlineAccess says when offline_access is asked for: it stands for a refresh token, which only a person's grant has.
func (o *observed) offlineAccess() v1alpha1.OfflineAccess {
	wanted := compatibility(o.spec()).OfflineAccess
	if o.unattended() && wanted != v1alpha1.OfflineAccessAlways {
		return v1alpha1.OfflineAccessNever
	}
	return wanted
}

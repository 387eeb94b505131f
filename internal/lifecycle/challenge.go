package lifecycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func forgettingChallenge(s *State, _ time.Time) []Task {
	return whenNeeded(StepForgetChallenge, s.challengeTakenOff())
}

func takingChallenge(s *State, _ time.Time) []Task {
	return whenNeeded(StepTakeChallenge, s.challengeNew())
}

// MaxStepUps is how many consents challenges may ask for before the token is refreshed again: no server can have a
// person consent for ever.
const MaxStepUps = 3

// ChallengeID is the SHA-256 of the challenge that a consumer handed over; empty if there is none.
func ChallengeID(conn *v1alpha1.MCPConnection) string {
	value := conn.Annotations[v1alpha1.AnnotationChallenge]
	if value == "" {
		return ""
	}
	return credential.Hash(value)
}

// challengeNew reports whether a challenge was handed over that nobody has looked at.
func (s *State) challengeNew() bool {
	id, g := ChallengeID(s.Conn), s.Grant()
	return id != "" && id != s.Handled.Challenge && (g == nil || g.Challenge == nil || g.Challenge.ID != id)
}

// RecallChallenge makes up for a status write that was lost, and forgets a challenge that was taken off: set again, it
// is a new request.
func (s *State) RecallChallenge() {
	id, g := ChallengeID(s.Conn), s.Grant()
	switch {
	case id == "":
		s.Handled.Challenge = ""
	case g != nil && g.Challenge != nil && g.Challenge.ID == id && (g.Challenge.Wants == credential.WantsNothing ||
		WantsConsent(g)):
		s.Handled.Challenge = id
	}
}

// NewChallenge reads the value of a WWW-Authenticate header. What is not insufficient_scope, or cannot be read, says
// that the token was refused.
func NewChallenge(value string, g *credential.Grant) *credential.Challenge {
	challenges := mcpoauth.ParseChallenge(value)
	bearer, _ := mcpoauth.FindBearer(challenges)
	c := &credential.Challenge{ID: credential.Hash(value)}
	switch {
	case bearer.Error == "insufficient_scope" && !g.Public:
		c.Insufficient = true
		c.Scopes = mcpoauth.SelectScopes(bearer.Scopes, &mcpoauth.Discovery{}, "Never") // less what is no scope token
		// What was asked for and not granted would not be granted now either.
		if len(lacking(lacking(c.Scopes, g.GrantedScopes), g.Scopes)) > 0 && g.StepUps < MaxStepUps {
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

// Refreshed notes that a refresh was tried, with whatever outcome: one is enough for a challenge, or for a probe.
func Refreshed(g *credential.Grant) {
	if g.Probe != nil && g.Probe.Wants == credential.WantsRefresh {
		g.Probe.Wants = credential.WantsDiscovery
	}
	if g.Challenge != nil && g.Challenge.Wants == credential.WantsRefresh {
		g.Challenge.Wants = credential.WantsDiscovery
	}
}

// rediscovered ends a challenge that the server's metadata had to be looked at for. A token of the right issuer that
// was refused and cannot be refreshed wants a consent.
func rediscovered(g *credential.Grant, sameIssuer bool) {
	if sameIssuer && g.RefreshToken == "" && g.GrantType == "" {
		g.Challenge.Wants = credential.WantsConsent
		return
	}
	g.Challenge = nil
}

// WantsConsent reports whether a challenge that was taken waits for a person.
func WantsConsent(g *credential.Grant) bool {
	return g.Challenge != nil && g.Challenge.Wants == credential.WantsConsent
}

// Pending is what is to be done at once about the challenge that is handed over now; WantsNothing once it was done.
func (s *State) Pending() credential.Want {
	id, g := ChallengeID(s.Conn), s.Grant()
	if g == nil || g.Challenge == nil || g.Revoke != "" || g.Challenge.ID != id || s.Handled.Challenge == id {
		return credential.WantsNothing
	}
	if g.Challenge.Wants == credential.WantsRefresh && !renewable(g) {
		return credential.WantsDiscovery
	}
	return g.Challenge.Wants
}

// Succeed has a new grant inherit from the one before it what challenges demanded, and that the server refused its
// token.
func Succeed(g, old *credential.Grant) {
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

// inherit carries an insufficient_scope challenge over: it ends if the scopes were granted, and wants nothing more if
// they were asked for in vain.
func inherit(g, old *credential.Grant) {
	c := *old.Challenge
	answered := len(lacking(c.Scopes, g.Scopes)) == 0
	if WantsConsent(old) && answered {
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

// challengedVerdict speaks of what a consumer's challenge proved: the server wants more than any consent brings. It
// stands as long as the annotation does.
func challengedVerdict(s *State) *verdict {
	g := s.Grant()
	if g == nil || g.Challenge == nil || !g.Challenge.Insufficient || g.Challenge.Wants != credential.WantsNothing ||
		g.Revoke != "" || ChallengeID(s.Conn) != g.Challenge.ID {
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
		"%s. No further consent is asked for: have the account's rights checked at the server, or set spec.scopes or the "+
			"annotation %s; then take the annotation %s off.",
		why, v1alpha1.AnnotationReauthorize, v1alpha1.AnnotationChallenge))
}

// challengeText says why a challenge wants a consent.
func challengeText(c *credential.Challenge) string {
	if c.Insufficient {
		return "The server demands more scopes of a consumer: " + strings.Join(c.Scopes, " ") + ". "
	}
	return "The server refused the token of a consumer, and it cannot be refreshed. "
}

// challengeTakenOff reports whether the credential Secret remembers a challenge that was taken off: set again, it is a
// new request.
func (s *State) challengeTakenOff() bool {
	c := s.Credential()
	return c != nil && c.Handled.Challenge != "" && ChallengeID(s.Conn) == ""
}

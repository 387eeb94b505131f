package lifecycle

import (
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxNamed bounds what is kept of an identifier that only the server vouches for.
const maxNamed = 200

// Adopted forgets what failed without the proof that tokens are bound to now. before is the grant as it was.
func (s *State) Adopted(before *credential.Grant) {
	if now := s.Grant(); before != nil && now != nil && now.DPoPJWK != before.DPoPJWK {
		s.Failures.Clear(StepRefresh)
		s.Failures.Clear(StepRequestToken)
	}
	if now := s.Grant(); before != nil && now != nil && now.Documented && !before.Documented {
		s.Failures.Clear(StepRequestToken) // which may have waited for that
	}
}

// MovedEndpoints reports whether the issuer of a grant names other endpoints than the grant was got at.
func MovedEndpoints(g *credential.Grant, as *mcpoauth.AuthorizationServerMetadata) bool {
	return g.Issuer == as.Issuer && (g.TokenEndpoint != as.TokenEndpoint || g.RevocationEndpoint != as.RevocationEndpoint)
}

// NoteMoves tells of endpoints that moved, and of another issuer.
func (s *State) NoteMoves(named *credential.NamedIssuer, moved bool) {
	g, as := s.Grant(), &s.Discovery.AuthorizationServer
	switch {
	case g == nil:
	case moved:
		s.Notes = append(s.Notes, Note{Reason: "EndpointsMoved", Message: "The authorization server " + g.Issuer +
			" moved its endpoints; the grant now uses " + as.TokenEndpoint + "."})
	case named != nil && named.Pinned == "" && !g.Public && g.Issuer != named.Issuer:
		s.Notes = append(s.Notes, Note{Warning: true, Reason: v1alpha1.ReasonIssuerChanged,
			Message: fmt.Sprintf("The server now names the authorization server %s instead of %s. Nothing stored "+
				"is sent there.", named.Issuer, g.Issuer)})
	}
}

// WantsRefresh reports whether a challenge still calls for a refresh.
func WantsRefresh(g *credential.Grant) bool {
	return g != nil && g.Challenge != nil && g.Challenge.Wants == credential.WantsRefresh
}

// AdoptInto changes the grant that counted when the discovery began.
func AdoptInto(c *credential.Credential, counted *credential.Grant, found *mcpoauth.Discovery, moves, challenged,
	probed, unlisted bool) {
	as := &found.AuthorizationServer
	g := c.Grant(counted.ServerURL, counted.Issuer, counted.GrantType)
	switch {
	case g == nil:
		return
	case g.Public:
		c.DropGrant(&g.Binding)
		return
	case moves && g.Issuer == as.Issuer:
		g.TokenEndpoint, g.RevocationEndpoint, g.Documented = as.TokenEndpoint, as.RevocationEndpoint, as.Documented
	}
	challenged, probed = challenged && g.Challenge != nil, probed && g.Probe != nil
	want := credential.WantsNothing
	if (challenged || probed) && g.Issuer == as.Issuer && found.DPoPRequired && g.DPoPJWK == "" && renewable(g) {
		g.DPoPJWK, want = string(mcpoauth.GenerateDPoPKey().JWK()), credential.WantsRefresh
	}
	if probed {
		g.Probe.Wants = want
	}
	switch {
	case challenged && want == credential.WantsRefresh:
		g.Challenge.Wants = want
	case challenged:
		rediscovered(g, g.Issuer == as.Issuer && !unlisted)
	}
}

// NamedIssuer is what is to be remembered of the issuer that a discovery found; nil if nothing.
func NamedIssuer(s *State, found *mcpoauth.Discovery) *credential.NamedIssuer {
	g, before, pinned := s.Grant(), s.named(), s.PinnedIssuer()
	n := &credential.NamedIssuer{ServerURL: s.Conn.Spec.ServerURL, Issuer: found.AuthorizationServer.Issuer}
	if pinned != "" && found.Unlisted != "" && (s.IssuerChanged() || (g != nil && !g.Public && !g.Unlisted)) {
		n.Issuer, n.Pinned = mcpoauth.Sanitize(found.Unlisted, maxNamed), pinned
		return n
	}
	if before == nil && (g == nil || g.Public || g.Issuer == n.Issuer) {
		return nil
	}
	return n
}

// StopAtChangedIssuer notes that the server does not name the spec's issuer any more. It is looked at again now and
// then.
func (s *State) StopAtChangedIssuer(now time.Time, step Step) {
	s.RecordFailure(step, v1alpha1.ReasonIssuerChanged, s.WithRedirectURI(fmt.Sprintf(
		"The server now names the authorization server %s instead of %s, which the spec pins. Nothing stored is sent "+
			"there: set spec.client.issuer, with credentials of a client that is registered there, or "+
			"spec.authorizationServer.issuer.",
		s.named().Issuer, s.PinnedIssuer())),
		now, func(attempts int32) time.Time {
			return now.Add(RetryDelay(s.Conn.UID, step, attempts, mcpoauth.Misconfigured))
		})
}

package lifecycle

import (
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// TokenEndpoint says where a grant or code is spent, and as whom. A pre-registered client's secret or key is that of
// the referenced Secret now, if it still names the same client at the same issuer and may be sent there.
func TokenEndpoint(s *State, b *credential.Binding, sendBy time.Time) mcpoauth.TokenEndpoint {
	endpoint := mcpoauth.TokenEndpoint{
		URL: b.TokenEndpoint, Client: b.Client, Issuer: b.Issuer, Resource: b.Resource,
		Parameters: plainStrings(Compatibility(s.Spec()).TokenParameters), DPoP: b.DPoPKey(), SendBy: sendBy,
	}
	if signs(&b.Client) {
		endpoint.Key = s.SigningKey
	}
	if s.mayAuthenticate(b) {
		endpoint.Client = s.Client.authenticate(b.Client, mcpoauth.AuthMethod(ClientSpec(s.Spec()).AuthMethod))
		endpoint.Key = s.Client.Key
	}
	return endpoint
}

// StoreAnswer puts an answer of the token endpoint into a grant and chooses when to refresh it.
func StoreAnswer(s *State, g *credential.Grant, answer *mcpoauth.TokenResponse) {
	g.AccessToken, g.TokenType = answer.AccessToken, answer.TokenType
	if answer.RefreshToken != "" && g.GrantType == "" { // the other grants ask anew (RFC 6749, section 4.4.3)
		g.RefreshToken = answer.RefreshToken
	}
	if answer.Scopes != nil {
		g.GrantedScopes = answer.Scopes
	}
	g.IssuedAt, g.ExpiresAt, g.RefreshAt = answer.ReceivedAt, answer.ExpiresAt, time.Time{}
	StoreEnd(g, answer)
	if renewable(g) {
		g.RefreshAt = plannedRefresh(s, g)
	}
	g.Generation++
	g.Claim, g.UnknownOutcomes, g.SetAside = nil, 0, nil
	g.Rejections, g.Rejected, g.RejectedSince, g.Refusals = 0, "", time.Time{}, 0
}

// plannedRefresh is when a token that was just stored is to be refreshed.
func plannedRefresh(s *State, g *credential.Grant) time.Time {
	expiry := g.ExpiresAt
	if expiry.IsZero() {
		expiry = mcpoauth.JWTExpiry(g.AccessToken) // for the schedule only
		if !expiry.After(g.IssuedAt) {
			expiry = time.Time{}
		}
	}
	planned := refreshTime(s.Conn.UID, g.IssuedAt, expiry, refreshBefore(s.Spec()))
	if g.EndsAt.After(g.IssuedAt) { // one that has passed was not true: the server refreshes all the same
		if at := refreshTime(s.Conn.UID, g.IssuedAt, g.EndsAt, refreshBefore(s.Spec())); at.Before(planned) {
			planned = at
		}
	}
	if alive := keepAlive(s.Spec()); alive > 0 && planned.After(g.IssuedAt.Add(alive)) {
		planned = g.IssuedAt.Add(alive).Truncate(time.Second)
	}
	return planned
}

// StoreEnd keeps when the refresh token expires by itself. A new refresh token without such a time has none that is
// known; an answer that says nothing and leaves the old one leaves its end too.
func StoreEnd(g *credential.Grant, answer *mcpoauth.TokenResponse) {
	end := answer.RefreshExpiresAt
	switch {
	case g.RefreshToken == "":
	case !end.IsZero() && !g.EndsAt.IsZero() && end.Sub(g.EndsAt) < endMoves:
		g.EndsAt, g.EndStays = end, true
	case !end.IsZero():
		g.EndsAt, g.EndNamedAt, g.EndStays = end, answer.ReceivedAt, false
	case answer.RefreshExpiryNamed || answer.RefreshToken != "":
		g.EndsAt, g.EndNamedAt, g.EndStays = time.Time{}, time.Time{}, false
	default:
		g.EndStays = !g.EndsAt.IsZero()
	}
}

func refreshBefore(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Refresh == nil || spec.Refresh.Before == nil {
		return 0
	}
	return spec.Refresh.Before.Duration
}

func keepAlive(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Refresh == nil || spec.Refresh.KeepAlive == nil {
		return 0
	}
	return spec.Refresh.KeepAlive.Duration
}

// NewGrant is the grant that an answer to a code amounts to.
func (s *State) NewGrant(b credential.Binding, answer *mcpoauth.TokenResponse) credential.Grant {
	g := credential.Grant{Binding: b, GrantedScopes: slices.Clone(b.Scopes)}
	StoreAnswer(s, &g, answer)
	return g
}

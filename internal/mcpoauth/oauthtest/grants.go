package oauthtest

import (
	"slices"
	"strings"
	"time"
)

// Grant is what one consent or one unattended request gave: a family of tokens.
type Grant struct {
	// Type is the grant_type that began it.
	Type string
	// ClientID is empty for an assertion of somebody who named no client.
	ClientID string
	// Subject of the assertion, for the JWT bearer grant.
	Subject  string
	Scopes   []string
	Resource string
	// AccessToken issued last.
	AccessToken string
	// RefreshToken that is valid now; empty if none is issued.
	RefreshToken string
	// Refreshes that succeeded.
	Refreshes int
	// Revoked by the client, RevokeGrants or a reuse.
	Revoked bool
	// Reused is true if a code or a rotated refresh token was used twice, which revokes the grant.
	Reused bool
	// Thumbprint of the key that its tokens are bound to (RFC 9449); empty: none.
	Thumbprint string
}

type grant struct {
	Grant
	// old refresh tokens.
	old []string
}

type accessToken struct {
	grant  *grant
	scopes []string
	// thumbprint of the key it is bound to; empty: none.
	thumbprint string
	// expiresAt is zero if it does not expire.
	expiresAt time.Time
}

// Grants in the order given.
func (s *Server) Grants() []Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Grant, 0, len(s.grants))
	for _, g := range s.grants {
		snapshot := g.Grant
		snapshot.Scopes = slices.Clone(g.Scopes)
		all = append(all, snapshot)
	}
	return all
}

// RevokeGrants revokes every grant, as an administrator would.
func (s *Server) RevokeGrants() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		g.Revoked = true
	}
}

// ValidAccessToken is true if the MCP endpoint would accept the token now.
func (s *Server) ValidAccessToken(token string) bool {
	return s.validAccessToken(token) != nil
}

// validAccessToken returns nil for every other.
func (s *Server) validAccessToken(token string) *accessToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.access[token]
	if t == nil || t.grant.Revoked || (!t.expiresAt.IsZero() && !s.config.Now().Before(t.expiresAt)) {
		return nil
	}
	return t
}

// findRefreshToken returns the grant of a refresh token, and whether it is the valid one. The lock is held.
func (s *Server) findRefreshToken(token string) (g *grant, current bool) {
	if token == "" {
		return nil, false
	}
	for _, g := range s.grants {
		if g.RefreshToken == token {
			return g, true
		}
		if slices.Contains(g.old, token) {
			return g, false
		}
	}
	return nil, false
}

// issue makes tokens and the answer that carries them (RFC 6749, section 5.1). The lock is held.
func (s *Server) issue(g *grant, scopes []string) map[string]any {
	g.AccessToken = "access-" + random()
	t := &accessToken{grant: g, scopes: scopes, thumbprint: g.Thumbprint}
	answer := map[string]any{
		"access_token": g.AccessToken,
		"token_type":   "Bearer",
		"scope":        strings.Join(scopes, " "),
	}
	if g.Thumbprint != "" {
		answer["token_type"] = "DPoP"
	}
	if life := s.config.AccessTokenLifetime; life > 0 {
		t.expiresAt = s.config.Now().Add(life)
		answer["expires_in"] = int(life / time.Second)
	}
	s.access[g.AccessToken] = t
	switch {
	case s.config.NoRefreshTokens, g.Type != authorizationCode:
	case g.RefreshToken == "":
		g.RefreshToken = "refresh-" + random()
		answer["refresh_token"] = g.RefreshToken
	case !s.config.KeepRefreshTokens:
		g.old = append(g.old, g.RefreshToken)
		g.RefreshToken = "refresh-" + random()
		answer["refresh_token"] = g.RefreshToken
	}
	return answer
}

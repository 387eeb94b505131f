package oauthtest

import (
	"path"
	"slices"
	"strconv"
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

// Number of the MCP endpoint that it is for, as in Server.MCPURLOf; -1 if it has none.
func (g Grant) Number() int {
	i, err := strconv.Atoi(path.Base(g.Resource))
	if err != nil {
		return -1
	}
	return i
}

// Tokens of one answer of the token endpoint.
type Tokens struct {
	AccessToken, RefreshToken string
	// Lifetime of the access token. Not positive: no expires_in is sent and it does not expire.
	Lifetime time.Duration
}

// issue is the default of Config.Issue.
func (c *Config) issue(Grant) Tokens {
	return Tokens{c.NewSecret("access"), c.NewSecret("refresh"), c.AccessTokenLifetime}
}

type grant struct{ Grant }

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

// AccessToken is what the server knows of one that is valid.
type AccessToken struct {
	Scopes []string
	// ExpiresAt is zero if it does not expire.
	ExpiresAt time.Time
}

// FindAccessToken is for an MCP server elsewhere; false if the token is not valid now.
func (s *Server) FindAccessToken(token string) (AccessToken, bool) {
	t := s.validAccessToken(token)
	if t == nil {
		return AccessToken{}, false
	}
	return AccessToken{slices.Clone(t.scopes), t.expiresAt}, true
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
	g = s.byRefresh[token]
	return g, g != nil && g.RefreshToken == token
}

// issue makes tokens and the answer that carries them (RFC 6749, section 5.1). The lock is held.
func (s *Server) issue(g *grant, scopes []string) map[string]any {
	tokens := s.config.Issue(g.Grant)
	g.AccessToken = tokens.AccessToken
	t := &accessToken{grant: g, scopes: scopes, thumbprint: g.Thumbprint}
	answer := map[string]any{"access_token": g.AccessToken, "token_type": "Bearer"}
	if len(scopes) > 0 {
		answer["scope"] = strings.Join(scopes, " ")
	}
	if g.Thumbprint != "" {
		answer["token_type"] = "DPoP"
	}
	if life := tokens.Lifetime; life > 0 {
		t.expiresAt = s.config.Now().Add(life)
		answer["expires_in"] = int(life / time.Second)
	}
	s.access[g.AccessToken] = t
	refreshes := g.Type == authorizationCode && !s.config.NoRefreshTokens
	if refreshes && (g.RefreshToken == "" || !s.config.KeepRefreshTokens) {
		g.RefreshToken = tokens.RefreshToken
		s.byRefresh[g.RefreshToken] = g
		answer["refresh_token"] = g.RefreshToken
	}
	return answer
}

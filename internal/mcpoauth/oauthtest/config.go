// Package oauthtest is a strict fake authorization server and MCP server in one, in the manner of net/http/httptest: it
// refuses what a careful server may refuse, counts what it is asked, and fails on demand.
//
//	s := oauthtest.New(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = time.Minute })
//	s.HandleTimes(oauthtest.TokenPath, 1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
//	back, err := s.Approve(authorizationURL) // what a browser would be redirected to
//	...
//	if s.Count(oauthtest.TokenPath) != 2 { ... }
package oauthtest

import (
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the server. The authorization server metadata are at Server.MetadataPath.
const (
	MCPPath              = "/mcp"
	ResourceMetadataPath = "/.well-known/oauth-protected-resource/mcp"
	AuthorizePath        = "/authorize"
	TokenPath            = "/token"
	RegisterPath         = "/register"
	RevokePath           = "/revoke"
)

// Config of a Server; the zero value is a modern server that follows the specification.
type Config struct {
	// Listener to serve on; default a free port of 127.0.0.1.
	Listener net.Listener
	// TLS serves https with a certificate that Server.CertPool signs; otherwise http.
	TLS bool
	// Now is the clock; default the real one.
	Now func() time.Time

	// Resource identifier; default Server.MCPURL.
	Resource string
	// AuthorizationServers named by the protected resource metadata; default Server.Issuer.
	AuthorizationServers []string
	// IssuerPath makes the issuer the server's URL and this path, such as /tenant.
	IssuerPath string
	// Public serves the MCP endpoint to everybody and no protected resource metadata.
	Public bool
	// TokensOf is another authorization server of the same MCP server, which accepts its tokens too.
	TokensOf *Server
	// NoResourceMetadata is a server of MCP 2025-03-26: 401 without a hint, no protected resource metadata.
	NoResourceMetadata bool
	// IgnoreResource accepts requests without a resource parameter (RFC 8707), and with any.
	IgnoreResource bool
	// EachPath makes every path below the MCP endpoint an MCP server of its own, with tokens of its own: see MCPURLOf.
	EachPath bool
	// Stateless is an MCP server of the specification of 2026-07-28, which knows no sessions.
	Stateless bool
	// Accepts, if not nil, decides in the server's place which access tokens the MCP endpoint takes.
	Accepts func(accessToken string) bool

	// Scopes of the resource (scopes_supported); default mcp:read and mcp:write.
	Scopes []string
	// ServerScopes of the authorization server (scopes_supported); default Scopes and offline_access.
	ServerScopes []string
	// ChallengeScopes are in the WWW-Authenticate header of a 401; default none.
	ChallengeScopes []string
	// RequiredScopes are what a token needs at the MCP endpoint; without them it is answered 403 insufficient_scope.
	RequiredScopes []string

	// GrantedScopes, if not nil, are all that a consent gives of what it was asked for.
	GrantedScopes []string

	// AccessTokenLifetime, default 1 h. Negative: no expires_in is sent and access tokens do not expire.
	AccessTokenLifetime time.Duration
	// NewSecret makes codes, tokens, and secrets of clients; kind is a word for it. Default: the kind and 32 random
	// characters.
	NewSecret func(kind string) string
	// Issue makes the tokens of one answer to a grant, which holds those before them. Default: NewSecret,
	// AccessTokenLifetime. It must not call the server.
	Issue func(Grant) Tokens
	// Refresh, if not nil, answers refresh requests in the server's place, once their client has authenticated.
	Refresh func(w http.ResponseWriter, r *http.Request, client Client, form url.Values)
	// Reused, if not nil, is told of a code or refresh token that is sent a second time. It must not call the server.
	Reused func(Grant)
	// NoRefreshTokens issues access tokens only.
	NoRefreshTokens bool
	// KeepRefreshTokens does not rotate refresh tokens.
	KeepRefreshTokens bool

	// ConsentPage, if not nil, asks a person about an authorization request that is in order; its form posts
	// decision=approve, or another decision, to the page's own URL. Default: approval at once.
	ConsentPage func(w http.ResponseWriter, client Client, request url.Values)

	// GrantTypes of the token endpoint; default authorization_code, refresh_token, client_credentials, the JWT bearer
	// grant with AssertionKeys, and token exchange with SubjectOf.
	GrantTypes []string
	// AssertionKeys verify assertions of the JWT bearer grant (RFC 7523): those of a cluster's or workload's issuer, or
	// the PublicKey of an identity provider. An assertion has one audience; an ID-JAG also the client and the resource of
	// the request.
	AssertionKeys []jose.JSONWebKey
	// AssertionAudience is what those assertions are for; default the issuer.
	AssertionAudience string
	// CheckAssertion may refuse a verified assertion.
	CheckAssertion func(assertion string) error
	// SingleUseAssertions refuses an assertion without jti, and one that was sent before.
	SingleUseAssertions bool
	// SubjectOf makes the server an identity provider that exchanges subject tokens for ID-JAGs (RFC 8693): it returns the
	// subject of a token, or refuses it. The server's own refresh tokens are subject tokens as well.
	SubjectOf func(token, tokenType string) (subject string, err error)
	// IDJAGClientID is the client_id in ID-JAGs, where a client has another name at the MCP server's authorization server.
	IDJAGClientID string

	// AuthMethods of the token endpoint; default none, client_secret_basic, client_secret_post and private_key_jwt.
	AuthMethods []string
	// NoRegistration has no registration endpoint.
	NoRegistration bool
	// ClientSecretLifetime of registered clients; 0: secrets do not expire.
	ClientSecretLifetime time.Duration
	// NoIssParameter neither advertises nor sends iss (RFC 9207).
	NoIssParameter bool
	// NoRevocation has no revocation endpoint.
	NoRevocation bool
	// ClientIDDocuments, if not nil, advertises client ID metadata documents and accepts these, by client_id. One with
	// Keys authenticates by private_key_jwt.
	ClientIDDocuments map[string]Client
	// AnyClientIDDocument advertises client ID metadata documents and accepts every https URL as client_id, with every
	// redirect URI and without authentication.
	AnyClientIDDocument bool

	// InitialAccessToken that the registration endpoint wants as a bearer token; empty: it is open.
	InitialAccessToken string
	// RegistrationManagement gives clients a registration_client_uri (RFC 7592).
	RegistrationManagement bool
	// DPoP issues tokens that are bound to a key, and accepts no others (RFC 9449).
	DPoP bool
	// DPoPNonce that every proof must hold; empty: none may.
	DPoPNonce string
}

func (c *Config) setDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Scopes == nil {
		c.Scopes = []string{"mcp:read", "mcp:write"}
	}
	if c.ServerScopes == nil {
		c.ServerScopes = append(append([]string{}, c.Scopes...), "offline_access")
	}
	if c.AccessTokenLifetime == 0 {
		c.AccessTokenLifetime = time.Hour
	}
	if c.NewSecret == nil {
		c.NewSecret = func(kind string) string { return kind + "-" + Random(24) }
	}
	if c.Issue == nil {
		c.Issue = c.issue
	}
	if c.AuthMethods == nil {
		c.AuthMethods = []string{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"}
	}
	if c.GrantTypes == nil {
		c.GrantTypes = []string{authorizationCode, refreshToken, clientCredentials}
		if len(c.AssertionKeys) > 0 {
			c.GrantTypes = append(c.GrantTypes, jwtBearer)
		}
		if c.SubjectOf != nil {
			c.GrantTypes = append(c.GrantTypes, tokenExchange)
		}
	}
}

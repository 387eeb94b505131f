package mcpoauth

import (
	"context"
	"net/url"
	"strings"
)

// Grant types of token requests (grant_type; RFC 6749, RFC 7523, RFC 8693).
const (
	GrantTypeAuthorizationCode = "authorization_code"
	GrantTypeRefreshToken      = "refresh_token"
	GrantTypeClientCredentials = "client_credentials"
	GrantTypeJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     //nolint:gosec // a name, no credential
	GrantTypeTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" //nolint:gosec // a name, no credential
)

// Token types of a token exchange (RFC 8693, section 3; TokenTypeIDJAG:
// draft-ietf-oauth-identity-assertion-authz-grant).
const (
	TokenTypeIDJAG        = "urn:ietf:params:oauth:token-type:id-jag"        //nolint:gosec // a name, no credential
	TokenTypeIDToken      = "urn:ietf:params:oauth:token-type:id_token"      //nolint:gosec // a name, no credential
	TokenTypeJWT          = "urn:ietf:params:oauth:token-type:jwt"           //nolint:gosec // a name, no credential
	TokenTypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token" //nolint:gosec // a name, no credential
)

// ClientCredentials asks for a token on the client's own behalf (RFC 6749, section 4.4.2). A refresh token is not
// expected (section 4.4.3): ask again before the token expires. Errors are those of Exchange, and CredentialsMissing
// (Misconfigured, NotSent) for private_key_jwt without a key.
func (c *Client) ClientCredentials(ctx context.Context, r ClientCredentialsRequest) (*TokenResponse, error) {
	form := url.Values{"grant_type": {GrantTypeClientCredentials}}
	setIf(form, "scope", strings.Join(r.Scopes, " "))
	return c.requestToken(ctx, r.TokenEndpoint, form)
}

// JWTBearer asks for a token with a JWT that somebody else signed: a workload's identity, or an identity assertion of
// an identity provider (RFC 7523, section 2.1). Without a ClientID the client is not named, for the assertion may say
// it all (section 3.1). Errors are those of ClientCredentials; an assertion that was refused is TokenRequestRejected
// with invalid_grant, and must not be sent again.
func (c *Client) JWTBearer(ctx context.Context, r JWTBearerRequest) (*TokenResponse, error) {
	form := url.Values{"grant_type": {GrantTypeJWTBearer}, "assertion": {r.Assertion}}
	setIf(form, "scope", strings.Join(r.Scopes, " "))
	return c.requestToken(ctx, r.TokenEndpoint, form, r.Assertion)
}

// TokenExchange swaps one token for another (RFC 8693, section 2.1). For enterprise-managed authorization the endpoint
// is the identity provider's, RequestedTokenType is TokenTypeIDJAG, Audience the issuer of the MCP server's
// authorization server and Resource the MCP server.
//
// Errors are those of ClientCredentials, and UnsupportedTokenType (Misconfigured) if a token of another type was issued
// than was asked for: it is not returned, for it would be sent where it was never meant to go.
func (c *Client) TokenExchange(ctx context.Context, r TokenExchangeRequest) (*ExchangedToken, error) {
	form := url.Values{
		"grant_type":         {GrantTypeTokenExchange},
		"subject_token":      {r.SubjectToken},
		"subject_token_type": {r.SubjectTokenType},
	}
	setIf(form, "requested_token_type", r.RequestedTokenType)
	setIf(form, "audience", r.Audience)
	setIf(form, "scope", strings.Join(r.Scopes, " "))
	t, err := c.requestToken(ctx, r.TokenEndpoint, form, r.SubjectToken)
	if err != nil {
		return nil, err
	}
	// issued_token_type is required (section 2.2.1), but servers forget it.
	if t.IssuedTokenType != "" && r.RequestedTokenType != "" && t.IssuedTokenType != r.RequestedTokenType {
		return nil, misconfigured(UnsupportedTokenType, "POST %s issued a token of type %s instead of %s; the identity "+
			"provider has to allow that type for this client",
			showRaw(r.URL), retell(shortType(t.IssuedTokenType), 64, []string{r.SubjectToken, t.AccessToken}),
			shortType(r.RequestedTokenType))
	}
	return &ExchangedToken{
		Token: t.AccessToken, IssuedTokenType: t.IssuedTokenType, TokenType: t.TokenType, ExpiresAt: t.ExpiresAt,
		ReceivedAt: t.ReceivedAt,
	}, nil
}

func shortType(tokenType string) string {
	return strings.TrimPrefix(tokenType, "urn:ietf:params:oauth:token-type:")
}

package mcpoauth

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Exchange spends an authorization code (RFC 6749, section 4.1.3; RFC 7636, section 4.5; RFC 8707, section 2.2).
//
// Errors: TokenRequestRejected (Rejected) is a definite OAuth error, with OAuthError; TokenRequestFailing (Transient)
// is everything that may heal, with Outcome and RetryAfter, Moved and ForeignJSON; InsecureURL, EgressDenied and
// InvalidMetadata (Misconfigured) are never sent.
func (c *Client) Exchange(ctx context.Context, r CodeRequest) (*TokenResponse, error) {
	form := url.Values{
		"grant_type":    {GrantTypeAuthorizationCode},
		"code":          {r.Code},
		"code_verifier": {r.CodeVerifier},
		"redirect_uri":  {r.RedirectURI},
	}
	return c.requestToken(ctx, r.TokenEndpoint, form, r.Code, r.CodeVerifier)
}

// Refresh spends a refresh token (RFC 6749, section 6). Errors are those of Exchange. An answer without a refresh token
// means that the old one stays. A 2xx answer whose access token is of no use is an error that comes with a response, if
// the answer has a refresh token: it has taken the place of the old one.
func (c *Client) Refresh(ctx context.Context, r RefreshRequest) (*TokenResponse, error) {
	form := url.Values{
		"grant_type":    {GrantTypeRefreshToken},
		"refresh_token": {r.RefreshToken},
	}
	setIf(form, "scope", strings.Join(r.Scopes, " "))
	return c.requestToken(ctx, r.TokenEndpoint, form, r.RefreshToken)
}

// Revoke gives a token back (RFC 7009, section 2). Any 2xx is success, an unknown token included. Errors are those of
// Exchange; a server that cannot revoke tokens of this type answers TokenRequestRejected with unsupported_token_type.
// TokenEndpoint.URL is the revocation endpoint, Resource is not sent.
func (c *Client) Revoke(ctx context.Context, r RevocationRequest) error {
	form := url.Values{"token": {r.Token}}
	setIf(form, "token_type_hint", r.TokenTypeHint)
	// It is about the token, not with it: no proof is asked for (RFC 9449, section 5).
	r.Resource, r.DPoP = "", nil
	a, u, e := c.postForm(ctx, r.TokenEndpoint, form)
	if e != nil {
		return e
	}
	if a.status >= 200 && a.status <= 299 {
		return nil
	}
	return tokenError(a, u, "", append(r.secrets(form), r.Token)...)
}

func (c *Client) requestToken(ctx context.Context, ep TokenEndpoint, form url.Values,
	secrets ...string) (*TokenResponse, error) {
	a, u, e := c.postForm(ctx, ep, form)
	if e != nil {
		return nil, e
	}
	secrets = append(ep.secrets(form), secrets...)
	if a.status < 200 || a.status > 299 {
		return nil, tokenError(a, u, form.Get("grant_type"), secrets...)
	}
	t, e := parseTokenResponse(a, u, form.Get("grant_type"), secrets...)
	if e != nil {
		return t, e
	}
	return t, nil
}

// postForm authenticates by exactly one method (RFC 6749, section 2.3): a second one makes strict servers refuse.
func (c *Client) postForm(ctx context.Context, ep TokenEndpoint, form url.Values) (*answer, *url.URL, *Error) {
	u, e := c.parseURL(ep.URL, "the token endpoint", InvalidMetadata)
	if e == nil {
		e = addParameters(form, ep.Parameters, "spec.compatibility.tokenParameters")
	}
	if e != nil {
		e.Outcome = NotSent
		return nil, nil, e
	}
	setIf(form, "resource", ep.Resource)
	a, e := c.postProved(ctx, u, ep, func() ([]byte, http.Header, *Error) {
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		e := ep.authenticate(form, header, c.o.Now())
		return []byte(form.Encode()), header, e
	})
	return a, u, e
}

// authenticate never sends an empty secret or client_id: strict servers take it for a wrong one.
func (ep TokenEndpoint) authenticate(form url.Values, header http.Header, now time.Time) *Error {
	client := ep.Client
	switch {
	case client.AuthMethod == AuthMethodPrivateKeyJWT:
		return ep.assert(form, now)
	case client.AuthMethod == AuthMethodNone || client.ClientSecret == "":
		setIf(form, "client_id", client.ClientID)
	case client.AuthMethod == AuthMethodClientSecretPost:
		form.Set("client_id", client.ClientID)
		form.Set("client_secret", client.ClientSecret)
	default:
		header.Set("Authorization", "Basic "+client.basic())
	}
	return nil
}

// basic is the client's HTTP Basic credentials. RFC 6749 section 2.3.1 wants both form-encoded before they are joined.
func (client ClientRegistration) basic() string {
	return base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client.ClientID) + ":" +
		url.QueryEscape(client.ClientSecret)))
}

// secrets are all forms in which a request shows who the client is. The longest come first: a short secret may be a
// part of another form.
func (ep TokenEndpoint) secrets(form url.Values) []string {
	all := []string{form.Get("client_assertion")}
	if secret := ep.Client.ClientSecret; secret != "" {
		all = append(all, ep.Client.basic(), url.QueryEscape(secret), secret)
	}
	return all
}

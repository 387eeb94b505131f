package main

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"html"
	"net/http"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// newZitadel runs zitadel/oidc's provider. Its only metadata is OpenID discovery, it knows no resource parameter, and
// clients authenticate with client_secret_basic.
func newZitadel(s settings) (*authorizationServer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	store := &zitadelStore{
		settings: s, key: signingKey{key}, requests: map[string]*authRequest{}, codes: map[string]string{},
		access: map[string]*accessToken{}, refresh: map[string]*grant{},
	}
	config := &op.Config{
		CryptoKey: [32]byte([]byte(random()[:32])), CodeMethodS256: true, GrantTypeRefreshToken: true,
		SupportedScopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess, s.scope},
	}
	provider, err := op.NewProvider(config, store, op.StaticIssuer(s.issuer), op.WithAllowInsecure())
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", showLogin)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		id := r.PostFormValue("id")
		if err := store.signIn(id); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(op.ContextWithIssuer(r.Context(), s.issuer), id),
			http.StatusSeeOther)
	})
	mux.Handle("/", provider)
	return &authorizationServer{
		Handler: mux, token: provider.TokenEndpoint().Relative(), introspection: provider.IntrospectionEndpoint().Relative(),
	}, nil
}

func showLogin(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w,
		`<form method="post" action="/login"><p>Sign in and allow access?</p><input type="hidden" name="id" value="%s"><button>Allow</button></form>`,
		html.EscapeString(r.FormValue("id")))
}

// zitadelClient is the client that was registered by hand.
type zitadelClient struct{ settings }

func (c zitadelClient) GetID() string                        { return c.clientID }
func (c zitadelClient) RedirectURIs() []string               { return []string{c.redirect} }
func (c zitadelClient) PostLogoutRedirectURIs() []string     { return nil }
func (c zitadelClient) ApplicationType() op.ApplicationType  { return op.ApplicationTypeWeb }
func (c zitadelClient) AuthMethod() oidc.AuthMethod          { return oidc.AuthMethodBasic }
func (c zitadelClient) LoginURL(id string) string            { return "/login?id=" + id }
func (c zitadelClient) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c zitadelClient) IDTokenLifetime() time.Duration       { return c.tokenLife }
func (c zitadelClient) DevMode() bool                        { return false }
func (c zitadelClient) IsScopeAllowed(scope string) bool     { return scope == c.scope }
func (c zitadelClient) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c zitadelClient) ClockSkew() time.Duration             { return 0 }

func (c zitadelClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c zitadelClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}

//nolint:revive // the name is op.Client's
func (c zitadelClient) RestrictAdditionalIdTokenScopes() func([]string) []string { return unchanged }

func (c zitadelClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return unchanged
}

func unchanged(scopes []string) []string { return scopes }

// signingKey signs ID tokens.
type signingKey struct{ key *rsa.PrivateKey }

func (k signingKey) ID() string                                  { return "key" }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.key }

// publicKey is what others check them with.
type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.key.Public() }

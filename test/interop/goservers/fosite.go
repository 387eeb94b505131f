package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
)

// jwtBearer is a grant_type (RFC 7523, section 2.1).
const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// fositeServer puts fosite behind the endpoints that its documentation asks for. Clients authenticate with
// client_secret_post, refresh tokens are rotated, and one that comes back ends its grant.
type fositeServer struct {
	settings
	oauth2 fosite.OAuth2Provider
}

func newFosite(s settings) (*authorizationServer, error) {
	config := &fosite.Config{
		AccessTokenLifespan: s.tokenLife,
		EnforcePKCE:         true,
		GlobalSecret:        []byte(random()[:32]),
		HashCost:            4, // bcrypt's least: secrets here are random
		// What the audience of an assertion is compared with.
		TokenURL: s.issuer,
		// An assertion says who asks (RFC 7523, section 3.1).
		GrantTypeJWTBearerCanSkipClientAuth: true,
	}
	ctx := context.Background()
	clientSecret, err := config.GetSecretsHasher(ctx).Hash(ctx, []byte(s.clientSecret))
	if err != nil {
		return nil, err
	}
	introspectionSecret, err := config.GetSecretsHasher(ctx).Hash(ctx, []byte(s.introspectionSecret))
	if err != nil {
		return nil, err
	}
	store := fositeStore{storage.NewMemoryStore()}
	if s.clientID != "" {
		store.Clients[s.clientID] = &fosite.DefaultOpenIDConnectClient{
			DefaultClient: &fosite.DefaultClient{
				ID: s.clientID, Secret: clientSecret, RedirectURIs: []string{s.redirect}, Audience: []string{s.resource},
				Scopes: []string{s.scope, "offline_access"}, ResponseTypes: []string{"code"},
				GrantTypes: []string{"authorization_code", "refresh_token"},
			},
			TokenEndpointAuthMethod: "client_secret_post",
		}
	}
	if err := store.trust(s.workload, s.scope); err != nil {
		return nil, err
	}
	store.Clients[mcpServer] = &fosite.DefaultClient{ID: mcpServer, Secret: introspectionSecret}
	f := &fositeServer{settings: s, oauth2: compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory,
		compose.RFC7523AssertionGrantFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", f.metadata)
	mux.HandleFunc("GET /authorize", showConsent)
	mux.HandleFunc("POST /authorize", f.authorize)
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /revoke", f.revoke)
	mux.HandleFunc("POST /introspect", f.introspect)
	return &authorizationServer{Handler: mux, token: "/token", introspection: "/introspect"}, nil
}

// showConsent asks the person; the form leads back to the same address with its query.
func showConsent(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(`<form method="post"><p>Allow access?</p><button>Allow</button></form>`))
}

func (f *fositeServer) metadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer":                                f.issuer,
		"authorization_endpoint":                f.issuer + "/authorize",
		"token_endpoint":                        f.issuer + "/token",
		"revocation_endpoint":                   f.issuer + "/revoke",
		"scopes_supported":                      []string{f.scope, "offline_access"},
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token", jwtBearer},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
	})
}

// authorize grants what is asked for, for the MCP server only (RFC 8707).
func (f *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := f.oauth2.NewAuthorizeRequest(ctx, r)
	if err == nil && request.GetRequestForm().Get("resource") != f.resource {
		err = fosite.ErrInvalidRequest.WithHint("resource must name the MCP server")
	}
	if err != nil {
		f.oauth2.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	request.GrantAudience(f.resource)
	response, err := f.oauth2.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Subject: "alice"})
	if err != nil {
		f.oauth2.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	f.oauth2.WriteAuthorizeResponse(ctx, w, request, response)
}

func (f *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := f.oauth2.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
	if err == nil && request.GetRequestForm().Get("resource") != f.resource {
		err = fosite.ErrInvalidRequest.WithHint("resource must name the MCP server")
	}
	if err != nil {
		f.oauth2.WriteAccessError(ctx, w, request, err)
		return
	}
	if access, ok := request.(*fosite.AccessRequest); ok && access.GrantTypes.ExactOne(jwtBearer) {
		access.GrantedAudience = fosite.Arguments{f.resource} // not the assertion's, which is this server
	}
	response, err := f.oauth2.NewAccessResponse(ctx, request)
	if err != nil {
		f.oauth2.WriteAccessError(ctx, w, request, err)
		return
	}
	f.oauth2.WriteAccessResponse(ctx, w, request, response)
}

func (f *fositeServer) revoke(w http.ResponseWriter, r *http.Request) {
	f.oauth2.WriteRevocationResponse(r.Context(), w, f.oauth2.NewRevocationRequest(r.Context(), r))
}

func (f *fositeServer) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := f.oauth2.NewIntrospectionRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil && errors.Is(err, fosite.ErrInactiveToken) {
		response, err = &fosite.IntrospectionResponse{}, nil
	}
	if err != nil {
		f.oauth2.WriteIntrospectionError(ctx, w, err)
		return
	}
	f.oauth2.WriteIntrospectionResponse(ctx, w, response)
}

// trust takes assertions of one subject, if they are signed with one of its issuer's keys.
func (s fositeStore) trust(w workload, scope string) error {
	if w.issuer == "" {
		return nil
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.keys), &set); err != nil {
		return err
	}
	keys := map[string]storage.PublicKeyScopes{}
	for _, key := range set.Keys {
		keys[key.KeyID] = storage.PublicKeyScopes{Key: &key, Scopes: []string{scope}}
	}
	s.IssuerPublicKeys[w.issuer] = storage.IssuerPublicKeys{
		Issuer: w.issuer, KeysBySub: map[string]storage.SubjectPublicKeys{w.subject: {Subject: w.subject, Keys: keys}},
	}
	return nil
}

// fositeStore reports the end of a grant. Rotation does not come by here.
type fositeStore struct{ *storage.MemoryStore }

// RevokeRefreshToken implements oauth2.TokenRevocationStorage.
func (s fositeStore) RevokeRefreshToken(ctx context.Context, requestID string) error {
	report(event{"event": "revoked", "grant": requestID})
	return s.MemoryStore.RevokeRefreshToken(ctx, requestID)
}

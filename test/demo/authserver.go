package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

// demoScope is the only scope of the demo server.
const demoScope = "tools:call"

// codeLifetime bounds the time between consent and exchange.
const codeLifetime = time.Minute

// authServer is a small and strict authorization server: dynamic registration, PKCE S256, resource indicators,
// iss in the response, short access tokens, refresh tokens that rotate and whose reuse ends the grant, revocation.
type authServer struct {
	issuer   string
	resource string
	lifetime time.Duration
	http     *http.Server

	mu      sync.Mutex
	clients map[string]*oauthClient
	pending map[string]*authorizationRequest // by the id in the consent page
	codes   map[string]*authorizationCode
	access  map[string]*accessToken
	refresh map[string]*refreshToken
	counts  counts
	secrets map[string]string // everything that must not be seen anywhere, by a printable name
}

// counts say what happened at the authorization server.
type counts struct {
	Registrations, Grants, Refreshes, Reuses, Revocations int
}

type oauthClient struct {
	ID, Secret, Name, Method string
	RedirectURIs             []string
}

type authorizationRequest struct {
	client                               *oauthClient
	redirectURI, state, challenge, scope string
}

// newAuthServer starts an authorization server for one resource.
func newAuthServer(resource string, lifetime time.Duration) (*authServer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &authServer{
		issuer: "http://" + listener.Addr().String(), resource: resource, lifetime: lifetime,
		clients: map[string]*oauthClient{}, pending: map[string]*authorizationRequest{},
		codes: map[string]*authorizationCode{}, access: map[string]*accessToken{},
		refresh: map[string]*refreshToken{}, secrets: map[string]string{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("POST /register", s.register)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /authorize", s.decide)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }()
	return s, nil
}

func (s *authServer) stop() { _ = s.http.Close() }

// metadata answers RFC 8414.
func (s *authServer) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         s.issuer,
		"authorization_endpoint":                         s.issuer + "/authorize",
		"token_endpoint":                                 s.issuer + "/token",
		"registration_endpoint":                          s.issuer + "/register",
		"revocation_endpoint":                            s.issuer + "/revoke",
		"response_types_supported":                       []string{"code"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{methodNone, methodBasic, methodPost},
		"revocation_endpoint_auth_methods_supported":     []string{methodNone, methodBasic, methodPost},
		"scopes_supported":                               []string{demoScope},
		"authorization_response_iss_parameter_supported": true,
	})
}

// register answers RFC 7591.
func (s *authServer) register(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RedirectURIs []string `json:"redirect_uris"`
		Name         string   `json:"client_name"`
		Method       string   `json:"token_endpoint_auth_method"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_client_metadata", "the request is not JSON")
		return
	}
	if len(in.RedirectURIs) == 0 || slices.ContainsFunc(in.RedirectURIs, func(u string) bool { return !isRedirectURI(u) }) {
		writeError(w, http.StatusBadRequest, "invalid_redirect_uri", "redirect_uris must be https, or http on the loopback interface")
		return
	}
	if in.Method == "" {
		in.Method = methodBasic
	}
	if !slices.Contains([]string{methodNone, methodBasic, methodPost}, in.Method) {
		writeError(w, http.StatusBadRequest, "invalid_client_metadata", "token_endpoint_auth_method is not supported")
		return
	}
	client := &oauthClient{ID: randomString(), Name: in.Name, Method: in.Method, RedirectURIs: in.RedirectURIs}
	out := map[string]any{
		"client_id": client.ID, "client_id_issued_at": time.Now().Unix(), "client_name": in.Name,
		"redirect_uris": in.RedirectURIs, "token_endpoint_auth_method": in.Method,
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
	s.mu.Lock()
	s.counts.Registrations++
	if in.Method != methodNone {
		client.Secret = randomString()
		s.remember("client secret", client.Secret)
		out["client_secret"], out["client_secret_expires_at"] = client.Secret, 0
	}
	s.clients[client.ID] = client
	s.mu.Unlock()
	writeJSON(w, http.StatusCreated, out)
}

// isRedirectURI accepts https everywhere and http on the loopback interface.
func isRedirectURI(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
	return u.Scheme == "https" || (u.Scheme == "http" && loopback)
}

// verify checks a bearer token for the MCP server.
func (s *authServer) verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.access[token]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: unknown token", auth.ErrInvalidToken)
	case t.grant.revoked:
		return nil, fmt.Errorf("%w: revoked token", auth.ErrInvalidToken)
	case !time.Now().Before(t.expires):
		return nil, fmt.Errorf("%w: expired token", auth.ErrInvalidToken)
	}
	return &auth.TokenInfo{Scopes: []string{t.grant.scope}, Expiration: t.expires, UserID: "demo-user"}, nil
}

// snapshot says what has happened so far.
func (s *authServer) snapshot() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// issuedSecrets is everything secret that this server has issued or received.
func (s *authServer) issuedSecrets() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string, len(s.secrets))
	for name, value := range s.secrets {
		all[name] = value
	}
	return all
}

// remember notes a secret value under a name that may be printed. The caller holds the lock.
func (s *authServer) remember(kind, value string) {
	s.secrets[fmt.Sprintf("%s %d", kind, len(s.secrets)+1)] = value
}

func randomString() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(raw)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

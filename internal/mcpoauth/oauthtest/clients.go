package oauthtest

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Client of the server.
type Client struct {
	ID     string
	Secret string
	// Name that the client registered for people to read.
	Name string
	// Keys that verify the client's assertions (private_key_jwt).
	Keys []jose.JSONWebKey
	// AuthMethod is the one method accepted at the token endpoint.
	AuthMethod   string
	RedirectURIs []string
	Scope        string
	// SecretExpiresAt is zero if the secret does not expire.
	SecretExpiresAt time.Time
	// RegistrationAccessToken for the client's registration_client_uri; empty: it cannot be managed.
	RegistrationAccessToken string
	// anyRedirect accepts every redirect URI.
	anyRedirect bool
}

// AddClient registers a client by hand, or replaces one. AuthMethod is client_secret_basic with a secret,
// private_key_jwt with Keys, none with neither.
func (s *Server) AddClient(c Client) {
	if c.AuthMethod == "" {
		c.AuthMethod = "client_secret_basic"
		if c.Secret == "" {
			c.AuthMethod = withoutSecret(c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.clients[c.ID]; !known {
		s.order = append(s.order, c.ID)
	}
	s.clients[c.ID] = c
}

func withoutSecret(c Client) string {
	if len(c.Keys) > 0 {
		return "private_key_jwt"
	}
	return "none"
}

// Clients registered now, in order.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Client, 0, len(s.order))
	for _, id := range s.order {
		all = append(all, s.clients[id])
	}
	return all
}

// ForgetClients forgets every client, as servers with a short memory do. Their grants stay.
func (s *Server) ForgetClients() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients, s.order = map[string]Client{}, nil
}

// findClient knows registered clients and client ID metadata documents.
func (s *Server) findClient(id string) (Client, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients[id]; ok {
		return c, true
	}
	if c, ok := s.config.ClientIDDocuments[id]; ok {
		c.ID, c.Secret, c.AuthMethod = id, "", withoutSecret(c)
		return c, true
	}
	u, err := url.Parse(id)
	if s.config.AnyClientIDDocument && err == nil && u.Scheme == "https" && u.Path != "" {
		return Client{ID: id, AuthMethod: "none", anyRedirect: true}, true
	}
	return Client{}, false
}

// registration is a request by RFC 7591.
type registration struct {
	RedirectURIs  []string `json:"redirect_uris"`
	GrantTypes    []string `json:"grant_types"`
	ResponseTypes []string `json:"response_types"`
	AuthMethod    string   `json:"token_endpoint_auth_method"`
	Scope         string   `json:"scope"`
	Name          string   `json:"client_name"`
}

func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	if token := s.settings().InitialAccessToken; token != "" && r.Header.Get("Authorization") != "Bearer "+token {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		writeError(w, http.StatusUnauthorized, "invalid_token", "not the initial access token")
		return
	}
	in, members, ok := s.readRegistration(w, r)
	if !ok {
		return
	}
	writeJSON(w, http.StatusCreated, s.store("client-"+Random(24), in, members))
}

// readRegistration reads the body of a registration or its update, or answers.
func (s *Server) readRegistration(w http.ResponseWriter,
	r *http.Request) (in registration, members map[string]json.RawMessage, ok bool) {
	body := json.NewDecoder(r.Body)
	var raw json.RawMessage
	if r.Header.Get("Content-Type") != "application/json" || body.Decode(&raw) != nil ||
		json.Unmarshal(raw, &in) != nil || json.Unmarshal(raw, &members) != nil {
		writeError(w, http.StatusBadRequest, "invalid_client_metadata", "not a JSON object")
		return in, nil, false
	}
	if in.AuthMethod == "" {
		in.AuthMethod = "client_secret_basic"
	}
	if code, description := in.check(s.settings()); code != "" {
		writeError(w, http.StatusBadRequest, code, description)
		return in, nil, false
	}
	return in, members, true
}

// store makes or replaces a client. The answer repeats what was registered (RFC 7591, section 3.2.1).
func (s *Server) store(id string, in registration, members map[string]json.RawMessage) map[string]any {
	c := s.settings()
	client := Client{ID: id, AuthMethod: in.AuthMethod, RedirectURIs: in.RedirectURIs, Scope: in.Scope, Name: in.Name}
	answer := map[string]any{}
	for name, value := range members {
		answer[name] = value
	}
	answer["client_id"] = client.ID
	answer["token_endpoint_auth_method"] = client.AuthMethod
	if client.AuthMethod != "none" {
		client.Secret = c.NewSecret("secret")
		answer["client_secret"] = client.Secret
		answer["client_secret_expires_at"] = 0
		if c.ClientSecretLifetime > 0 {
			client.SecretExpiresAt = c.Now().Add(c.ClientSecretLifetime)
			answer["client_secret_expires_at"] = client.SecretExpiresAt.Unix()
		}
	}
	if c.RegistrationManagement {
		client.RegistrationAccessToken = c.NewSecret("registration")
		answer["registration_access_token"] = client.RegistrationAccessToken
		answer["registration_client_uri"] = s.URL + RegisterPath + "/" + client.ID
	}
	s.AddClient(client)
	return answer
}

// check returns an error code of RFC 7591, section 3.2.2.
func (in registration) check(c Config) (code, description string) {
	if len(in.RedirectURIs) == 0 {
		return "invalid_redirect_uri", "redirect_uris is missing"
	}
	for _, raw := range in.RedirectURIs {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.Fragment != "" || (u.Scheme != "https" && !isLoopback(u.Hostname())) {
			return "invalid_redirect_uri", "redirect URIs are https, or loopback"
		}
	}
	switch {
	case in.AuthMethod == "private_key_jwt", !slices.Contains(c.AuthMethods, in.AuthMethod):
		return "invalid_client_metadata", "token_endpoint_auth_method is not supported"
	case !slices.Contains(in.GrantTypes, "authorization_code"):
		return "invalid_client_metadata", "grant_types lacks authorization_code"
	case !slices.Contains(in.ResponseTypes, "code"):
		return "invalid_client_metadata", "response_types lacks code"
	case !subset(strings.Fields(in.Scope), c.ServerScopes):
		return "invalid_client_metadata", "scope is not supported"
	}
	return "", ""
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// authenticate identifies the client of a token or revocation request, by the method it was registered with and no
// other (RFC 6749, section 2.3), or answers.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request, form url.Values) (Client, bool) {
	p, no := s.present(r, form)
	if no == nil {
		if client, ok := s.accept(p); ok {
			return client, true
		}
		no = &refusal{"invalid_client", "unknown client, or not its authentication method or secret"}
	}
	status := http.StatusUnauthorized
	if no.code != "invalid_client" {
		status = http.StatusBadRequest
	} else if p.method == "client_secret_basic" {
		w.Header().Set("WWW-Authenticate", `Basic realm="oauthtest"`)
	}
	writeError(w, status, no.code, no.description)
	return Client{}, false
}

// presented is what a client says of itself.
type presented struct{ id, secret, method string }

// present reads the one way in which a request names its client, and checks a client assertion.
func (s *Server) present(r *http.Request, form url.Values) (presented, *refusal) {
	p := presented{form.Get("client_id"), form.Get("client_secret"), "none"}
	user, pass, _ := r.BasicAuth()
	several := &refusal{"invalid_request", "more than one client authentication"}
	basic, post, assertion := r.Header.Get("Authorization") != "", form.Has("client_secret"), form.Has("client_assertion")
	switch {
	case basic && (post || assertion || (p.id != "" && p.id != decoded(user))), post && assertion:
		return p, several
	case basic:
		return presented{decoded(user), decoded(pass), "client_secret_basic"}, nil
	case post:
		p.method = "client_secret_post"
	case assertion:
		id, err := s.checkClientAssertion(form)
		if err != nil {
			return p, &refusal{"invalid_client", "client_assertion: " + err.Error()}
		}
		p.id, p.method = id, "private_key_jwt"
	}
	return p, nil
}

// accept compares with what was registered.
func (s *Server) accept(p presented) (Client, bool) {
	c, ok := s.findClient(p.id)
	expired := !c.SecretExpiresAt.IsZero() && s.settings().Now().After(c.SecretExpiresAt)
	if !ok || p.method != c.AuthMethod || expired {
		return Client{}, false
	}
	if strings.HasPrefix(p.method, "client_secret") && p.secret == "" {
		return Client{}, false
	}
	if p.method != "private_key_jwt" && subtle.ConstantTimeCompare([]byte(p.secret), []byte(c.Secret)) != 1 {
		return Client{}, false
	}
	return c, true
}

// decoded undoes the form encoding inside Basic; empty if there is none to undo.
func decoded(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return ""
	}
	return plain
}

// Random is n random bytes as text.
func Random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

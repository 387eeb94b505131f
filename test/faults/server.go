package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// lifetimes of access tokens, by connection.
var lifetimes = []time.Duration{12 * time.Second, 24 * time.Second, 40 * time.Second}

// authServer plays the MCP servers and authorization servers of all connections: one host for each grace. It is strict:
// clients must be registered and authenticate, codes want their verifier, and a refresh token that was replaced ends its
// family once the grace is over.
type authServer struct {
	ledger *ledger
	hosts  []*host
	// weather says whether token requests meet faults.
	weather atomic.Bool
	// harsh says whether answers may be lost that only a grace of time makes up for.
	harsh atomic.Bool

	mu      sync.Mutex
	rng     *mathrand.Rand
	clients map[string]string
	codes   map[string]*code
	// stalled is set while an answer drips past the time-out.
	stalled bool
}

type host struct {
	address, url string
	grace        grace
	server       *http.Server
}

type code struct {
	connection        int
	challenge, client string
	used              bool
}

func newAuthServer(l *ledger, seed uint64) (*authServer, error) {
	s := &authServer{ledger: l, rng: mathrand.New(mathrand.NewPCG(seed, 1)), clients: map[string]string{}, codes: map[string]*code{}}
	for _, g := range graces {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		s.hosts = append(s.hosts, &host{address: address, url: "http://" + address, grace: g})
	}
	return s, s.up()
}

// up starts all hosts.
func (s *authServer) up() error {
	for _, h := range s.hosts {
		listener, err := net.Listen("tcp", h.address)
		if err != nil {
			return err
		}
		h.server = &http.Server{Handler: s.handler(h), ReadHeaderTimeout: 10 * time.Second}
		go func(server *http.Server) { _ = server.Serve(listener) }(h.server)
	}
	return nil
}

// down stops all hosts: connections to them are refused. What is under way may end.
func (s *authServer) down() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, h := range s.hosts {
		if h.server.Shutdown(ctx) != nil {
			_ = h.server.Close()
		}
	}
}

// mcpURL is the MCP server of a connection.
func (s *authServer) mcpURL(i int) string {
	return s.hosts[i%len(s.hosts)].url + "/mcp/" + strconv.Itoa(i)
}

func lifetimeOf(i int) time.Duration { return lifetimes[i/len(graces)%len(lifetimes)] }

func (s *authServer) handler(h *host) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp/{i}", func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if i, _ := s.ledger.issued(token); i != nil && s.ledger.valid(i) {
			harness.AnswerMCP(w, r, "faults")
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+h.url+"/.well-known/oauth-protected-resource/mcp/"+r.PathValue("i")+`"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp/{i}", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"resource": h.url + "/mcp/" + r.PathValue("i"), "authorization_servers": []string{h.url}})
	})
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"issuer": h.url, "authorization_endpoint": h.url + "/authorize", "token_endpoint": h.url + "/token",
			"registration_endpoint":    h.url + "/register",
			"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
			"token_endpoint_auth_methods_supported":          []string{"client_secret_basic"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	mux.HandleFunc("POST /register", s.register)
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) { s.authorize(w, r, h) })
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) { s.token(w, r, h) })
	return mux
}

func (s *authServer) register(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
		writeError(w, "invalid_client_metadata")
		return
	}
	id, secret := randomText(16), randomText(32)
	s.mu.Lock()
	s.clients[id] = secret
	s.mu.Unlock()
	in["client_id"], in["client_secret"], in["client_secret_expires_at"] = id, secret, 0
	writeJSON(w, http.StatusCreated, in)
}

// authorize consents at once.
func (s *authServer) authorize(w http.ResponseWriter, r *http.Request, h *host) {
	q := r.URL.Query()
	var i int
	if _, err := fmt.Sscanf(q.Get("resource"), h.url+"/mcp/%d", &i); err != nil || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "invalid_request", http.StatusBadRequest)
		return
	}
	value := randomText(16)
	s.mu.Lock()
	s.codes[value] = &code{connection: i, challenge: q.Get("code_challenge"), client: q.Get("client_id")}
	s.mu.Unlock()
	back := q.Get("redirect_uri") + "?code=" + value + "&state=" + q.Get("state") + "&iss=" + h.url
	http.Redirect(w, r, back, http.StatusFound)
}

// exchange spends a code. A second use is a bound broken.
func (s *authServer) exchange(r *http.Request, client string, g grace) *issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.codes[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case c == nil || c.client != client || c.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		return nil
	case c.used:
		s.ledger.table.broken(&s.ledger.table.doubleSpends, "connection %d: a code was sent twice", c.connection)
		return nil
	}
	c.used = true
	return s.ledger.consent(c.connection, client, g, lifetimeOf(c.connection))
}

// randomText is n random bytes as text.
func randomText(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(raw)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func writeError(w http.ResponseWriter, code string) {
	writeJSON(w, http.StatusBadRequest, map[string]string{"error": code})
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// secretPrefix begins every token, so that a copy in somebody's memory can be found.
const secretPrefix = "bench-secret-"

// authServer plays all MCP servers and their authorization server: RFC 9728, 8414, 7591, PKCE, rotation, RFC 7009.
// It answers at once, counts who asks for what, and notes when a token is asked for. Several ports stand for several hosts.
type authServer struct {
	urls    []string
	servers []*http.Server
	// expiry says when the next token of a connection expires.
	expiry atomic.Pointer[func(i int, now time.Time) time.Time]
	counts sync.Map // of *atomic.Int64 by name of the request
	issued atomic.Int64

	mu    sync.Mutex
	codes map[string]pendingCode
	// grants by number of the connection.
	grants []grantState
	// refused are token requests that were answered with an error.
	refused int
}

type pendingCode struct {
	connection int
	challenge  string
}

// grantState is what the server knows of one connection.
type grantState struct {
	access, refresh string
	// asked is when the last token request arrived.
	asked time.Time
}

func newAuthServer(n, servers int) (*authServer, error) {
	s := &authServer{codes: map[string]pendingCode{}, grants: make([]grantState, n)}
	s.expireAfter(time.Hour)
	for range servers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.stop()
			return nil, err
		}
		url := "http://" + listener.Addr().String()
		server := &http.Server{Handler: s.handler(url), ReadHeaderTimeout: 10 * time.Second}
		s.urls, s.servers = append(s.urls, url), append(s.servers, server)
		go func() { _ = server.Serve(listener) }()
	}
	return s, nil
}

func (s *authServer) stop() {
	for _, server := range s.servers {
		_ = server.Close()
	}
}

// mcpURL is the MCP server of a connection.
func (s *authServer) mcpURL(i int) string { return s.urls[i%len(s.urls)] + "/mcp/" + strconv.Itoa(i) }

// setExpiry chooses the expiry of all tokens from now on.
func (s *authServer) setExpiry(f func(i int, now time.Time) time.Time) { s.expiry.Store(&f) }

func (s *authServer) expireAfter(d time.Duration) {
	s.setExpiry(func(_ int, now time.Time) time.Time { return now.Add(d) })
}

func (s *authServer) handler(url string) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, name string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.count(name)
			h(w, r)
		})
	}
	handle("/mcp/{i}", "MCP server", func(w http.ResponseWriter, r *http.Request) { s.serveMCP(w, r, url) })
	handle("GET /.well-known/oauth-protected-resource/mcp/{i}", "protected resource metadata", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"resource": url + "/mcp/" + r.PathValue("i"), "authorization_servers": []string{url}, "scopes_supported": []string{"tools:call"},
		})
	})
	handle("GET /.well-known/oauth-authorization-server", "authorization server metadata", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"issuer": url, "authorization_endpoint": url + "/authorize", "token_endpoint": url + "/token",
			"registration_endpoint": url + "/register", "revocation_endpoint": url + "/revoke",
			"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
			"token_endpoint_auth_methods_supported":          []string{"client_secret_basic"},
			"authorization_response_iss_parameter_supported": true,
		})
	})
	handle("POST /register", "registration", register)
	handle("GET /authorize", "authorize (the browser)", func(w http.ResponseWriter, r *http.Request) { s.authorize(w, r, url) })
	handle("POST /token", "token", s.token)
	handle("POST /revoke", "revocation", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	handle("/", "anything else", http.NotFound)
	return mux
}

func (s *authServer) count(name string) {
	counter, ok := s.counts.Load(name)
	if !ok {
		counter, _ = s.counts.LoadOrStore(name, &atomic.Int64{})
	}
	counter.(*atomic.Int64).Add(1)
}

// requests are the requests so far, by name.
func (s *authServer) requests() map[string]int64 {
	out := map[string]int64{}
	s.counts.Range(func(name, counter any) bool {
		out[name.(string)] = counter.(*atomic.Int64).Load()
		return true
	})
	return out
}

func register(w http.ResponseWriter, r *http.Request) {
	var in map[string]any
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
		writeError(w, "invalid_client_metadata")
		return
	}
	in["client_id"], in["client_secret"], in["client_secret_expires_at"] = randomText(16), secretPrefix+randomText(32), 0
	writeJSON(w, http.StatusCreated, in)
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

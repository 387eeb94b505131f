package oauthtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Server is the fake. Its methods may be called while it serves.
type Server struct {
	// URL of the server, without a slash at the end.
	URL string

	http *httptest.Server
	// key signs ID-JAGs.
	key *ecdsa.PrivateKey

	mu sync.Mutex
	// given is the configuration without defaults, some of which follow from others.
	given     Config
	config    Config
	requests  []Request
	overrides map[string]*override
	clients   map[string]Client
	order     []string
	codes     map[string]*code
	grants    []*grant
	access    map[string]*accessToken
	// byRefresh are grants by their refresh tokens, also those that were replaced.
	byRefresh map[string]*grant
	jtis      map[string]bool
	// proofs seen, by jti.
	proofs map[string]bool
	denial *denial
	last   []string
}

// Request received, in whatever way it was answered.
type Request struct {
	Method string
	Path   string
	Header http.Header
	Query  url.Values
	// Form of a form-encoded body.
	Form url.Values
	Body string
}

type override struct {
	handler http.HandlerFunc
	// left is how many requests it still answers; negative: all.
	left int
}

// New starts a server that is closed with the test.
func New(t testing.TB, configure ...func(*Config)) *Server {
	t.Helper()
	var c Config
	for _, change := range configure {
		change(&c)
	}
	s := Start(c)
	t.Cleanup(s.Close)
	return s
}

// At makes a server that its caller serves at a URL: by Answer, or by ServeHTTP, which also records requests and lets
// Handle override answers. Neither Close nor Approve is for it.
func At(url string, c Config) *Server {
	s := newServer(c)
	s.URL = url
	return s
}

func newServer(c Config) *Server {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	s := &Server{
		key:       key,
		given:     c,
		config:    c,
		overrides: map[string]*override{},
		clients:   map[string]Client{},
		codes:     map[string]*code{},
		access:    map[string]*accessToken{},
		byRefresh: map[string]*grant{},
		jtis:      map[string]bool{},
		proofs:    map[string]bool{},
	}
	s.config.setDefaults()
	return s
}

// Start starts a server outside tests. It panics if it cannot listen, as httptest does.
func Start(c Config) *Server {
	s := newServer(c)
	s.http = httptest.NewUnstartedServer(s)
	if c.Listener != nil {
		_ = s.http.Listener.Close()
		s.http.Listener = c.Listener
	}
	// Certificate errors of clients are what some tests are about.
	s.http.Config.ErrorLog = quiet()
	// The URL is known before the first request, which may come from another process.
	if s.URL = "http://" + s.http.Listener.Addr().String(); c.TLS {
		s.URL = "https://" + s.http.Listener.Addr().String()
		s.http.EnableHTTP2 = true
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	return s
}

// Close stops the server and waits for what it is answering; connections are closed first.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// MCPURL is the URL of the MCP endpoint.
func (s *Server) MCPURL() string { return s.URL + MCPPath }

// MCPURLOf is the URL of one of many MCP endpoints; see Config.EachPath.
func (s *Server) MCPURLOf(i int) string { return s.MCPURL() + "/" + strconv.Itoa(i) }

// Issuer identifier of the authorization server.
func (s *Server) Issuer() string { return s.URL + s.settings().IssuerPath }

// MetadataPath of the authorization server metadata (RFC 8414).
func (s *Server) MetadataPath() string {
	return "/.well-known/oauth-authorization-server" + s.settings().IssuerPath
}

// Resource identifier of the MCP server.
func (s *Server) Resource() string {
	if r := s.settings().Resource; r != "" {
		return r
	}
	return s.MCPURL()
}

// CertPool trusts the server; nil without TLS.
func (s *Server) CertPool() *x509.CertPool {
	if s.http.Certificate() == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.http.Certificate())
	return pool
}

// HTTPClient trusts the server and follows no redirects.
func (s *Server) HTTPClient() *http.Client {
	client := *s.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// Configure changes the configuration; Listener and TLS stay as they are.
func (s *Server) Configure(change func(*Config)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.given)
	s.config = s.given
	s.config.setDefaults()
}

func (s *Server) settings() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// Handle answers every request to a path with h, until Handle(path, nil).
func (s *Server) Handle(path string, h http.HandlerFunc) { s.HandleTimes(path, -1, h) }

// HandleTimes answers the next requests to a path with h.
func (s *Server) HandleTimes(path string, times int, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h == nil {
		delete(s.overrides, path)
		return
	}
	s.overrides[path] = &override{handler: h, left: times}
}

// Lose acts on the next requests to a path as usual, but drops the connection instead of answering.
func (s *Server) Lose(path string, times int) {
	s.HandleTimes(path, times, func(_ http.ResponseWriter, r *http.Request) {
		s.Answer(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// Edit acts on the next requests to a path as usual, and changes the members of the JSON that it answers.
func (s *Server) Edit(path string, times int, edit func(members map[string]any)) {
	s.HandleTimes(path, times, func(w http.ResponseWriter, r *http.Request) {
		usual := httptest.NewRecorder()
		s.Answer(usual, r)
		var members map[string]any
		if json.Unmarshal(usual.Body.Bytes(), &members) == nil {
			edit(members)
		}
		writeJSON(w, usual.Code, members)
	})
}

// Requests in the order received.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count of requests to a path.
func (s *Server) Count(path string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// Last request to a path; the zero Request if there was none.
func (s *Server) Last(path string) Request {
	for _, r := range slices.Backward(s.Requests()) {
		if r.Path == path {
			return r
		}
	}
	return Request{}
}

// Approve plays the browser: it opens an authorization URL and returns where the server redirects it to, with code,
// state and iss, or with error.
func (s *Server) Approve(authorizationURL string) (*url.URL, error) {
	resp, err := s.HTTPClient().Get(authorizationURL)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		text, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("the authorization endpoint answered %d: %s", resp.StatusCode, text)
	}
	return resp.Location()
}

// ServeHTTP records the request and answers it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	record := Request{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Query: r.URL.Query(),
		Body: string(body)}
	if strings.HasPrefix(r.Header.Get("Content-Type"), formType) {
		record.Form, _ = url.ParseQuery(string(body))
	}
	if h := s.record(record); h != nil {
		h(w, r)
		return
	}
	s.Answer(w, r)
}

// record returns the override for the path, if there is one.
func (s *Server) record(r Request) http.HandlerFunc {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	o := s.overrides[r.Path]
	if o == nil || o.left == 0 {
		return nil
	}
	if o.left > 0 {
		o.left--
	}
	return o.handler
}

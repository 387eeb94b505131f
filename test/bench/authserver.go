package main

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// secretPrefix begins every token, so that a copy in somebody's memory can be found.
const secretPrefix = "bench-secret-"

// authServer plays all MCP servers and their authorization server. It answers at once, counts who asks for what, and
// notes when a token is asked for. Several ports stand for several hosts.
type authServer struct {
	hosts []*oauthtest.Server
	http  []*http.Server
	// expiry says when the next token of a connection expires.
	expiry atomic.Pointer[func(i int, now time.Time) time.Time]
	// counts of requests, in the order of requestNames.
	counts []atomic.Int64
	issued atomic.Int64
	// reused are codes and refresh tokens that were sent twice.
	reused atomic.Int64

	mu sync.Mutex
	// grants by number of the connection.
	grants []grantState
}

// grantState is what the server knows of one connection.
type grantState struct {
	access string
	// asked is when the last token request arrived.
	asked time.Time
}

func newAuthServer(n, servers int) (*authServer, error) {
	s := &authServer{grants: make([]grantState, n), counts: make([]atomic.Int64, len(requestNames))}
	s.expireAfter(time.Hour)
	for range servers {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.stop()
			return nil, err
		}
		scopes := []string{"tools:call"}
		host := oauthtest.At("http://"+listener.Addr().String(), oauthtest.Config{
			EachPath: true, Stateless: true, Scopes: scopes, ServerScopes: scopes, AuthMethods: []string{"client_secret_basic"},
			NewSecret: func(string) string { return secretPrefix + oauthtest.Random(48) },
			Issue:     s.issue,
			Reused:    func(oauthtest.Grant) { s.reused.Add(1) },
		})
		server := &http.Server{Handler: s.counted(host.Answer), ReadHeaderTimeout: 10 * time.Second}
		s.hosts, s.http = append(s.hosts, host), append(s.http, server)
		go func() { _ = server.Serve(listener) }()
	}
	return s, nil
}

func (s *authServer) stop() {
	for _, server := range s.http {
		_ = server.Close()
	}
}

// mcpURL is the MCP server of a connection.
func (s *authServer) mcpURL(i int) string { return s.hosts[i%len(s.hosts)].MCPURLOf(i) }

// setExpiry chooses the expiry of all tokens from now on.
func (s *authServer) setExpiry(f func(i int, now time.Time) time.Time) { s.expiry.Store(&f) }

func (s *authServer) expireAfter(d time.Duration) {
	s.setExpiry(func(_ int, now time.Time) time.Time { return now.Add(d) })
}

// issue makes the next tokens of a connection.
func (s *authServer) issue(g oauthtest.Grant) oauthtest.Tokens {
	arrived := time.Now()
	tokens := oauthtest.Tokens{
		AccessToken:  secretPrefix + oauthtest.Random(384), // 512 characters, as a small JWT has
		RefreshToken: secretPrefix + oauthtest.Random(48),
	}
	i := g.Number()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants[i] = grantState{access: tokens.AccessToken, asked: arrived}
	s.issued.Add(1)
	tokens.Lifetime = time.Duration((*s.expiry.Load())(i, arrived).Unix()-arrived.Unix()) * time.Second
	return tokens
}

// requestNames of the report, by the beginning of their path.
var requestNames = []struct{ path, name string }{
	{oauthtest.MCPPath + "/", "MCP server"},
	{oauthtest.ResourceMetadataPath + "/", "protected resource metadata"},
	{"/.well-known/oauth-authorization-server", "authorization server metadata"},
	{oauthtest.RegisterPath, "registration"},
	{oauthtest.AuthorizePath, "authorize (the browser)"},
	{oauthtest.TokenPath, "token"},
	{oauthtest.RevokePath, "revocation"},
	{"", "anything else"},
}

func (s *authServer) counted(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := range requestNames {
			if strings.HasPrefix(r.URL.Path, requestNames[i].path) {
				s.counts[i].Add(1)
				break
			}
		}
		answer(w, r)
	}
}

// requests are the requests so far, by name.
func (s *authServer) requests() map[string]int64 {
	out := map[string]int64{}
	for i := range requestNames {
		if n := s.counts[i].Load(); n > 0 {
			out[requestNames[i].name] = n
		}
	}
	return out
}

// snapshot is a copy of what is known of every connection.
func (s *authServer) snapshot() []grantState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.grants)
}

// tokenRequests is how many tokens were issued so far.
func (s *authServer) tokenRequests() int { return int(s.issued.Load()) }

package main

import (
	"context"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
)

// lifetimes of access tokens, by connection.
var lifetimes = []time.Duration{12 * time.Second, 24 * time.Second, 40 * time.Second}

// authServer plays the MCP servers and authorization servers of all connections: one host for each grace. It is strict:
// clients must be registered and authenticate, codes want their verifier, and a refresh token that was replaced ends
// its family once the grace is over.
type authServer struct {
	ledger *ledger
	hosts  []*host
	// weather reports whether token requests meet faults.
	weather atomic.Bool
	// harsh reports whether answers may be lost that only a grace of time makes up for.
	harsh atomic.Bool

	mu  sync.Mutex
	rng *mathrand.Rand
	// stalled is set while an answer drips past the time-out.
	stalled bool
}

type host struct {
	*oauthtest.Server
	address string
	http    *http.Server
}

func newAuthServer(l *ledger, seed uint64) (*authServer, error) {
	s := &authServer{ledger: l, rng: mathrand.New(mathrand.NewPCG(seed, 1))}
	addresses, err := harness.FreeAddresses(len(graces))
	if err != nil {
		return nil, err
	}
	for i, g := range graces {
		s.hosts = append(s.hosts, &host{address: addresses[i], Server: oauthtest.At("http://"+addresses[i], s.config(g))})
	}
	return s, s.up()
}

// config of a host: the ledger keeps its grants.
func (s *authServer) config(g grace) oauthtest.Config {
	return oauthtest.Config{
		EachPath: true, Stateless: true, Scopes: []string{}, ServerScopes: []string{},
		AuthMethods: []string{"client_secret_basic"}, NoRevocation: true,
		Accepts: func(token string) bool {
			i, _ := s.ledger.issued(token)
			return i != nil && s.ledger.valid(i)
		},
		Issue: func(grant oauthtest.Grant) oauthtest.Tokens {
			lifetime := lifetimeOf(grant.Number())
			i := s.ledger.consent(grant.Number(), grant.ClientID, g, lifetime)
			return oauthtest.Tokens{AccessToken: i.access, RefreshToken: i.refresh, Lifetime: lifetime}
		},
		Refresh: s.refresh,
		Reused: func(grant oauthtest.Grant) {
			s.ledger.table.broken(&s.ledger.table.doubleSpends, "connection %d: a code was sent twice", grant.Number())
		},
	}
}

// up starts all hosts.
func (s *authServer) up() error {
	for _, h := range s.hosts {
		listener, err := net.Listen("tcp", h.address)
		if err != nil {
			return err
		}
		h.http = &http.Server{Handler: http.HandlerFunc(h.Answer), ReadHeaderTimeout: 10 * time.Second}
		go func(server *http.Server) { _ = server.Serve(listener) }(h.http)
	}
	return nil
}

// down stops all hosts: connections to them are refused. What is under way may end.
func (s *authServer) down() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, h := range s.hosts {
		if h.http.Shutdown(ctx) != nil {
			_ = h.http.Close()
		}
	}
}

// mcpURL is the MCP server of a connection.
func (s *authServer) mcpURL(i int) string { return s.hosts[i%len(s.hosts)].MCPURLOf(i) }

func lifetimeOf(i int) time.Duration { return lifetimes[i/len(graces)%len(lifetimes)] }

package main

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	// demoScope is the only scope of the demo server, and demoUser the only person.
	demoScope = "tools:call"
	demoUser  = "demo-user"
)

// authServer is a strict authorization server that asks a person, and remembers every secret.
type authServer struct {
	*oauthtest.Server

	mu      sync.Mutex
	secrets map[string]string // everything that must not be seen anywhere, by a printable name
}

// counts say what happened at the authorization server.
type counts struct {
	Registrations, Grants, Refreshes, Reuses, Revocations int
}

// newAuthServer starts an authorization server for one resource.
func newAuthServer(resource string, lifetime time.Duration) *authServer {
	s := &authServer{secrets: map[string]string{}}
	s.Server = oauthtest.Start(oauthtest.Config{
		Resource: resource, AccessTokenLifetime: lifetime, Scopes: []string{demoScope}, ServerScopes: []string{demoScope},
		AuthMethods: []string{"none", "client_secret_basic", "client_secret_post"},
		ConsentPage: askForConsent, NewSecret: s.newSecret,
	})
	return s
}

func (s *authServer) newSecret(kind string) string {
	value := oauthtest.Random(24)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[fmt.Sprintf("%s %d", kind, len(s.secrets)+1)] = value
	return value
}

// snapshot says what has happened so far.
func (s *authServer) snapshot() counts {
	c := counts{Registrations: len(s.Clients())}
	for _, g := range s.Grants() {
		c.Grants++
		c.Refreshes += g.Refreshes
		switch {
		case g.Reused:
			c.Reuses++
		case g.Revoked:
			c.Revocations++
		}
	}
	return c
}

// issuedSecrets is everything secret that this server has issued or received.
func (s *authServer) issuedSecrets() map[string]string {
	s.mu.Lock()
	all := maps.Clone(s.secrets)
	s.mu.Unlock()
	for i, r := range s.Requests() {
		if verifier := r.Form.Get("code_verifier"); verifier != "" {
			all[fmt.Sprintf("code verifier %d", i)] = verifier
		}
	}
	return all
}

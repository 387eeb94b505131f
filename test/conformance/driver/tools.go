package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// callTools lists the server's tools and calls the first. A challenge is what came with a 401 or 403.
func (c *consumer) callTools(ctx context.Context, authorization string) (challenge string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	transport := &bearer{authorization: authorization}
	err = c.session(ctx, transport)
	return transport.lastChallenge(), err
}

func (c *consumer) session(ctx context.Context, transport http.RoundTripper) (err error) {
	workload := mcp.NewClient(&mcp.Implementation{Name: "conformance-workload", Version: "1.0.0"}, nil)
	session, err := workload.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:             c.serverURL,
		HTTPClient:           &http.Client{Transport: transport},
		DisableStandaloneSSE: true,
		MaxRetries:           -1,
	}, &mcp.ClientSessionOptions{ProtocolVersion: c.protocolVersion})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	if len(tools.Tools) == 0 {
		return errors.New("the server has no tools")
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tools.Tools[0].Name, Arguments: map[string]any{}})
	if err != nil {
		return err
	}
	if result.IsError {
		return fmt.Errorf("tool %s failed", tools.Tools[0].Name)
	}
	return nil
}

// bearer sends one header with every request and remembers the last challenge.
type bearer struct {
	authorization string

	mu        sync.Mutex
	challenge string
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", b.authorization)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.challenge = response.Header.Get("WWW-Authenticate")
	}
	return response, err
}

func (b *bearer) lastChallenge() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.challenge
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-connection/operator/test/harness"
)

// callTools lists the server's tools and calls the first, with what the token Secret holds. A challenge is what came
// with a 401 or 403.
func (c *consumer) callTools(ctx context.Context, token map[string]string) (challenge string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	authorized, err := harness.Authorized(token)
	if err != nil {
		return "", err
	}
	recorder := &challenges{base: authorized}
	err = c.session(ctx, recorder)
	return recorder.lastSeen(), err
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

// challenges remembers the last one that the transport below did not answer by itself.
type challenges struct {
	base http.RoundTripper

	mu   sync.Mutex
	last string
}

// RoundTrip implements http.RoundTripper.
func (c *challenges) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.base.RoundTrip(request)
	if err == nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last = response.Header.Get("WWW-Authenticate")
	}
	return response, err
}

func (c *challenges) lastSeen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

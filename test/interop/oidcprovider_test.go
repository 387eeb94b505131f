package interop

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/test/harness"
)

// startOIDCProvider runs npm oidc-provider, and an MCP server that asks it about every token.
func startOIDCProvider(environment ...string) func(context.Context, *testing.T, *cluster) *running {
	return func(ctx context.Context, t *testing.T, _ *cluster) *running {
		t.Helper()
		return guarded(t, func(resource string) *server {
			return startNode(ctx, t, append([]string{"RESOURCE=" + resource}, environment...), "oidc-provider.mjs")
		}).running(nil, signIn)
	}
}

// signIn signs in at oidc-provider, then continues on the consent form.
func signIn(page *harness.Page) (*harness.Form, error) {
	form, err := press(page)
	if err == nil && form.Fields.Has("login") {
		form.Fields.Set("login", "alice")
		form.Fields.Set("password", "any")
	}
	return form, err
}

// startOIDCProviderWithDocument is oidc-provider without registration: it fetches the client's metadata document. The
// operator hosts one only at an https external URL, which it does not have here, so the test serves it.
func startOIDCProviderWithDocument(ctx context.Context, t *testing.T, c *cluster) *running {
	t.Helper()
	var provider *server
	document := httptest.NewUnstartedServer(nil)
	document.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "mcp-connection-operator") {
			provider.events.add(event{Event: "error"}) // the operator must not
		}
		provider.events.add(event{Event: "fetched"})
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"client_id": document.URL + r.URL.Path, "client_name": "mcp-connection-operator",
			"redirect_uris": []string{redirectURI(c.operator)}, "application_type": "native",
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
			"token_endpoint_auth_method": "none",
		})
	})
	document.StartTLS()
	t.Cleanup(document.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: document.Certificate().Raw})
	if err := os.WriteFile(authority, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	provider = guarded(t, func(resource string) *server {
		return startNode(ctx, t, []string{"RESOURCE=" + resource, "CLIENTS=documents", "NODE_EXTRA_CA_CERTS=" + authority},
			"oidc-provider.mjs")
	})
	id := document.URL + "/client.json"
	running := provider.running(nil, signIn)
	running.replace = map[string]string{"https://connect.example.com/client.json": id}
	running.ended = func(ctx context.Context) error {
		return provider.refusesRefresh(ctx, registration{ClientID: id, AuthMethod: "none"}, "invalid_grant")
	}
	return running
}

func redirectURI(operator *harness.Operator) string { return operator.ExternalURL + "/oauth/callback" }

// startMCPSDK runs npm @modelcontextprotocol/sdk, which is both servers.
func startMCPSDK(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	return startNode(ctx, t, nil, "mcp-sdk.mjs").running(nil, press)
}

// startMCPServer runs npm @modelcontextprotocol/server, with oidc-provider to guard it.
func startMCPServer(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	address, err := harness.FreeAddress() // both servers have to know it before either starts
	if err != nil {
		t.Fatal(err)
	}
	provider := startNode(ctx, t, []string{"RESOURCE=http://" + address + "/mcp"}, "oidc-provider.mjs")
	startNode(ctx, t, []string{
		"RESOURCE=" + provider.Resource, "ISSUER=" + provider.Issuer, "INTROSPECTION_ENDPOINT=" +
			provider.IntrospectionEndpoint,
	}, "mcp-server.mjs")
	return provider.running(nil, signIn)
}

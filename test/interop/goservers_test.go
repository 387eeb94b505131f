package interop

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/mcp-connection/operator/test/harness"
)

// clientSecret holds what HTTP Basic and forms have to encode.
const clientSecret = "known to this test & its server only: 50%+1/ü"

// startGoServer runs a server of goservers, which has a module of its own. The client is registered there by hand.
func startGoServer(name string) func(context.Context, *testing.T, *cluster) *running {
	return func(ctx context.Context, t *testing.T, c *cluster) *running {
		t.Helper()
		binary := buildGoServers(ctx, t)
		client := &registration{ClientID: name + "-client", AuthMethod: goServerMethods[name], Secret: clientSecret}
		server := guarded(t, func(resource string) *server {
			return startServer(ctx, t, []string{
				"RESOURCE=" + resource, "CLIENT_ID=" + client.ClientID, "CLIENT_SECRET=" + clientSecret, "REDIRECT_URI=" +
					redirectURI(c.operator),
			}, binary, name)
		})
		server.events.add(event{Event: "given", Secrets: map[string]string{"client_secret": clientSecret}})
		running := server.running(client, press)
		running.given = map[string]map[string]string{"client": {"client_id": client.ClientID, "client_secret": clientSecret}}
		return running
	}
}

// startGoServerForWorkload runs fosite with the cluster's keys, as an authorization server that trusts the cluster
// fetches them. Nobody is registered there.
func startGoServerForWorkload(ctx context.Context, t *testing.T, c *cluster) *running {
	t.Helper()
	get := func(path string) string {
		text, err := c.plane.Kubectl(ctx, "get", "--raw", path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal([]byte(get("/.well-known/openid-configuration")), &metadata); err != nil {
		t.Fatal(err)
	}
	binary := buildGoServers(ctx, t)
	running := guarded(t, func(resource string) *server {
		return startServer(ctx, t, []string{
			"RESOURCE=" + resource, "WORKLOAD_ISSUER=" + metadata.Issuer, "WORKLOAD_KEYS=" + get("/openid/v1/jwks"),
			"WORKLOAD_SUBJECT=system:serviceaccount:fosite-service-account:mcp-agent",
		}, binary, "fosite")
	}).unattended(nil)
	running.ended = func(context.Context) error { return nil }
	return running
}

// buildGoServers builds them unless bin holds them as they are.
func buildGoServers(ctx context.Context, t *testing.T) string {
	t.Helper()
	binary := harness.InRepository("bin", "interop-goservers")
	if err := harness.Build(ctx, binary, "test/interop/goservers"); err != nil {
		t.Fatal(err)
	}
	return binary
}

// goServerMethods is the one way in which each lets a client authenticate.
var goServerMethods = map[string]string{"zitadel": "client_secret_basic", "fosite": "client_secret_post"}

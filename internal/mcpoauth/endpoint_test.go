package mcpoauth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestAnEndpointAtADeniedAddressIsRefusedAtDiscovery(t *testing.T) {
	for _, host := range []string{
		"10.0.0.1", "[fd00::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "0.0.0.0", "192.168.1.1:8443", "127.1", "2130706433",
	} {
		for _, name := range []string{"token_endpoint", "registration_endpoint", "revocation_endpoint"} {
			t.Run(name+" at "+host, func(t *testing.T) {
				document := strings.Replace(goodServer, "{", `{"revocation_endpoint":"BASE/revoke",`, 1)
				if !strings.Contains(document, `"registration_endpoint"`) {
					document = strings.Replace(document, "{", `{"registration_endpoint":"BASE/register",`, 1)
				}
				old := fmt.Sprintf(`"%s":"BASE/`, name)
				if !strings.Contains(document, old) {
					t.Fatalf("%s is not in %s", name, document)
				}
				w := newWorld(t, "", nil)
				w.answers[hostileServer] = w.document(strings.Replace(document, old,
					fmt.Sprintf(`"%s":"https://%s/hunter2?hunter2","x":"`, name, host), 1))
				_, err := w.client().Discover(t.Context(), DiscoveryRequest{ServerURL: w.URL + "/mcp"})
				if err == nil || AsError(err).Code != EgressDenied || AsError(err).Kind != Misconfigured ||
					!strings.Contains(err.Error(), "the "+name+" in ") || !strings.Contains(err.Error(), "cannot be called: host ") {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

func TestAnEndpointOfTheSpecAtADeniedAddressIsRefusedAtDiscovery(t *testing.T) {
	s := oauthtest.New(t)
	r := DiscoveryRequest{ServerURL: s.MCPURL(), Endpoints: &AuthorizationServerMetadata{
		Issuer: s.Issuer(), AuthorizationEndpoint: s.URL + oauthtest.AuthorizePath, TokenEndpoint: "http://10.0.0.1/token",
		CodeChallengeMethodsSupported: []string{"S256"},
	}}
	_, err := newTestClient(t, s).Discover(t.Context(), r)
	wantError(t, err, Misconfigured, EgressDenied, "the token_endpoint in spec.authorizationServer",
		"--egress-allow-cidrs")
	// Where a browser goes is not the operator's network.
	r.Endpoints.TokenEndpoint, r.Endpoints.AuthorizationEndpoint = s.URL+oauthtest.TokenPath, "http://10.0.0.1/authorize"
	if _, err := newTestClient(t, s).Discover(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestALoopbackEndpointIsForLoopbackServersOnly(t *testing.T) {
	c := closedWorld(fakeResolver{})
	for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST.", "[::1]"} {
		u, e := c.parseURL("https://"+host+"/token", "x", InvalidMetadata)
		if e != nil {
			t.Fatal(e)
		}
		wantError(t, c.For("https://mcp.example.com").checkAddress(u, "the token_endpoint"), Misconfigured, EgressDenied,
			"loopback")
		if e := c.For("http://localhost/mcp").checkAddress(u, "the token_endpoint"); e != nil && host != "[::1]" {
			t.Error(e)
		}
	}
}

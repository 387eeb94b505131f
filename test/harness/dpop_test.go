package harness

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// boundToken has the operator's client get a token at a strict server.
func boundToken(t *testing.T, s *oauthtest.Server) (accessToken string, jwk []byte) {
	t.Helper()
	const back, verifier = "https://client.example/callback", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	s.AddClient(oauthtest.Client{ID: "c", RedirectURIs: []string{back}})
	link, err := mcpoauth.AuthorizationURL(mcpoauth.AuthorizationRequest{
		Endpoint: s.URL + oauthtest.AuthorizePath, ClientID: "c", RedirectURI: back, Resource: s.Resource(), State: "s",
		CodeVerifier: verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	location, err := s.Approve(link)
	if err != nil {
		t.Fatal(err)
	}
	c := mcpoauth.NewClient(mcpoauth.Options{
		Now: time.Now, AllowInsecureHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}).For(s.MCPURL())
	key := mcpoauth.GenerateDPoPKey()
	tokens, err := c.Exchange(t.Context(), mcpoauth.CodeRequest{
		TokenEndpoint: mcpoauth.TokenEndpoint{
			URL: s.URL + oauthtest.TokenPath, Client: mcpoauth.ClientRegistration{ClientID: "c",
				AuthMethod: mcpoauth.AuthMethodNone},
			Resource: s.Resource(), DPoP: key,
		},
		Code: location.Query().Get("code"), CodeVerifier: verifier, RedirectURI: back,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken, key.JWK()
}

func TestAWorkloadSignsWithTheKeyOfTheTokenSecret(t *testing.T) {
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, "first" })
	token, jwk := boundToken(t, s)
	transport, err := NewDPoP(jwk, token, http.DefaultTransport)
	if err != nil {
		t.Fatal(err)
	}
	call := func() int {
		body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.MCPURL()+"?a=b", body)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	for i, step := range []struct {
		nonce    string
		requests int
	}{{"first", 2}, {"first", 1}, {"second", 2}, {"second", 1}} {
		s.Configure(func(c *oauthtest.Config) { c.DPoPNonce = step.nonce })
		before := s.Count(oauthtest.MCPPath)
		if status := call(); status != http.StatusOK || s.Count(oauthtest.MCPPath)-before != step.requests {
			t.Errorf("call %d: %d after %d requests", i, status, s.Count(oauthtest.MCPPath)-before)
		}
	}
	_, other := boundToken(t, s)
	if transport, err = NewDPoP(other, token, http.DefaultTransport); err != nil {
		t.Fatal(err)
	}
	if status := call(); status != http.StatusUnauthorized {
		t.Errorf("with another key: %d", status)
	}
}

func TestAWorkloadNeedsAPrivateKey(t *testing.T) {
	for _, jwk := range []string{"", "{}", `{"kty":"oct","k":"aGk"}`} {
		if _, err := NewDPoP([]byte(jwk), "t", http.DefaultTransport); err == nil {
			t.Errorf("%q was taken", jwk)
		}
	}
}

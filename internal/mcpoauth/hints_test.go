package mcpoauth

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// nameless is a name service that knows no host, or that is down.
type nameless struct{ down bool }

func (n nameless) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no", Name: host, IsNotFound: !n.down, IsTemporary: n.down}
}

func TestWhatAnUnknownHostIsToldWith(t *testing.T) {
	for name, tt := range map[string]struct {
		resolver Resolver
		want     string
	}{
		"a host that does not exist": {nameless{}, "got no answer: the host name does not resolve; check the URL"},
		"a name service that is down": {nameless{down: true}, "got no answer: looking up the host name failed; check the " +
			"URL, and the cluster's name service"},
	} {
		t.Run(name, func(t *testing.T) {
			c := closedWorld(tt.resolver)
			_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://nowhere.example/mcp"})
			errorEnds(t, err, Transient, ServerUnreachable, tt.want)
			errorEnds(t, refreshAt(t, c, "https://nowhere.example/token"), Transient, TokenRequestFailing, tt.want)
			_, err = c.Register(t.Context(), RegistrationRequest{Endpoint: "https://nowhere.example/register"})
			errorEnds(t, err, Transient, RegistrationFailing, tt.want)
			_, err = c.ProbeServer(t.Context(), ServerProbe{ServerURL: "https://nowhere.example/mcp"})
			errorEnds(t, err, Transient, ServerUnreachable, tt.want)
		})
	}
}

// errorEnds is wantError for what a message ends with: a value to paste stands last.
func errorEnds(t *testing.T, err error, kind Kind, code Code, end string) {
	t.Helper()
	if e := errorLike(t, err, kind, code); !strings.HasSuffix(e.Message, end) {
		t.Errorf("message %q does not end in %q", e.Message, end)
	}
}

func TestAURLThatIsProbablyWrongIsSaidToBe(t *testing.T) {
	page := func(status int) http.HandlerFunc { return body(status, "text/html; charset=utf-8", "<p>hunter2</p>") }
	const bare, legacy = "/", "`spec.compatibility.legacyEndpoints: true`"
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
		// discovery and probe are what the messages end with; BASE is the server.
		discovery, probe string
	}{
		{"a bare host without an endpoint", bare, status(404), `most MCP servers have one: try spec.serverURL: "BASE/mcp"`,
			`most MCP servers have one: try spec.serverURL: "BASE/mcp"`},
		{"no path at all", "", status(404), `most MCP servers have one: try spec.serverURL: "BASE/mcp"`,
			`most MCP servers have one: try spec.serverURL: "BASE/mcp"`},
		{"a bare host with a web page", bare, page(200), `most MCP servers have one: try spec.serverURL: "BASE/mcp"`,
			`it has no path, and most have one: try spec.serverURL: "BASE/mcp"`},
		{"a bare host that refuses with a web page", bare, page(405),
			`most MCP servers have one: try spec.serverURL: "BASE/mcp"`,
			`most MCP servers have one: try spec.serverURL: "BASE/mcp"`},
		{"a path without an endpoint", "/x", status(404), legacy, "/x answered 404 Not Found; check the URL"},
		{"a path with a web page", "/x", page(403), legacy, "/x answered 403 Forbidden, a web page; check the URL"},
		{"a bare host with a query", "/?a=b", status(404), legacy, "/ answered 404 Not Found; check the URL"},
		{"a bare host that refuses", bare, status(403), legacy, "answered 403 Forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t, func(c *oauthtest.Config) { c.Public = true })
			for _, path := range []string{"/", "", "/x"} {
				s.Handle(path, tt.answer)
			}
			_, err := newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.URL + tt.path})
			errorEnds(t, err, Misconfigured, MetadataNotFound, strings.ReplaceAll(tt.discovery, "BASE", s.URL))
			_, err = newTestClient(t, s).ProbeServer(t.Context(),
				ServerProbe{ServerURL: s.URL + tt.path, AccessToken: probeToken})
			errorEnds(t, err, Transient, ServerUnreachable, strings.ReplaceAll(tt.probe, "BASE", s.URL))
		})
	}
}

func TestAWebPageOfAnEndpointIsSaidToBeOne(t *testing.T) {
	s := oauthtest.New(t)
	const hint = ", a web page; check the URL, which is from the server's metadata or spec.authorizationServer, and " +
		"what may answer in its place"
	for code, said := range map[int]bool{200: true, 400: true, 403: true, 404: true, 429: false, 500: false, 503: false} {
		for _, path := range []string{oauthtest.TokenPath, oauthtest.RegisterPath} {
			s.Handle(path, body(code, "text/html", "<p>hunter2</p>"))
		}
		_, err := refreshWith(t, s, RefreshRequest{})
		if got := strings.HasSuffix(errorLike(t, err, Transient, TokenRequestFailing).Message, hint); got != said {
			t.Errorf("%d: %v", code, err)
		}
		_, err = newTestClient(t, s).Register(t.Context(), RegistrationRequest{Endpoint: s.URL + oauthtest.RegisterPath,
			RedirectURI: testRedirectURI})
		if got := strings.Contains(AsError(err).Message, hint); got != (said && code != 200) {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestAValueToPasteStandsLastInQuotes(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle(oauthtest.RegisterPath, status(403))
	_, err := newTestClient(t, s).Register(t.Context(), RegistrationRequest{Endpoint: s.URL + oauthtest.RegisterPath,
		RedirectURI: testRedirectURI})
	errorEnds(t, err, Misconfigured, RegistrationRefused, `have it allow the callback URL "`+testRedirectURI+`"`)

	s = oauthtest.New(t, func(c *oauthtest.Config) { c.Resource = "https://other.example/mcp" })
	_, err = newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
	errorEnds(t, err, Misconfigured, ResourceMismatch, `spec.serverURL: "https://other.example/mcp"`)

	s = oauthtest.New(t)
	md := s.Metadata()
	md["issuer"] = s.Issuer() + "/"
	s.Handle(s.MetadataPath(), func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(md) })
	_, err = newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
	errorEnds(t, err, Misconfigured, IssuerMismatch, `set spec.authorizationServer.issuer: "`+s.Issuer()+`/"`)
}

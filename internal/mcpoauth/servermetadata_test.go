package mcpoauth

import (
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestDiscoveryOfTheServer(t *testing.T) {
	md := func(changes map[string]any) func(*oauthtest.Server) {
		return func(s *oauthtest.Server) { s.Handle(s.MetadataPath(), metadata(s, changes)) }
	}
	list := func(s *oauthtest.Server, issuers ...string) {
		s.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = issuers })
	}
	runDiscover(t, []discoverCase{
		{name: "without a path there are two locations", server: func(s *oauthtest.Server) {
			s.Handle(serverRoot, status(404))
			s.Handle(openIDWellKnown, metadata(s, nil))
		}, check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot, "GET "+openIDWellKnown)},
		{name: "with a path there are three", config: func(c *oauthtest.Config) { c.IssuerPath = "/t/1" },
			server: func(s *oauthtest.Server) {
				s.Handle(serverRoot+"/t/1", status(404))
				s.Handle("/t/1"+openIDWellKnown, metadata(s, nil))
			}, check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot+"/t/1", "GET "+openIDWellKnown+"/t/1",
				"GET /t/1"+openIDWellKnown)},
		{name: "and the root document is never tried", config: func(c *oauthtest.Config) { c.IssuerPath = "/t" },
			server: func(s *oauthtest.Server) {
				s.Handle(serverRoot+"/t", status(404))
				s.Handle(serverRoot, metadata(s, nil))
			}, kind: Misconfigured, code: MetadataNotFound, contains: text("spec.authorizationServer")},
		{name: "an outage there is transient", server: func(s *oauthtest.Server) { s.Handle(serverRoot, status(500)) },
			kind: Transient, code: ServerUnreachable},
		{name: "another issuer is refused with the line to paste",
			server: md(map[string]any{"issuer": "https://other.example"}),
			kind:   Misconfigured, code: IssuerMismatch,
			contains: text(`spec.authorizationServer.issuer: "https://other.example"`)},
		{name: "a slash makes another issuer", server: func(s *oauthtest.Server) {
			s.Handle(serverRoot, metadata(s, map[string]any{"issuer": s.URL + "/"}))
		},
			kind: Misconfigured, code: IssuerMismatch, contains: func(s *oauthtest.Server) []string {
				return []string{`spec.authorizationServer.issuer: "` + s.URL + `/"`}
			}},
		{name: "pinning the issuer of the document trusts it",
			server:  func(s *oauthtest.Server) { s.Handle(serverRoot, metadata(s, map[string]any{"issuer": s.URL + "/"})) },
			request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.URL + "/" },
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.AuthorizationServer.Issuer != s.URL+"/" {
					t.Error(d.AuthorizationServer.Issuer)
				}
			}},
		{name: "pinning the listed identifier trusts that", server: md(map[string]any{"issuer": "https://other.example"}),
			request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.URL },
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.AuthorizationServer.Issuer != s.URL {
					t.Error(d.AuthorizationServer.Issuer)
				}
			}},
		{name: "an issuer that could mislead is not shown",
			server: md(map[string]any{"issuer": "https://other.example\n\u202e?x=hunter2"}), kind: Misconfigured,
			code: IssuerMismatch},
		{name: "S256 has to be listed", server: md(map[string]any{"code_challenge_methods_supported": nil}),
			kind: Misconfigured, code: PKCEUnsupported, contains: text("assumePKCES256")},
		{name: "unless it is assumed", server: md(map[string]any{"code_challenge_methods_supported": nil}),
			request: func(r *DiscoveryRequest, _ *oauthtest.Server) { r.AssumePKCES256 = true }},
		{name: "a list without it cannot be waived",
			server:  md(map[string]any{"code_challenge_methods_supported": []string{"plain"}}),
			request: func(r *DiscoveryRequest, _ *oauthtest.Server) { r.AssumePKCES256 = true },
			kind:    Misconfigured, code: PKCEUnsupported},
		{name: "nor an empty one", server: md(map[string]any{"code_challenge_methods_supported": []string{}}),
			request: func(r *DiscoveryRequest, _ *oauthtest.Server) { r.AssumePKCES256 = true },
			kind:    Misconfigured, code: PKCEUnsupported},
		{name: "the token endpoint is required", server: md(map[string]any{"token_endpoint": nil}), kind: Misconfigured,
			code: InvalidMetadata, contains: text("token_endpoint")},
		{name: "the authorization endpoint is required", server: md(map[string]any{"authorization_endpoint": nil}),
			kind: Misconfigured, code: InvalidMetadata},
		{name: "javascript is no endpoint", server: md(map[string]any{"authorization_endpoint": "javascript:alert(1)"}),
			kind: Misconfigured, code: InvalidMetadata},
		{name: "userinfo is refused", server: md(map[string]any{"token_endpoint": "https://a:hunter2@b.example/token"}),
			kind: Misconfigured, code: InvalidMetadata},
		{name: "a fragment is refused", server: md(map[string]any{"registration_endpoint": "https://b.example/r#x"}),
			kind: Misconfigured, code: InvalidMetadata},
		{name: "a wrong type is refused", server: md(map[string]any{"token_endpoint": 1}), kind: Misconfigured,
			code: InvalidMetadata, contains: text("token_endpoint")},
		{name: "of several the first that validates is taken",
			server: func(s *oauthtest.Server) { list(s, s.URL+"/none", s.URL) }, check: func(t *testing.T, s *oauthtest.Server,
				d *Discovery) {
				if d.AuthorizationServer.Issuer != s.URL {
					t.Error(d.AuthorizationServer.Issuer)
				}
			}},
		{name: "if none does, the first error is told",
			server: func(s *oauthtest.Server) { list(s, s.URL+"/one", s.URL+"/two") }, kind: Misconfigured,
			code: MetadataNotFound, contains: text("/one")},
		{name: "an outage of one stops the search", server: func(s *oauthtest.Server) {
			list(s, s.URL+"/down", s.URL)
			s.Handle(serverRoot+"/down", status(503))
		}, kind: Transient, code: ServerUnreachable},
		{name: "the pinned one is asked alone", server: func(s *oauthtest.Server) { list(s, s.URL+"/down", s.URL) },
			request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.URL },
			check:   wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot)},
		{name: "a pinned one that nobody lists is asked last", server: func(s *oauthtest.Server) { list(s, s.URL+"/other") },
			request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.URL }},
		{name: "and has to exist", request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.URL + "/gone" },
			kind: Misconfigured, code: IssuerMismatch,
			contains: func(s *oauthtest.Server) []string { return []string{`spec.authorizationServer.issuer: "` + s.URL} }},
		{name: "an identifier with a query is refused", server: func(s *oauthtest.Server) { list(s, s.URL+"/?key=hunter2") },
			kind: Misconfigured, code: InvalidMetadata},
		{name: "given endpoints replace the metadata", request: func(r *DiscoveryRequest, s *oauthtest.Server) {
			r.Issuer, r.AssumePKCES256 = s.URL, true
			r.Endpoints = &AuthorizationServerMetadata{AuthorizationEndpoint: s.URL + "/a", TokenEndpoint: s.URL + "/t"}
		}, check: wantPaths("POST /mcp", "GET "+resourcePath)},
		{name: "given endpoints need an issuer", request: func(r *DiscoveryRequest, s *oauthtest.Server) {
			r.AssumePKCES256 = true
			r.Endpoints = &AuthorizationServerMetadata{AuthorizationEndpoint: s.URL + "/a", TokenEndpoint: s.URL + "/t"}
		}, kind: Misconfigured, code: InvalidMetadata},
	})
}

func TestWithoutACodeFlowNeitherPKCENorAnAuthorizationEndpointIsAsked(t *testing.T) {
	md := func(changes map[string]any) func(*oauthtest.Server) {
		return func(s *oauthtest.Server) { s.Handle(s.MetadataPath(), metadata(s, changes)) }
	}
	noCodeFlow := func(r *DiscoveryRequest, _ *oauthtest.Server) { r.NoCodeFlow = true }
	runDiscover(t, []discoverCase{
		{name: "a server of tokens only", request: noCodeFlow,
			server: md(map[string]any{"authorization_endpoint": nil, "code_challenge_methods_supported": nil})},
		{name: "a list without S256", request: noCodeFlow,
			server: md(map[string]any{"code_challenge_methods_supported": []string{"plain"}})},
		{name: "the token endpoint is required all the same", request: noCodeFlow,
			server: md(map[string]any{"token_endpoint": nil}), kind: Misconfigured, code: InvalidMetadata},
		{name: "given endpoints", request: func(r *DiscoveryRequest, s *oauthtest.Server) {
			r.NoCodeFlow, r.Issuer, r.Endpoints = true, s.URL, &AuthorizationServerMetadata{TokenEndpoint: s.URL + "/t"}
		}},
	})
}

func TestIdentityProviderMetadata(t *testing.T) {
	s := oauthtest.New(t)
	c := newTestClient(t, s)
	s.Handle(serverRoot, status(404))
	_, err := c.IdentityProviderMetadata(t.Context(), s.URL)
	wantError(t, err, Misconfigured, MetadataNotFound, "spec.identityProvider.tokenEndpoint")
	s.Handle(openIDWellKnown, metadata(s, map[string]any{"code_challenge_methods_supported": nil,
		"authorization_endpoint": nil}))
	if md, err := c.IdentityProviderMetadata(t.Context(), s.URL); err != nil || md.TokenEndpoint != s.URL+"/token" {
		t.Errorf("%+v %v", md, err)
	}
	s.Handle(openIDWellKnown, metadata(s, map[string]any{"issuer": "https://other.example"}))
	_, err = c.IdentityProviderMetadata(t.Context(), s.URL)
	wantError(t, err, Misconfigured, IssuerMismatch, "spec.identityProvider.issuer")
	s.Handle(openIDWellKnown, status(503))
	_, err = c.IdentityProviderMetadata(t.Context(), s.URL)
	wantError(t, err, Transient, ServerUnreachable)
}

func TestAPinnedServerThatIsNotListedIsToldApart(t *testing.T) {
	for name, test := range map[string]struct {
		listed   func(*oauthtest.Server) []string
		unlisted string
	}{
		"listed": {listed: func(s *oauthtest.Server) []string {
			return []string{"http://127.0.0.1:1", s.Issuer()}
		}},
		"only others are listed": {listed: func(s *oauthtest.Server) []string { return []string{s.URL + "/gone"} },
			unlisted: "/gone"},
		"nothing is listed": {listed: func(*oauthtest.Server) []string { return []string{} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			listed := test.listed(s)
			s.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = listed })
			d, err := newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL(), Issuer: s.Issuer()})
			if err != nil || d.AuthorizationServer.Issuer != s.Issuer() ||
				strings.TrimPrefix(d.Unlisted, s.URL) != test.unlisted {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

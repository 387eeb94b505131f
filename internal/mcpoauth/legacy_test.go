package mcpoauth

import (
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestDiscoveryWithoutResourceMetadata(t *testing.T) {
	legacy := func(c *oauthtest.Config) { c.NoResourceMetadata = true }
	public := func(c *oauthtest.Config) { c.Public = true }
	askLegacy := func(r *DiscoveryRequest, _ *oauthtest.Server) { r.LegacyEndpoints = true }
	mayBePublic := func(r *DiscoveryRequest, _ *oauthtest.Server) { r.MayBePublic = true }
	runDiscover(t, []discoverCase{
		{name: "the message says what to do", config: legacy, kind: Misconfigured, code: MetadataNotFound,
			contains: text("401", "spec.compatibility.legacyEndpoints: true", "spec.authorizationServer.issuer")},
		{name: "legacy servers have metadata at the root", config: legacy, request: askLegacy,
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.Resource != s.MCPURL() || d.AuthorizationServer.Issuer != s.URL {
					t.Errorf("%+v", d)
				}
				wantPaths("POST /mcp", "GET "+resourcePath, "GET "+resourceRoot, "GET "+serverRoot)(t, s, d)
			}},
		{name: "whose issuer may end in a slash", config: legacy, request: askLegacy,
			server: func(s *oauthtest.Server) { s.Handle(serverRoot, metadata(s, map[string]any{"issuer": s.URL + "/"})) },
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.AuthorizationServer.Issuer != s.URL+"/" {
					t.Error(d.AuthorizationServer.Issuer)
				}
			}},
		{name: "but may not be another's", config: legacy, request: askLegacy, server: func(s *oauthtest.Server) {
			s.Handle(serverRoot, metadata(s, map[string]any{"issuer": "https://other.example"}))
		}, kind: Misconfigured, code: IssuerMismatch,
			contains: text(`spec.authorizationServer.issuer: "https://other.example"`)},
		{name: "or default endpoints", config: legacy, request: askLegacy,
			server: func(s *oauthtest.Server) { s.Handle(serverRoot, status(404)) },
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				as := d.AuthorizationServer
				if as.AuthorizationEndpoint != s.URL+"/authorize" || as.TokenEndpoint != s.URL+"/token" ||
					as.RegistrationEndpoint != s.URL+"/register" || as.Issuer != s.URL {
					t.Errorf("%+v", as)
				}
			}},
		{name: "which an outage does not prove", config: legacy, request: askLegacy,
			server: func(s *oauthtest.Server) { s.Handle(serverRoot, status(503)) }, kind: Transient, code: ServerUnreachable},
		{name: "nor does a web page", config: legacy, request: askLegacy,
			server: func(s *oauthtest.Server) { s.Handle(serverRoot, body(200, "text/html", "<p>")) }, kind: Misconfigured,
			code: MetadataNotFound},
		{name: "legacy needs clean answers", config: legacy, request: askLegacy,
			server: func(s *oauthtest.Server) { s.Handle(resourceRoot, body(200, "text/html", "<p>")) }, kind: Misconfigured,
			code: MetadataNotFound},
		{name: "legacy is not used where metadata exist", request: askLegacy,
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot)},
		{name: "a pinned issuer is enough", config: legacy, request: func(r *DiscoveryRequest, s *oauthtest.Server) {
			r.Issuer = s.URL
		}, check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
			if d.Resource != s.MCPURL() || !d.AuthorizationRequired {
				t.Errorf("%+v", d)
			}
		}},
		{name: "a public server needs no authorization", config: public, request: mayBePublic,
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.AuthorizationRequired || d.Resource != s.MCPURL() {
					t.Errorf("%+v", d)
				}
			}},
		{name: "if that is acceptable", config: public, kind: Misconfigured, code: MetadataNotFound},
		{name: "if it answers 2xx", config: legacy, request: mayBePublic, kind: Misconfigured, code: MetadataNotFound},
		{name: "if every location is clean", config: public, request: mayBePublic,
			server: func(s *oauthtest.Server) { s.Handle(resourceRoot, body(200, "text/html", "<p>")) }, kind: Misconfigured,
			code: MetadataNotFound},
		{name: "and if none is down", config: public, request: mayBePublic,
			server: func(s *oauthtest.Server) { s.Handle(resourceRoot, status(500)) }, kind: Transient, code: ServerUnreachable},
		{name: "200 does not mean that there are no metadata", request: mayBePublic,
			server: func(s *oauthtest.Server) { s.Handle("/mcp", status(200)) }, check: func(t *testing.T, _ *oauthtest.Server,
				d *Discovery) {
				if !d.AuthorizationRequired {
					t.Error("taken for public")
				}
			}},
	})
}

package mcpoauth

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	resourcePath = oauthtest.ResourceMetadataPath
	resourceRoot = resourceWellKnown
	serverRoot   = serverWellKnown
)

func jsonBody(v any) http.HandlerFunc {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body(http.StatusOK, "application/json", string(text))
}

// metadata serves the server's own metadata with members changed; nil removes one.
func metadata(s *oauthtest.Server, changes map[string]any) http.HandlerFunc {
	md := s.Metadata()
	for name, v := range changes {
		md[name] = v
		if v == nil {
			delete(md, name)
		}
	}
	return jsonBody(md)
}

// discoverCase changes the server and the request, and says what comes of it.
type discoverCase struct {
	name    string
	config  func(*oauthtest.Config)
	server  func(*oauthtest.Server)
	request func(*DiscoveryRequest, *oauthtest.Server)
	// code empty means success.
	kind     Kind
	code     Code
	contains func(*oauthtest.Server) []string
	check    func(*testing.T, *oauthtest.Server, *Discovery)
}

func runDiscover(t *testing.T, cases []discoverCase) {
	for _, tt := range cases {
		t.Run(tt.name, tt.run)
	}
}

func (tt discoverCase) run(t *testing.T) {
	var configure []func(*oauthtest.Config)
	if tt.config != nil {
		configure = append(configure, tt.config)
	}
	s := oauthtest.New(t, configure...)
	if tt.server != nil {
		tt.server(s)
	}
	r := DiscoveryRequest{ServerURL: s.MCPURL()}
	if tt.request != nil {
		tt.request(&r, s)
	}
	d, err := newTestClient(t, s).Discover(t.Context(), r)
	switch {
	case tt.code != "":
		var contains []string
		if tt.contains != nil {
			contains = tt.contains(s)
		}
		wantError(t, err, tt.kind, tt.code, contains...)
	case err != nil:
		t.Fatal(err)
	case tt.check != nil:
		tt.check(t, s, d)
	}
}

func text(all ...string) func(*oauthtest.Server) []string {
	return func(*oauthtest.Server) []string { return all }
}

func wantPaths(want ...string) func(*testing.T, *oauthtest.Server, *Discovery) {
	return func(t *testing.T, s *oauthtest.Server, _ *Discovery) {
		if got := paths(s); !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
	}
}

func noHint(s *oauthtest.Server) {
	s.Handle("/mcp", status(http.StatusUnauthorized))
}

func TestDiscoveryOfTheResource(t *testing.T) {
	resource := func(s *oauthtest.Server, r string) map[string]any {
		return map[string]any{"resource": r, "authorization_servers": []string{s.Issuer()}}
	}
	at := func(path, suffix string) func(*oauthtest.Server) {
		return func(s *oauthtest.Server) { s.Handle(path, jsonBody(resource(s, s.URL+suffix))) }
	}
	runDiscover(t, []discoverCase{
		{
			name:   "the header URL comes first and nothing else is asked",
			config: func(c *oauthtest.Config) { c.ChallengeScopes = []string{"a", "b"} },
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				want := &Discovery{
					AuthorizationRequired: true, Resource: s.MCPURL(), ChallengedScopes: []string{"a", "b"},
					ResourceScopes: []string{"mcp:read", "mcp:write"},
					AuthorizationServer: AuthorizationServerMetadata{
						Documented: true,
						Issuer:     s.URL, AuthorizationEndpoint: s.URL + "/authorize", TokenEndpoint: s.URL + "/token",
						RegistrationEndpoint: s.URL + "/register", RevocationEndpoint: s.URL + "/revoke",
						ScopesSupported:               []string{"mcp:read", "mcp:write", "offline_access"},
						CodeChallengeMethodsSupported: []string{"S256"}, TokenEndpointAuthMethodsSupported: []string{"none",
							"client_secret_basic", "client_secret_post", "private_key_jwt"},
						AuthorizationResponseIssParameterSupported: true,
					},
				}
				if !reflect.DeepEqual(d, want) {
					t.Errorf("got  %+v\nwant %+v", d, want)
				}
				wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot)(t, s, d)
				if p := s.Requests()[0]; p.Header.Get("Accept") != "application/json, text/event-stream" ||
					!strings.Contains(p.Body, "tools/list") || p.Header.Get("Authorization") != "" {
					t.Errorf("the probe is %+v", p)
				}
			},
		},
		{name: "without a header the path well-known is asked", server: noHint,
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot)},
		{
			name: "after 404 there, the root well-known",
			server: func(s *oauthtest.Server) {
				noHint(s)
				s.Handle(resourcePath, status(http.StatusNotFound))
				at(resourceRoot, "")(s)
			},
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+resourceRoot, "GET "+serverRoot),
		},
		{
			name: "a web page is no document",
			server: func(s *oauthtest.Server) {
				s.Handle(resourcePath, body(200, "text/html", "<html>hello</html>"))
				at(resourceRoot, "/mcp")(s)
			},
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+resourceRoot, "GET "+serverRoot),
		},
		{
			name: "an unparsable header counts as absent",
			server: func(s *oauthtest.Server) {
				s.Handle("/mcp", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="::not a url::"`)
					w.WriteHeader(401)
				})
			},
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot),
		},
		{name: "a 503 is never a reason to look elsewhere", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, status(503))
			at(resourceRoot, "/mcp")(s)
		}, kind: Transient, code: ServerUnreachable, contains: text("503", resourcePath)},
		{name: "nor is a dropped connection", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, dropConnection)
			at(resourceRoot, "/mcp")(s)
		}, kind: Transient, code: ServerUnreachable},
		{name: "a 502 of the server itself is transient", server: func(s *oauthtest.Server) { s.Handle("/mcp", status(502)) },
			kind: Transient, code: ServerUnreachable},
		{name: "an exact resource is taken", server: at(resourcePath, "/mcp")},
		{name: "a slash at the end is tolerated and kept", server: at(resourcePath, "/mcp/"),
			check: func(t *testing.T, s *oauthtest.Server, d *Discovery) {
				if d.Resource != s.URL+"/mcp/" {
					t.Error(d.Resource)
				}
			}},
		{name: "the origin is an ancestor", server: at(resourcePath, "")},
		{name: "the origin with a slash too", server: at(resourcePath, "/")},
		{name: "another path is a mismatch", server: at(resourcePath, "/other"), kind: Misconfigured, code: ResourceMismatch,
			contains: text("/other", "/mcp")},
		{name: "a shared prefix is a mismatch", server: at(resourcePath, "/mc"), kind: Misconfigured, code: ResourceMismatch},
		{name: "a descendant is a mismatch", server: at(resourcePath, "/mcp/x"), kind: Misconfigured, code: ResourceMismatch},
		{name: "a missing resource is invalid", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, jsonBody(map[string]any{"x": 1}))
		}, kind: Misconfigured, code: InvalidMetadata},
		{name: "a broken document stops the search", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, body(200, "application/json", `{"resource": `))
			at(resourceRoot, "/mcp")(s)
		}, kind: Misconfigured, code: InvalidMetadata},
		{name: "no authorization server is invalid", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, jsonBody(map[string]any{"resource": s.MCPURL()}))
		}, kind: Misconfigured, code: InvalidMetadata, contains: text("spec.authorizationServer.issuer")},
		{name: "unless one is pinned", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, jsonBody(map[string]any{"resource": s.MCPURL()}))
		}, request: func(r *DiscoveryRequest, s *oauthtest.Server) { r.Issuer = s.Issuer() }},
		{
			name: "as does one that is not absolute",
			server: func(s *oauthtest.Server) {
				s.Handle("/mcp", func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="/elsewhere"`)
					w.WriteHeader(401)
				})
			},
			check: wantPaths("POST /mcp", "GET "+resourcePath, "GET "+serverRoot),
		},
		{name: "a header URL of another scheme is refused", server: func(s *oauthtest.Server) {
			s.Handle("/mcp", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="ftp://x.example/y"`)
				w.WriteHeader(401)
			})
		}, kind: Misconfigured, code: InvalidMetadata},
		{name: "a document of more than 1 MiB is refused", server: func(s *oauthtest.Server) {
			s.Handle(resourcePath, body(200, "application/json", `{"resource": "`+strings.Repeat("x", maxBody)+`"}`))
		}, kind: Misconfigured, code: InvalidMetadata, contains: text("1 MiB")},
	})
}

func TestDiscoveryProbeDoesNotReadTheBody(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/mcp", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	start := time.Now()
	if _, err := newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()}); err != nil {
		t.Fatal(err)
	}
	if time.Since(start) > 3*time.Second {
		t.Error("the probe waited for the stream")
	}
}

func TestDiscoveryGivesUpOnASilentServer(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/mcp", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := newTestClient(t, s, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
	wantError(t, err, Transient, ServerUnreachable, "too long")
}

func TestDiscoveryRedirects(t *testing.T) {
	hop := func(s *oauthtest.Server, from, to string) {
		s.Handle(from, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(307)
		})
	}
	target := func(s *oauthtest.Server) {
		s.Handle("/target", jsonBody(map[string]any{"resource": s.MCPURL(), "authorization_servers": []string{s.Issuer()}}))
	}
	runDiscover(t, []discoverCase{
		{name: "three are followed", server: func(s *oauthtest.Server) {
			hop(s, resourcePath, "/a")
			hop(s, "/a", s.URL+"/b")
			hop(s, "/b", "target")
			target(s)
		}},
		{name: "four are not", server: func(s *oauthtest.Server) {
			hop(s, resourcePath, "/a")
			hop(s, "/a", "/b")
			hop(s, "/b", "/c")
			hop(s, "/c", "/target")
			target(s)
		}, kind: Misconfigured, code: InvalidMetadata, contains: text("redirects more than 3")},
		{name: "every hop is checked", server: func(s *oauthtest.Server) {
			hop(s, resourcePath, "https://10.0.0.1/?key=hunter2")
		}, kind: Misconfigured, code: EgressDenied, contains: text("10.0.0.1")},
		{name: "another scheme is refused", server: func(s *oauthtest.Server) { hop(s, resourcePath, "file:///etc/passwd") },
			kind: Misconfigured, code: InvalidMetadata},
		{name: "a redirect without a target is refused",
			server: func(s *oauthtest.Server) { s.Handle(resourcePath, status(302)) }, kind: Misconfigured,
			code: InvalidMetadata},
		{name: "the issuer is compared with the identifier, not with where it was found", server: func(s *oauthtest.Server) {
			hop(s, serverRoot, "/moved")
			s.Handle("/moved", metadata(s, nil))
		}},
	})
}

// TestADocumentVouchesForAnIssuerOnlyAtThatIssuer has the MCP server list an alias, whose document names the issuer
// that was asked for.
func TestADocumentVouchesForAnIssuerOnlyAtThatIssuer(t *testing.T) {
	s, alias := oauthtest.New(t), oauthtest.New(t)
	alias.Handle(alias.MetadataPath(), jsonBody(s.Metadata()))
	c := newTestClient(t, s)
	discover := func() *Discovery {
		t.Helper()
		d, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL(), Issuer: s.Issuer()})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := discover(); !d.AuthorizationServer.Documented {
		t.Error("the issuer's own document does not vouch for it")
	}
	s.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = []string{alias.Issuer()} })
	if d := discover(); d.AuthorizationServer.Documented || d.AuthorizationServer.Issuer != s.Issuer() {
		t.Errorf("found %+v", d.AuthorizationServer)
	}
}

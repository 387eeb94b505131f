package doctor

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin/golden"
)

// compare compares a report with a file. The port of a test server has five digits, whatever it is.
func compare(t *testing.T, name, got, serverURL string) {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	got = strings.ReplaceAll(got, ":"+u.Port(), ":55555")
	for line := range strings.Lines(got) {
		if len([]rune(strings.TrimRight(line, "\n"))) > width && len(strings.Fields(line)) > 2 {
			t.Errorf("a line is longer than %d columns: %s", width, line)
		}
	}
	golden.Compare(t, name, got)
}

func loopback() Rules {
	return Rules{AllowInsecureHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Timeout: time.Minute, UserAgent: "mcp-connection-operator"}
}

func examined(t *testing.T, x *Examination) (*Report, string) {
	t.Helper()
	if x.Now == nil {
		x.Now = time.Now
	}
	report := &Report{Subject: "MCP server " + shownText(x.Spec.ServerURL), Preface: preface}
	findings, advice, spec, err := x.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report.add(findings...)
	report.Advice, report.Spec = advice, spec
	var out bytes.Buffer
	if err := report.Write(&out); err != nil {
		t.Fatal(err)
	}
	return report, out.String()
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}

// endless begins a document and never ends it.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprint(w, `{"resource":"`)
	for chunk := strings.Repeat("x", 1<<16); r.Context().Err() == nil; {
		if _, err := fmt.Fprint(w, chunk); err != nil {
			return
		}
	}
}

// without serves the metadata of the authorization server without a member.
func without(s *oauthtest.Server, member string) {
	s.Edit(s.MetadataPath(), -1, func(m map[string]any) { delete(m, member) })
}

type serverCase struct {
	name   string
	config func(*oauthtest.Config)
	server func(*oauthtest.Server)
	spec   func(*v1alpha1.MCPConnectionSpec)
	rules  func(*Rules, *oauthtest.Server)
	failed bool
}

var serverCases = []serverCase{
	{name: "healthy"},
	{name: "tls", config: func(c *oauthtest.Config) { c.TLS = true }, rules: func(r *Rules, s *oauthtest.Server) {
		r.AllowInsecureHTTP, r.RootCAs = false, s.CertPool()
	}},
	{name: "never-ends", failed: true, server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.ResourceMetadataPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, `{"resource":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
	}, rules: func(r *Rules, _ *oauthtest.Server) { r.Timeout = 3 * time.Second }},
	{name: "public", config: func(c *oauthtest.Config) { c.Public = true }},
	{name: "metadata-document", config: func(c *oauthtest.Config) { c.AnyClientIDDocument = true },
		rules: func(r *Rules, _ *oauthtest.Server) { r.ExternalURL = "https://connect.example.test/mcp" }},
	{name: "dpop", config: func(c *oauthtest.Config) { c.DPoP = true }},
	{name: "token-exchange", spec: func(s *v1alpha1.MCPConnectionSpec) {
		s.GrantType = v1alpha1.GrantTypeTokenExchange
		s.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: strings.TrimSuffix(s.ServerURL, oauthtest.MCPPath)}
	}},
	{name: "token-exchange-elsewhere", failed: true, spec: func(s *v1alpha1.MCPConnectionSpec) {
		s.GrantType = v1alpha1.GrantTypeTokenExchange
		s.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: s.ServerURL}
	}},
	{name: "no-metadata", failed: true, config: func(c *oauthtest.Config) { c.NoResourceMetadata = true },
		server: func(s *oauthtest.Server) { s.Handle(s.MetadataPath(), answer(404, "text/plain", "not found")) }},
	{name: "legacy", failed: true, config: func(c *oauthtest.Config) { c.NoResourceMetadata = true }},
	{name: "issuer-mismatch", failed: true, server: func(s *oauthtest.Server) {
		s.Edit(s.MetadataPath(), -1, func(m map[string]any) { m["issuer"] = s.URL + "/" })
	}},
	{name: "no-s256", failed: true, server: func(s *oauthtest.Server) { without(s, "code_challenge_methods_supported") }},
	{name: "plain-pkce-only", failed: true, server: func(s *oauthtest.Server) {
		s.Edit(s.MetadataPath(), -1, func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} })
	}},
	{name: "no-www-authenticate", server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.MCPPath, answer(401, "text/plain", "no"))
	}},
	{name: "no-registration", failed: true, config: func(c *oauthtest.Config) { c.NoRegistration = true }},
	{name: "preregistered", config: func(c *oauthtest.Config) {
		c.NoRegistration = true
		c.GrantTypes = []string{"authorization_code"}
	},
		spec: func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "github-app"}}
			s.Scopes = []v1alpha1.Scope{"mcp:read", "admin"}
		}},
	{name: "web-page", failed: true, server: func(s *oauthtest.Server) {
		for _, path := range []string{oauthtest.MCPPath, oauthtest.ResourceMetadataPath,
			"/.well-known/oauth-protected-resource"} {
			s.Handle(path, answer(200, "text/html", "<html><title>Sign in</title></html>"))
		}
	}},
	{name: "outage", failed: true, server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.ResourceMetadataPath, answer(503, "text/html", "<h1>Sorry</h1>"))
	}},
	{name: "unknown-authority", failed: true, config: func(c *oauthtest.Config) { c.TLS = true },
		rules: func(r *Rules, _ *oauthtest.Server) { r.RootCAs = x509.NewCertPool() }},
	{name: "endless", failed: true, server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.ResourceMetadataPath, endless)
	}},
	{name: "redirect-to-private", failed: true, server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.ResourceMetadataPath, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://10.11.12.13/internal?key=value", http.StatusFound)
		})
	}},
	{name: "metadata-service", failed: true, server: func(s *oauthtest.Server) {
		s.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="http://169.254.169.254/latest"`)
			w.WriteHeader(401)
		})
	}},
	{name: "http-refused", failed: true, rules: func(r *Rules, _ *oauthtest.Server) { r.AllowInsecureHTTP = false }},
}

func TestReportOfServers(t *testing.T) {
	for _, tt := range serverCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := oauthtest.New(t, func(c *oauthtest.Config) {
				if tt.config != nil {
					tt.config(c)
				}
			})
			if tt.server != nil {
				tt.server(server)
			}
			x := &Examination{Spec: v1alpha1.MCPConnectionSpec{ServerURL: server.MCPURL()}, Rules: loopback(), Whole: true}
			if tt.spec != nil {
				tt.spec(&x.Spec)
			}
			if tt.rules != nil {
				tt.rules(&x.Rules, server)
			}
			report, text := examined(t, x)
			if report.Failed() != tt.failed {
				t.Errorf("failed is %v, want %v", report.Failed(), tt.failed)
			}
			compare(t, tt.name, text, server.URL)
		})
	}
}

package plugin_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// looking are flags that let a server of this machine be looked at.
var looking = []string{"--allow-insecure-http", "--egress-allow-cidrs", "127.0.0.0/8"}

func withoutPKCE(s *oauthtest.Server) {
	s.Edit(s.MetadataPath(), -1, func(members map[string]any) { delete(members, "code_challenge_methods_supported") })
}

func TestOnlyWhatTheServerNeedsIsWritten(t *testing.T) {
	for name, test := range map[string]struct {
		config    func(*oauthtest.Config)
		server    func(*oauthtest.Server)
		arguments []string
		says      []string
		spec      string // beside serverURL; ISSUER is the server's
	}{
		"a server that follows the specification": {says: []string{"names the authorization server", "(dynamic client " +
			"registration)", "scopes: mcp:read mcp:write"}},
		"a public server": {config: func(c *oauthtest.Config) { c.Public = true }, says: []string{"no token is needed"}},
		"a server of MCP 2025-03-26": {
			config: func(c *oauthtest.Config) { c.NoResourceMetadata = true },
			says:   []string{"compatibility.legacyEndpoints is written"}, spec: "compatibility: {legacyEndpoints: true}",
		},
		"a server that does not speak of PKCE": {
			server: withoutPKCE, arguments: []string{"--assume-pkce-s256"}, spec: "compatibility: {assumePKCES256: true}",
		},
		"a server that registers nobody": {
			config: func(c *oauthtest.Config) { c.NoRegistration = true }, arguments: []string{"--credentials-secret", "app"},
			says: []string{"client: that of Secret app"}, spec: "client: {credentialsSecretRef: {name: app}, issuer: ISSUER}",
		},
		"a server with metadata documents": {config: func(c *oauthtest.Config) { c.AnyClientIDDocument = true },
			says: []string{"metadata document if --external-url is public"}},
		"a server with DPoP": {config: func(c *oauthtest.Config) { c.DPoP = true }, says: []string{"bound to a key (DPoP)"}},
		"a server without revocation": {config: func(c *oauthtest.Config) { c.NoRevocation = true },
			says: []string{"no revocation endpoint"}},
		"what flags ask for": {
			arguments: []string{"--scope", "mcp:read", "--token-secret", "other"}, says: []string{"scopes: mcp:read"},
			spec: "scopes: [mcp:read]\ntokenSecret: {name: other}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t, func(c *oauthtest.Config) {
				if test.config != nil {
					test.config(c)
				}
			})
			if test.server != nil {
				test.server(s)
			}
			r := offline(t, append(append([]string{"create", "notion", s.MCPURL()}, looking...), test.arguments...)...)
			r.want(t, 0, test.says...)
			want := v1alpha1.MCPConnectionSpec{}
			if err := yaml.Unmarshal([]byte("serverURL: "+s.MCPURL()+"\n"+replaced(test.spec, s.Issuer())), &want); err != nil {
				t.Fatal(err)
			}
			wanted, err := yaml.Marshal(map[string]any{"apiVersion": "mcp-connection.dev/v1alpha1", "kind": "MCPConnection",
				"metadata": map[string]any{"name": "notion", "namespace": "agents"}, "spec": want})
			if err != nil || r.out != string(wanted) {
				t.Errorf("%v: it writes\n%s\nnot\n%s", err, r.out, wanted)
			}
		})
	}
}

func replaced(spec, issuer string) string { return strings.ReplaceAll(spec, "ISSUER", issuer) }

func TestWhatCannotBeLookedAtFromHereIsSaid(t *testing.T) {
	s := oauthtest.New(t)
	offline(t, "create", "x", s.MCPURL()).want(t, 1, "add it here too")
	offline(t, "create", "x", s.MCPURL(), "--allow-insecure-http").want(t, 1, "--egress-allow-cidrs, add it here too")
	r := offline(t, "create", "x", "https://mcp.invalid/mcp")
	r.want(t, 0, "so that is left to the operator", "serverURL: https://mcp.invalid/mcp")
	offline(t, "create", "x", s.URL+"/nothing-here", looking[0], looking[1], looking[2]).want(t, 1, "kubectl mcpc: ")
}

func TestWhatWeakensAFlowIsForAPersonToSay(t *testing.T) {
	s := oauthtest.New(t)
	withoutPKCE(s)
	r := offline(t, append([]string{"create", "notion", s.MCPURL()}, looking...)...)
	r.want(t, 1, "--assume-pkce-s256")
	if r.out != "" {
		t.Errorf("it writes %s", r.out)
	}
}

func TestAConnectionToAnotherServerIsLeftAlone(t *testing.T) {
	c := cluster{"GET " + connections + "/notion": object("notion", nil), "PATCH " + connections +
		"/notion": object("notion", nil)}
	create := func(server string) ran {
		return on(t, c, nil, "", "create", "notion", server, "--no-discovery", "--apply")
	}
	create("https://other.example.com/mcp").want(t, 1, "agents/notion exists already, and leads to "+
		"https://mcp.example.com/mcp")
	create("https://mcp.example.com/mcp").want(t, 0, "agents/notion is applied")
}

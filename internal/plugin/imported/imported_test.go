package imported

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

const (
	refreshToken = "planted-refresh-token-0123456789"
	clientSecret = "planted-client-secret-0123456789"
)

// execute runs the verb on its own, with no cluster and at servers of loopback.
func execute(ctx context.Context, t *testing.T, streams genericiooptions.IOStreams, terminal bool,
	arguments ...string) error {
	t.Helper()
	f := kube.NewFactory(streams)
	f.Terminal = &kube.Terminal{Is: terminal, Width: 80}
	f.Flags.Namespace = new("team-a")
	f.Flags.KubeConfig = new(filepath.Join(t.TempDir(), "config"))
	if err := os.WriteFile(*f.Flags.KubeConfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := Command(f)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(arguments, "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"))
	return cmd.ExecuteContext(ctx)
}

// run returns what the verb prints, which holds no secret on stderr.
func run(t *testing.T, terminal bool, stdin string, arguments ...string) (out, errOut string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	err = execute(t.Context(), t, genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &o, ErrOut: &e}, terminal,
		arguments...)
	for _, secret := range []string{refreshToken, clientSecret} {
		if strings.Contains(e.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("a secret stands on stderr: %s %v", e.String(), err)
		}
		if err != nil && strings.Contains(o.String(), secret) {
			t.Errorf("what was refused was printed: %s", o.String())
		}
	}
	return o.String(), e.String(), err
}

// store writes what mcp-remote writes.
func store(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	tokensFile = `{
  "access_token": "an-access-token-that-is-not-taken-over",
  "token_type": "Bearer",
  "expires_in": 3600,
  "scope": "mcp:read mcp:write",
  "refresh_token": "` + refreshToken + `"
}`
	clientFile = `{
  "redirect_uris": ["http://localhost:3334/oauth/callback"],
  "token_endpoint_auth_method": "client_secret_post",
  "grant_types": ["authorization_code", "refresh_token"],
  "response_types": ["code"],
  "client_name": "MCP CLI Proxy",
  "client_id": "client-1",
  "client_secret": "` + clientSecret + `",
  "client_secret_expires_at": 0
}`
)

func hashOf(t *testing.T, m mcpRemote) string {
	t.Helper()
	hash, err := m.hash()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestFilesOfMCPRemoteAreNamedByItsCommandLine(t *testing.T) {
	// Computed with getServerUrlHash of mcp-remote 0.1.38.
	for want, m := range map[string]mcpRemote{
		"94baabe3c3fadb285b26c035e4e86046": {serverURL: "https://mcp.example.com/mcp"},
		"e69880d0eae4ddee9d7b4edccccb47ca": {serverURL: "https://mcp.example.com/mcp", resource: "https://mcp.example.com"},
		"fead3e1c840269d571879c262a1d0cfb": {serverURL: "https://mcp.example.com/mcp",
			headers: []string{"X-Team: a&b", "Accept:x"}},
	} {
		if got := hashOf(t, m); got != want {
			t.Errorf("%+v: %s, want %s", m, got, want)
		}
	}
}

func TestManifestsOfAGrant(t *testing.T) {
	server := oauthtest.New(t)
	hash := hashOf(t, mcpRemote{serverURL: server.MCPURL()})
	dir := store(t, map[string]string{
		"mcp-remote-v1/" + hash + "_tokens.json":          tokensFile,
		"mcp-remote-v1/" + hash + "_client_info.json":     clientFile,
		"mcp-remote-0.1.30/" + hash + "_tokens.json":      strings.ReplaceAll(tokensFile, refreshToken, "an older token"),
		"mcp-remote-0.1.30/" + hash + "_client_info.json": clientFile,
		"other/" + hash + "_tokens.json":                  "not of mcp-remote",
	})
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "mcp-remote-0.1.30", hash+"_tokens.json"), old, old); err != nil {
		t.Fatal(err)
	}
	out, errOut, err := run(t, false, "", "files", server.MCPURL(), "--mcp-remote="+dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Stop mcp-remote", "holds a refresh token", "Of 2 stores the newest was taken",
		"seen from this machine: " + server.Issuer()} {
		if !strings.Contains(errOut, want) {
			t.Errorf("stderr lacks %q:\n%s", want, errOut)
		}
	}
	first, second, _ := strings.Cut(out, "---\n")
	var secret struct {
		Kind       string
		Metadata   struct{ Name, Namespace string }
		StringData map[string]string
	}
	var connection v1alpha1.MCPConnection
	if err := yaml.Unmarshal([]byte(first), &secret); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(second), &connection); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"refresh_token": refreshToken, "client_id": "client-1",
		"client_secret": clientSecret, "issuer": server.Issuer()} {
		if secret.StringData[key] != want {
			t.Errorf("%s is %q, want %q", key, secret.StringData[key], want)
		}
	}
	if len(secret.StringData) != 4 || secret.Kind != "Secret" ||
		secret.Metadata.Name != connection.Spec.ImportSecretRef.Name || secret.Metadata.Namespace != connection.Namespace {
		t.Errorf("%+v", secret)
	}
	if connection.Name != "files" || connection.Namespace != "team-a" || connection.Spec.ServerURL != server.MCPURL() ||
		connection.Spec.Client.AuthMethod != "client_secret_post" || strings.Contains(second, "status") {
		t.Error(second)
	}
	for _, r := range server.Requests() {
		if r.Header.Get("Authorization") != "" || strings.Contains(r.Body, refreshToken) {
			t.Errorf("%s %s carries the grant", r.Method, r.Path)
		}
	}
}

func TestGrantsThatDoNotFitAreRefusedInOneSentence(t *testing.T) {
	server := oauthtest.New(t)
	public := oauthtest.New(t, func(c *oauthtest.Config) { c.Public = true })
	down := oauthtest.New(t)
	down.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	hash := hashOf(t, mcpRemote{serverURL: server.MCPURL()})
	lone := store(t, map[string]string{"mcp-remote-v1/" + hash + "_tokens.json": tokensFile})
	torn := store(t, map[string]string{
		"mcp-remote-v1/" + hash + "_tokens.json": strings.Replace(tokensFile, "{", `{"issuer": "https://a.example.test",`, 1),
		"mcp-remote-v1/" + hash + "_client_info.json": strings.Replace(clientFile, "{",
			`{"issuer": "https://b.example.test",`, 1),
	})
	good := `{"refresh_token":"` + refreshToken + `","client_id":"c","issuer":"` + server.Issuer() + `"}`
	for _, tt := range []struct {
		name, grant string
		arguments   []string
		terminal    bool
		want        string
	}{
		{"a terminal gets no secret", good, []string{"files", server.MCPURL(), "--from=-"}, true,
			"not printed to a terminal"},
		{"no place", "", []string{"files", server.MCPURL()}, false, "name one place"},
		{"two places", "", []string{"files", server.MCPURL(), "--from=-", "--mcp-remote"}, false, "name one place"},
		{"no name", good, nil, false, "wants the name"},
		{"a name that Kubernetes refuses", good, []string{"Files", server.MCPURL(), "--from=-"}, false, "lower-case"},
		{"no JSON", refreshToken, []string{"files", server.MCPURL(), "--from=-"}, false, "not a JSON object"},
		{"a list", `["` + refreshToken + `"]`, []string{"files", server.MCPURL(), "--from=-"}, false, "not a JSON object"},
		{"a number for a token", `{"refresh_token":1}`, []string{"files", server.MCPURL(), "--from=-"}, false,
			`"refresh_token" has a type that does not fit`},
		{"no file", "", []string{"files", server.MCPURL(), "--from=/does/not/exist"}, false, "no such file"},
		{"a huge file", strings.Repeat(" ", maxFile+1), []string{"files", server.MCPURL(), "--from=-"}, false,
			"larger than 1 MiB"},
		{"no refresh token", `{"client_id":"c"}`, []string{"files", server.MCPURL(), "--from=-"}, false,
			"has no refresh_token"},
		{"no client", `{"refresh_token":"` + refreshToken + `"}`, []string{"files", server.MCPURL(), "--from=-"}, false,
			"has no client_id"},
		{"white space", `{"refresh_token":"` + refreshToken + `\n","client_id":"c"}`,
			[]string{"files", server.MCPURL(), "--from=-"}, false, "white space"},
		{"a client that signs", `{"refresh_token":"` + refreshToken +
			`","client_id":"c","token_endpoint_auth_method":"private_key_jwt"}`, []string{"files", server.MCPURL(), "--from=-"},
			false, "cannot take it over"},
		{"a secret that expired", `{"refresh_token":"` + refreshToken + `","client_id":"c","client_secret":"` + clientSecret +
			`","client_secret_expires_at":1000}`, []string{"files", server.MCPURL(), "--from=-"}, false, "expired at 1970"},
		{"no URL", good, []string{"files", "--from=-"}, false, "server URL is missing"},
		{"another URL", strings.Replace(good, "{", `{"server_url":"https://other.example.test",`, 1),
			[]string{"files", server.MCPURL(), "--from=-"}, false, "one of the two is wrong"},
		{"another issuer", good, []string{"files", server.MCPURL(), "--from=-", "--issuer=https://other.example.test"}, false,
			"--issuer is not the issuer"},
		{"an issuer that the server does not name", strings.ReplaceAll(good, server.Issuer(), down.Issuer()),
			[]string{"files", server.MCPURL(), "--from=-"}, false, "IssuerChanged"},
		{"a server that needs no token", strings.ReplaceAll(good, `"issuer":"`+server.Issuer()+`"`, `"x":1`),
			[]string{"files", public.MCPURL(), "--from=-"}, false, "neither"},
		{"a server that is down, and no issuer", strings.ReplaceAll(good, `"issuer":"`+server.Issuer()+`"`, `"x":1`),
			[]string{"files", down.MCPURL(), "--from=-"}, false, "give --issuer"},
		{"an issuer that nobody looked at, to be applied", strings.ReplaceAll(good, `"issuer":"`+server.Issuer()+`"`,
			`"x":1`), []string{"files", server.MCPURL(), "--from=-", "--apply"}, false, "add --issuer='" + server.Issuer() +
			"'"},
		{"another URL at mcp-remote", "", []string{"files", server.MCPURL() + "/", "--mcp-remote=" + lone}, false,
			"holds no tokens of mcp-remote for that URL"},
		{"no client at mcp-remote", "", []string{"files", server.MCPURL(), "--mcp-remote=" + lone}, false, "--client-info"},
		{"two issuers at mcp-remote", "", []string{"files", server.MCPURL(), "--mcp-remote=" + torn}, false,
			"name different issuers"},
		{"no folder of mcp-remote", "", []string{"files", server.MCPURL(), "--mcp-remote=/does/not/exist"}, false,
			"no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := run(t, tt.terminal, tt.grant, tt.arguments...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMCPRemoteIsFoundWhereItLooksItself(t *testing.T) {
	server := oauthtest.New(t)
	hash := hashOf(t, mcpRemote{serverURL: server.MCPURL()})
	files := map[string]string{"mcp-remote-v1/" + hash + "_tokens.json": tokensFile, "mcp-remote-v1/" + hash +
		"_client_info.json": clientFile}
	t.Setenv("MCP_REMOTE_CONFIG_DIR", store(t, files))
	if out, _, err := run(t, false, "", "files", server.MCPURL(), "--mcp-remote"); err != nil ||
		!strings.Contains(out, refreshToken) {
		t.Error(err)
	}
	t.Setenv("MCP_REMOTE_CONFIG_DIR", "")
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Rename(store(t, files), filepath.Join(home, ".mcp-auth")); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, false, "", "files", server.MCPURL(), "--mcp-remote"); err != nil ||
		!strings.Contains(out, refreshToken) {
		t.Error(err)
	}
}

func TestSecretsArePrintedToATerminalByForceOnly(t *testing.T) {
	server := oauthtest.New(t)
	grant := `{"refresh_token":"` + refreshToken + `","client_id":"c","issuer":"` + server.Issuer() + `","server_url":"` +
		server.MCPURL() + `"}`
	out, _, err := run(t, true, grant, "files", "--from=-", "--force")
	if err != nil || !strings.Contains(out, refreshToken) {
		t.Error(out, err)
	}
}

func TestAnIssuerThatIsKnownNeedsNoServer(t *testing.T) {
	down := oauthtest.New(t)
	down.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	grant := `{"refresh_token":"` + refreshToken + `","client_id":"c","issuer":"https://auth.example.test"}`
	out, errOut, err := run(t, false, grant, "files", down.MCPURL(), "--from=-")
	if err != nil || !strings.Contains(out, "issuer: https://auth.example.test") ||
		!strings.Contains(errOut, "Not checked") {
		t.Error(out, errOut, err)
	}
}

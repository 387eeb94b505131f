package doctor

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const elsewhere = "http://localhost:3334/oauth/callback"

// consented is what a client of its own gets at the server: the answer of the token endpoint, and the client.
func consented(t *testing.T, server *oauthtest.Server) (tokens map[string]any, c oauthtest.Client) {
	t.Helper()
	c = oauthtest.Client{ID: "other-tool", Secret: "the secret of the other tool: 50%+1/", AuthMethod: "client_secret_post", RedirectURIs: []string{elsewhere}}
	server.AddClient(c)
	verifier := mcpoauth.NewCodeVerifier()
	link, err := mcpoauth.AuthorizationURL(mcpoauth.AuthorizationRequest{
		Endpoint: server.URL + oauthtest.AuthorizePath, ClientID: c.ID, RedirectURI: elsewhere, Scopes: []string{"mcp:read", "offline_access"},
		Resource: server.Resource(), State: mcpoauth.NewState("x"), CodeVerifier: verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := server.Approve(link)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.PostForm(server.URL+oauthtest.TokenPath, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {elsewhere}, "code_verifier": {verifier},
		"resource": {server.Resource()}, "client_id": {c.ID}, "client_secret": {c.Secret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&tokens); err != nil || tokens["refresh_token"] == nil {
		t.Fatalf("the server gave %v (%v)", tokens, err)
	}
	return tokens, c
}

// taken checks that the operator goes on with the grant, and that nobody consented.
func (w *world) taken(t *testing.T, name string, server *oauthtest.Server, before string) {
	t.Helper()
	at := client.ObjectKey{Namespace: team, Name: name}
	conn, err := w.plane.WaitCondition(t.Context(), at, patience, "Ready", "True", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := w.plane.TokenSecret(t.Context(), conn)
	if err != nil || !server.ValidAccessToken(keys["access_token"]) {
		t.Errorf("the token is not valid at the server (%v)", err)
	}
	grants := server.Grants()
	if len(grants) != 1 || grants[0].Refreshes != 1 || grants[0].RefreshToken == before || grants[0].Reused {
		t.Errorf("the grant was not refreshed once: %d grants", len(grants))
	}
	if conn.Status.Client.ID != "other-tool" || conn.Status.AuthorizationURL != "" {
		t.Errorf("the client is %s", conn.Status.Client.ID)
	}
}

func write(t *testing.T, path string, value any) {
	t.Helper()
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOperatorTakesOverWhatMCPRemoteKeeps(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	tokens, c := consented(t, server)
	hash, store := mcpRemoteHash(t, server.MCPURL()), t.TempDir()
	write(t, filepath.Join(store, "mcp-remote-v1", hash+"_tokens.json"), tokens)
	write(t, filepath.Join(store, "mcp-remote-v1", hash+"_client_info.json"), map[string]any{
		"client_id": c.ID, "client_secret": c.Secret, "client_secret_expires_at": 0, "redirect_uris": c.RedirectURIs, "token_endpoint_auth_method": c.AuthMethod,
	})
	w.forget(t, "from-mcp-remote")
	arguments := []string{"import", "from-mcp-remote", server.MCPURL(), "--mcp-remote=" + store, "-n", team, "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"}
	_, errOut, code := w.run(t, "", append(arguments, "--apply")...)
	if code != 1 || !strings.HasSuffix(strings.TrimSpace(errOut), "add --issuer='"+server.Issuer()+"'") {
		t.Fatalf("an issuer that nobody looked at: exit code %d: %s", code, errOut)
	}
	if grants := server.Grants(); len(grants) != 1 || grants[0].Refreshes != 0 {
		t.Fatal("the refresh token was sent before anybody was told where")
	}
	arguments = append(arguments, "--issuer="+server.Issuer())
	out, errOut, code := w.run(t, "", append(arguments, "--apply")...)
	if code != 0 || out != "" || !strings.Contains(errOut, "Stop mcp-remote") || strings.Contains(errOut, tokens["refresh_token"].(string)) {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	w.taken(t, "from-mcp-remote", server, tokens["refresh_token"].(string))
	if _, errOut, code = w.run(t, "", append(arguments, "--apply")...); code != 1 || !strings.Contains(errOut, "exists already") {
		t.Errorf("a second time: exit code %d: %s", code, errOut)
	}
}

func TestKubectlAppliesTheManifestsOfAJSONGrant(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	tokens, c := consented(t, server)
	grant, err := json.Marshal(map[string]any{"refresh_token": tokens["refresh_token"], "client_id": c.ID, "client_secret": c.Secret, "token_endpoint_auth_method": c.AuthMethod, "issuer": server.Issuer(), "server_url": server.MCPURL()})
	if err != nil {
		t.Fatal(err)
	}
	out, errOut, code := w.run(t, string(grant), "import", "from-json", "--from=-", "-n", team, "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	w.forget(t, "from-json")
	cmd := exec.CommandContext(t.Context(), w.plane.KubectlPath(), "apply", "--server-side", "-f", "-", "--kubeconfig", w.plane.Kubeconfig)
	cmd.Stdin = strings.NewReader(out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	w.taken(t, "from-json", server, tokens["refresh_token"].(string))
}

// TestImportLeavesNoSecretBehind: where the connection is refused, the Secret goes too.
func TestImportLeavesNoSecretBehind(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	grant := `{"refresh_token":"a-refresh-token","client_id":"c","issuer":"` + server.Issuer() + `"}`
	flags := []string{"--from=-", "--apply", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"}
	w.create(t, "role", "secrets-only", "--verb=create,delete,get", "--resource=secrets")
	w.create(t, "rolebinding", "secrets-only", "--role=secrets-only", "--user=dave")
	for name, arguments := range map[string][]string{
		"forbidden": {"import", "left", server.MCPURL(), "-n", team, "--as=dave"},
		"not found": {"import", "left", server.MCPURL(), "-n", "no-such-namespace"},
	} {
		if _, errOut, code := w.run(t, grant, append(arguments, flags...)...); code != 1 || !strings.Contains(errOut, name) {
			t.Errorf("%s: exit code %d: %s", name, code, errOut)
		}
	}
	var secrets corev1.SecretList
	if err := w.plane.Client.List(t.Context(), &secrets, client.InNamespace(team)); err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		if secrets.Items[i].Name == "left-import" {
			t.Error("the Secret is left")
		}
	}
}

// mcpRemoteHash is how mcp-remote names the files of a server.
func mcpRemoteHash(t *testing.T, serverURL string) string {
	t.Helper()
	sum := md5.Sum([]byte(serverURL))
	return hex.EncodeToString(sum[:])
}

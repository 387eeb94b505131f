package doctor

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/matchers"
)

const elsewhere = "http://localhost:3334/oauth/callback"

// consented is what a client of its own gets at the server: the answer of the token endpoint, and the client.
func consented(server *oauthtest.Server) (tokens map[string]any, c oauthtest.Client) {
	GinkgoHelper()
	c = oauthtest.Client{ID: "other-tool", Secret: "the secret of the other tool: 50%+1/",
		AuthMethod: "client_secret_post", RedirectURIs: []string{elsewhere}}
	server.AddClient(c)
	verifier := mcpoauth.NewCodeVerifier()
	link, err := mcpoauth.AuthorizationURL(mcpoauth.AuthorizationRequest{
		Endpoint: server.URL + oauthtest.AuthorizePath, ClientID: c.ID, RedirectURI: elsewhere,
		Scopes:   []string{"mcp:read", "offline_access"},
		Resource: server.Resource(), State: mcpoauth.NewState("x"), CodeVerifier: verifier,
	})
	Expect(err).NotTo(HaveOccurred())
	back, err := server.Approve(link)
	Expect(err).NotTo(HaveOccurred())
	resp, err := http.PostForm(server.URL+oauthtest.TokenPath, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {elsewhere},
		"code_verifier": {verifier},
		"resource":      {server.Resource()}, "client_id": {c.ID}, "client_secret": {c.Secret},
	})
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	Expect(json.NewDecoder(resp.Body).Decode(&tokens)).To(Succeed())
	Expect(tokens).To(HaveKey("refresh_token"))
	return tokens, c
}

// expectTaken checks that the operator goes on with the grant, and that nobody consented.
func expectTaken(ctx context.Context, name string, server *oauthtest.Server, before any) {
	GinkgoHelper()
	conn := await(ctx, name, matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, ""))
	keys, err := plane.TokenSecret(ctx, conn)
	Expect(err).NotTo(HaveOccurred())
	Expect(server.ValidAccessToken(keys[v1alpha1.KeyAccessToken])).To(BeTrue(), "the token is not valid at the server")
	grants := server.Grants()
	Expect(grants).To(HaveLen(1))
	Expect(grants[0].Refreshes).To(Equal(1))
	Expect(grants[0].RefreshToken).NotTo(BeEquivalentTo(before))
	Expect(grants[0].Reused).To(BeFalse())
	Expect(conn.Status.Client.ID).To(Equal("other-tool"))
	Expect(conn.Status.AuthorizationURL).To(BeEmpty())
}

func write(path string, value any) {
	GinkgoHelper()
	raw, err := json.MarshalIndent(value, "", "  ")
	Expect(err).NotTo(HaveOccurred())
	Expect(os.MkdirAll(filepath.Dir(path), 0o700)).To(Succeed())
	Expect(os.WriteFile(path, raw, 0o600)).To(Succeed())
}

var _ = Describe("Import", func() {
	It("takes over what mcp-remote keeps", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		tokens, c := consented(server)
		hash, store := mcpRemoteHash(server.MCPURL()), GinkgoTB().TempDir()
		write(filepath.Join(store, "mcp-remote-v1", hash+"_tokens.json"), tokens)
		write(filepath.Join(store, "mcp-remote-v1", hash+"_client_info.json"), map[string]any{
			"client_id": c.ID, "client_secret": c.Secret, "client_secret_expires_at": 0, "redirect_uris": c.RedirectURIs,
			"token_endpoint_auth_method": c.AuthMethod,
		})
		forget("from-mcp-remote")
		arguments := []string{"import", "from-mcp-remote", server.MCPURL(), "--mcp-remote=" + store, "-n", team,
			"--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"}
		By("refusing an issuer that nobody looked at")
		got := run(ctx, "", append(arguments, "--apply")...).endsWith(1)
		Expect(strings.TrimSpace(got.errOut)).To(HaveSuffix("add --issuer='" + server.Issuer() + "'"))
		Expect(server.Grants()).To(HaveExactElements(HaveField("Refreshes", 0)),
			"the refresh token was sent before anybody was told where")
		By("taking an issuer that is named")
		arguments = append(arguments, "--issuer="+server.Issuer())
		got = run(ctx, "", append(arguments, "--apply")...).endsWith(0)
		Expect(got.out).To(BeEmpty())
		Expect(got.errOut).To(And(ContainSubstring("Stop mcp-remote"),
			Not(ContainSubstring(tokens["refresh_token"].(string)))))
		expectTaken(ctx, "from-mcp-remote", server, tokens["refresh_token"])
		By("refusing a second time")
		got = run(ctx, "", append(arguments, "--apply")...).endsWith(1)
		Expect(got.errOut).To(ContainSubstring("exists already"))
	})

	It("writes manifests of a JSON grant that kubectl applies", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		tokens, c := consented(server)
		grant, err := json.Marshal(map[string]any{"refresh_token": tokens["refresh_token"], "client_id": c.ID,
			"client_secret": c.Secret, "token_endpoint_auth_method": c.AuthMethod, "issuer": server.Issuer(),
			"server_url": server.MCPURL()})
		Expect(err).NotTo(HaveOccurred())
		got := run(ctx, string(grant), "import", "from-json", "--from=-", "-n", team, "--allow-insecure-http",
			"--egress-allow-cidrs=127.0.0.0/8").endsWith(0)
		forget("from-json")
		cmd := exec.CommandContext(ctx, plane.KubectlPath(), "apply", "--server-side", "-f", "-", "--kubeconfig",
			plane.Kubeconfig)
		cmd.Stdin = strings.NewReader(got.out)
		text, err := cmd.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", text)
		expectTaken(ctx, "from-json", server, tokens["refresh_token"])
	})

	// Where the connection is refused, the Secret goes too.
	It("leaves no Secret behind", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		grant := `{"refresh_token":"a-refresh-token","client_id":"c","issuer":"` + server.Issuer() + `"}`
		flags := []string{"--from=-", "--apply", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8"}
		createBy(ctx, "role", "secrets-only", "--verb=create,delete,get", "--resource=secrets")
		createBy(ctx, "rolebinding", "secrets-only", "--role=secrets-only", "--user=dave")
		awaitRight(ctx, "dave", authorizationv1.ResourceAttributes{Verb: "create", Resource: "secrets"})
		for reason, arguments := range map[string][]string{
			"forbidden": {"import", "left", server.MCPURL(), "-n", team, "--as=dave"},
			"not found": {"import", "left", server.MCPURL(), "-n", "no-such-namespace"},
		} {
			got := run(ctx, grant, append(arguments, flags...)...).endsWith(1)
			Expect(got.errOut).To(ContainSubstring(reason))
		}
		var secrets corev1.SecretList
		Expect(plane.Client.List(ctx, &secrets, client.InNamespace(team))).To(Succeed())
		Expect(secrets.Items).NotTo(ContainElement(HaveField("Name", "left-import")))
	})
})

// mcpRemoteHash is how mcp-remote names the files of a server.
func mcpRemoteHash(serverURL string) string {
	sum := md5.Sum([]byte(serverURL))
	return hex.EncodeToString(sum[:])
}

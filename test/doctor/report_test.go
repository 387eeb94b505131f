package doctor

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// planted makes a secret that is in no other place. Some look like a token, some like words.
func planted(where string) string { return "planted-" + where + "-s3+/x" }

// hidden has planted secrets wherever an author may put some.
func hidden(name, serverURL string) string {
	return fmt.Sprintf(`apiVersion: mcp-connection.dev/v1alpha1
kind: MCPConnection
metadata:
  name: %s
  labels: {team: planted-label}
  annotations:
    example.test/note: %q
    mcp-connection.dev/reauthorize: %q
spec:
  serverURL: %q
  client: {name: The desk of Planted Person, uri: "https://app.example.test/f06cd65f-5eaa-4bab-9087-0645f255978e/about"}
  compatibility:
    authorizationParameters: {audience: %q}
    tokenParameters: {api_key: %q}
  tokenSecret:
    annotations: {example.test/owner: %q}
    labels: {owner: planted-secret-label}
    data: {config.json: %q, other.json: %q}
`, name, planted("annotation"), planted("reauthorize"), serverURL+"?api_key="+url.QueryEscape(planted("query")),
		planted("parameter"), planted("token-parameter"),
		planted("secret-annotation"), `{"key": "`+planted("template")+`", "authorization": "{{ .authorization }}"}`,
		planted("challenge"))
}

// plantedSecrets are those of hidden, and some that look like tokens.
var plantedSecrets = []string{
	"planted-label", "planted-secret-label", planted("annotation"), planted("reauthorize"), planted("query"),
	planted("parameter"), planted("token-parameter"),
	planted("secret-annotation"), planted("template"), planted("challenge"), "alice@example.test",
	"Planted Person", "f06cd65f-5eaa-4bab-9087-0645f255978e",
	"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl-planted_1A", "0123456789abcdef0123456789abcdef01234567",
	"Zm9yZ290dGVuLXNlY3JldC0x_Zm9yZ290dGVu",
}

func spellings(secret string) []string {
	raw := []byte(secret)
	quoted, _ := json.Marshal(secret) // a string cannot fail to encode
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`), hex.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw),
	}
}

// unpacked is the bundle by the names of its files.
func unpacked(file string) map[string]string {
	GinkgoHelper()
	raw, err := os.Open(file)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = raw.Close() }()
	zipped, err := gzip.NewReader(raw)
	Expect(err).NotTo(HaveOccurred())
	files := map[string]string{}
	for tarred := tar.NewReader(zipped); ; {
		header, err := tarred.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		Expect(err).NotTo(HaveOccurred())
		text, err := io.ReadAll(tarred)
		Expect(err).NotTo(HaveOccurred())
		files[path.Base(header.Name)] = string(text)
	}
}

// secretsOf are all that a server gave out, what the cluster keeps in Secrets, and the link.
func secretsOf(ctx context.Context, conn *v1alpha1.MCPConnection, server *oauthtest.Server) []string {
	GinkgoHelper()
	var all []string
	for _, g := range server.Grants() {
		all = append(all, g.AccessToken, g.RefreshToken)
	}
	for _, c := range server.Clients() {
		all = append(all, c.Secret, c.RegistrationAccessToken)
	}
	if link := conn.Status.AuthorizationURL; link != "" {
		all = append(all, link, path.Base(link))
	}
	var secret corev1.Secret
	err := plane.Client.Get(ctx, client.ObjectKey{Namespace: conn.Namespace, Name: conn.Name + "-token"}, &secret)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	for _, key := range []string{v1alpha1.KeyAccessToken, v1alpha1.KeyAuthorization, "config.json"} {
		all = append(all, string(secret.Data[key]))
	}
	return all
}

// leaks says which secrets stand in which file, without their values.
func leaks(files map[string]string, secrets []string) []string {
	var found []string
	for i, secret := range secrets {
		if len(secret) < 6 {
			continue
		}
		for _, form := range spellings(secret) {
			for name, text := range files {
				if strings.Contains(text, form) {
					found = append(found, fmt.Sprintf("secret %d (%.12s...) in %s", i, secret, name))
				}
			}
		}
	}
	return found
}

// repeat has the cluster say everything once more where a report reads: an event, and lines of the log.
func repeat(ctx context.Context, conn *v1alpha1.MCPConnection, secrets []string) {
	GinkgoHelper()
	at, everything := client.ObjectKeyFromObject(conn), strings.Join(secrets, " and ")
	create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace, GenerateName: "planted-"},
		InvolvedObject: corev1.ObjectReference{Kind: "MCPConnection", APIVersion: v1alpha1.GroupVersion.String(),
			Namespace: at.Namespace, Name: at.Name, UID: conn.UID},
		Reason: "Planted", Message: "Told: " + everything, Type: corev1.EventTypeWarning, LastTimestamp: metav1.Now(),
		FirstTimestamp: metav1.Now(), Count: 1,
	})
	log, err := os.OpenFile(operator.LogFile, os.O_APPEND|os.O_WRONLY, 0o600)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = log.Close() }()
	for _, line := range []map[string]any{
		{"level": "info", "msg": "told", "connection": at.String(), "everything": everything,
			"at": conn.Status.AuthorizationURL},
		{"level": "info", "logger": "audit", "msg": "consent", "outcome": "started", "connection": at.String(),
			"uid": string(conn.UID), "user": "alice@example.test", "client": "198.51.100.77"},
		{"level": "info", "logger": "audit", "msg": "consent", "outcome": "finished", "connection": at.String(),
			"uid": string(conn.UID), "user": "Planted Person"},
		{"level": "info", "msg": "of another", "connection": at.Namespace + "/another"},
	} {
		Expect(json.NewEncoder(log).Encode(line)).To(Succeed())
	}
}

var _ = Describe("Report", func() {
	DescribeTable("holds no secret and no link of a connection", Label("security"), func(ctx SpecContext, name string,
		prepare func(context.Context, *oauthtest.Server) *v1alpha1.MCPConnection, known int) {
		server := oauthtest.New(GinkgoTB())
		conn := prepare(ctx, server)
		secrets := append(secretsOf(ctx, conn, server), plantedSecrets...)
		repeat(ctx, conn, secrets)
		Expect(len(secrets)).To(BeNumerically(">=", len(plantedSecrets)+known), "so many secrets are known")
		bundle := filepath.Join(GinkgoTB().TempDir(), "bundle.tar.gz")
		got := run(ctx, "", "report", name, "-n", team, "-o", bundle).endsWith(0)
		Expect(strings.TrimSpace(got.out)).To(Equal(bundle))
		files := unpacked(bundle)
		Expect(leaks(files, secrets)).To(BeEmpty())
		checkContents(files, client.ObjectKeyFromObject(conn), server)
		info, err := os.Stat(bundle)
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Mode().Perm()).To(BeEquivalentTo(0o600))
	},
		Entry("that was consented to", "hidden-true",
			func(ctx context.Context, server *oauthtest.Server) *v1alpha1.MCPConnection {
				ready(ctx, "hidden-true", server, hidden("hidden-true", server.MCPURL()))
				kubectl(ctx, "annotate", "mcpc", "hidden-true", "-n", team, "mcp-connection.dev/challenge=Bearer "+
					"error=\"insufficient_scope\", scope=\""+"more\", note=\""+planted("challenge")+"\"")
				return await(ctx, "hidden-true", HaveField("Status.AuthorizationURL", Not(BeEmpty()))) // the link of a step-up
			}, 6),
		Entry("that waits for a consent", "hidden-false",
			func(ctx context.Context, server *oauthtest.Server) *v1alpha1.MCPConnection {
				apply(ctx, "hidden-false", hidden("hidden-false", server.MCPURL()))
				return await(ctx, "hidden-false", askForConsent())
			}, 0),
	)

	It("says what it may not read", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		apply(ctx, "seen", manifest("seen", server.MCPURL()))
		createBy(ctx, "rolebinding", "reader", "--clusterrole=mcp-connection-mcpconnection-viewer-role", "--user=carol")
		awaitRight(ctx, "carol", readsConnections)
		GinkgoTB().Chdir(GinkgoTB().TempDir())
		got := run(ctx, "", "report", "seen", "-n", team, "--as=carol", "--since", time.Hour.String()).endsWith(0)
		Expect(got.out).To(HavePrefix("mcpc-report-team-a-seen-"))
		files := unpacked(strings.TrimSpace(got.out))
		Expect(files["events.yaml"]).To(HavePrefix("# list events: events is forbidden"))
		Expect(files["operator.log"]).To(HavePrefix("# The operator's pods were not seen."))
		got = run(ctx, "", "report", "nobody", "-n", team).endsWith(1)
		Expect(got.errOut).To(ContainSubstring(`"nobody" not found`))
	})
})

// checkContents holds the report to be of use: a bundle without anything in it would hold no secret either.
func checkContents(files map[string]string, at client.ObjectKey, server *oauthtest.Server) {
	GinkgoHelper()
	for name, parts := range map[string][]string{
		"README.txt": {"No Secret was read"},
		"connection.yaml": {"name: " + at.Name, "serverURL: " + server.MCPURL() + "?(redacted)",
			"name: The desk of (redacted)", "uri: https://app.example.test/(redacted)/about", "config.json: (redacted,",
			"kubectl.kubernetes.io/last-applied-configuration: (redacted,", "authorizationURL: '(redacted", "uid: "},
		"conditions.txt": {"Discovered   True    Succeeded", "Ready "},
		"events.yaml":    {"reason: Planted", "message: 'Told: "},
		"versions.yaml":  {"plugin: test", "operator: v9.9.9", "kubernetes: v1."},
		"operator.log": {"# pod " + pod, `"connection":"` + at.String() + `"`, `"user":"(redacted)"`,
			`"client":"(redacted)"`},
		"doctor.txt": {"MCPConnection " + at.String(), "What the operator says", "0 failures"},
	} {
		for _, part := range parts {
			Expect(files[name]).To(ContainSubstring(part), name)
		}
	}
	Expect(files["operator.log"]).NotTo(ContainSubstring("198.51.100.77"), "it tells from where a person consented")
	Expect(files["operator.log"]).NotTo(ContainSubstring("another"), "it tells of another connection")
}

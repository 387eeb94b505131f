package doctor

import (
	"archive/tar"
	"compress/gzip"
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
	"testing"
	"time"

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
`, name, planted("annotation"), planted("reauthorize"), serverURL+"?api_key="+url.QueryEscape(planted("query")), planted("parameter"), planted("token-parameter"),
		planted("secret-annotation"), `{"key": "`+planted("template")+`", "authorization": "{{ .authorization }}"}`, planted("challenge"))
}

// plantedSecrets are those of hidden, and some that look like tokens.
var plantedSecrets = []string{
	"planted-label", "planted-secret-label", planted("annotation"), planted("reauthorize"), planted("query"), planted("parameter"), planted("token-parameter"),
	planted("secret-annotation"), planted("template"), planted("challenge"), "alice@example.test",
	"Planted Person", "f06cd65f-5eaa-4bab-9087-0645f255978e",
	"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl-planted_1A", "0123456789abcdef0123456789abcdef01234567", "Zm9yZ290dGVuLXNlY3JldC0x_Zm9yZ290dGVu",
}

func spellings(secret string) []string {
	raw := []byte(secret)
	quoted, _ := json.Marshal(secret) // a string cannot fail to encode
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(quoted), `"`), hex.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
}

// unpacked is the bundle by the names of its files.
func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	raw, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	zipped, err := gzip.NewReader(raw)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for tarred := tar.NewReader(zipped); ; {
		header, err := tarred.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(tarred)
		if err != nil {
			t.Fatal(err)
		}
		files[path.Base(header.Name)] = string(text)
	}
}

// secretsOf are all that a server gave out, what the cluster keeps in Secrets, and the link.
func (w *world) secretsOf(t *testing.T, at client.ObjectKey, server *oauthtest.Server) []string {
	t.Helper()
	var all []string
	for _, g := range server.Grants() {
		all = append(all, g.AccessToken, g.RefreshToken)
	}
	for _, c := range server.Clients() {
		all = append(all, c.Secret, c.RegistrationAccessToken)
	}
	conn, err := w.plane.Connection(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if link := conn.Status.AuthorizationURL; link != "" {
		all = append(all, link, path.Base(link))
	}
	var secret corev1.Secret
	if err := w.plane.Client.Get(t.Context(), client.ObjectKey{Namespace: at.Namespace, Name: at.Name + "-token"}, &secret); err == nil {
		for _, key := range []string{v1alpha1.KeyAccessToken, v1alpha1.KeyAuthorization, "config.json"} {
			all = append(all, string(secret.Data[key]))
		}
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
func (w *world) repeat(t *testing.T, at client.ObjectKey, secrets []string) {
	t.Helper()
	conn, err := w.plane.Connection(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	everything := strings.Join(secrets, " and ")
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: at.Namespace, GenerateName: "planted-"},
		InvolvedObject: corev1.ObjectReference{Kind: "MCPConnection", APIVersion: v1alpha1.GroupVersion.String(), Namespace: at.Namespace, Name: at.Name, UID: conn.UID},
		Reason:         "Planted", Message: "Told: " + everything, Type: corev1.EventTypeWarning, LastTimestamp: metav1.Now(), FirstTimestamp: metav1.Now(), Count: 1,
	}
	w.make(t, event)
	log, err := os.OpenFile(w.operator.LogFile, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	for _, line := range []map[string]any{
		{"level": "info", "msg": "told", "connection": at.String(), "everything": everything, "at": conn.Status.AuthorizationURL},
		{"level": "info", "logger": "audit", "msg": "consent", "outcome": "started", "connection": at.String(), "uid": string(conn.UID), "user": "alice@example.test", "client": "198.51.100.77"},
		{"level": "info", "logger": "audit", "msg": "consent", "outcome": "finished", "connection": at.String(), "uid": string(conn.UID), "user": "Planted Person"},
		{"level": "info", "msg": "of another", "connection": at.Namespace + "/another"},
	} {
		if err := json.NewEncoder(log).Encode(line); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReportHoldsNoSecretAndNoLink(t *testing.T) {
	w := start(t)
	for _, consented := range []bool{true, false} {
		t.Run(fmt.Sprintf("consent given is %v", consented), func(t *testing.T) {
			server := oauthtest.New(t)
			name := fmt.Sprintf("hidden-%v", consented)
			at := client.ObjectKey{Namespace: team, Name: name}
			if consented {
				w.ready(t, name, server, hidden(name, server.MCPURL()))
				if _, err := w.plane.Kubectl(t.Context(), "annotate", "mcpc", name, "-n", team, "mcp-connection.dev/challenge=Bearer error=\"insufficient_scope\", scope=\""+"more\", note=\""+planted("challenge")+"\""); err != nil {
					t.Fatal(err)
				}
				if _, err := w.plane.WaitFor(t.Context(), at, patience, "the link of a step-up", func(m *v1alpha1.MCPConnection) bool { return m.Status.AuthorizationURL != "" }); err != nil {
					t.Fatal(err)
				}
			} else {
				w.apply(t, name, hidden(name, server.MCPURL()))
				if _, err := w.plane.WaitCondition(t.Context(), at, patience, "Authorized", "False", "ConsentRequired"); err != nil {
					t.Fatal(err)
				}
			}
			secrets := append(w.secretsOf(t, at, server), plantedSecrets...)
			w.repeat(t, at, secrets)
			if consented && len(secrets) < len(plantedSecrets)+6 {
				t.Fatalf("only %d secrets are known", len(secrets))
			}
			bundle := filepath.Join(t.TempDir(), "bundle.tar.gz")
			out, errOut, code := w.run(t, "", "report", name, "-n", team, "-o", bundle)
			if code != 0 || strings.TrimSpace(out) != bundle {
				t.Fatalf("exit code %d: %s%s", code, out, errOut)
			}
			files := unpacked(t, bundle)
			for _, leak := range leaks(files, secrets) {
				t.Error(leak)
			}
			checkContents(t, files, at, server)
			if info, err := os.Stat(bundle); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the bundle's mode is %v (%v)", info.Mode(), err)
			}
		})
	}
}

// checkContents holds the report to be of use: a bundle without anything in it would hold no secret either.
func checkContents(t *testing.T, files map[string]string, at client.ObjectKey, server *oauthtest.Server) {
	t.Helper()
	for name, parts := range map[string][]string{
		"README.txt":      {"No Secret was read"},
		"connection.yaml": {"name: " + at.Name, "serverURL: " + server.MCPURL() + "?(redacted)", "name: The desk of (redacted)", "uri: https://app.example.test/(redacted)/about", "config.json: (redacted,", "kubectl.kubernetes.io/last-applied-configuration: (redacted,", "authorizationURL: '(redacted", "uid: "},
		"conditions.txt":  {"Discovered   True    Succeeded", "Ready "},
		"events.yaml":     {"reason: Planted", "message: 'Told: "},
		"versions.yaml":   {"plugin: test", "operator: v9.9.9", "kubernetes: v1."},
		"operator.log":    {"# pod " + pod, `"connection":"` + at.String() + `"`, `"user":"(redacted)"`, `"client":"(redacted)"`},
		"doctor.txt":      {"MCPConnection " + at.String(), "What the operator says", "0 failures"},
	} {
		for _, part := range parts {
			if !strings.Contains(files[name], part) {
				t.Errorf("%s lacks %q:\n%s", name, part, files[name])
			}
		}
	}
	if strings.Contains(files["operator.log"], "198.51.100.77") {
		t.Error("operator.log tells from where a person consented")
	}
	if strings.Contains(files["operator.log"], "another") {
		t.Error("operator.log tells of another connection")
	}
}

func TestReportSaysWhatItMayNotRead(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	w.apply(t, "seen", manifest("seen", server.MCPURL()))
	w.create(t, "rolebinding", "reader", "--clusterrole=mcp-connection-mcpconnection-viewer-role", "--user=carol")
	t.Chdir(t.TempDir())
	out, errOut, code := w.run(t, "", "report", "seen", "-n", team, "--as=carol", "--since", time.Hour.String())
	if code != 0 || !strings.HasPrefix(out, "mcpc-report-team-a-seen-") {
		t.Fatalf("exit code %d: %s%s", code, out, errOut)
	}
	files := unpacked(t, strings.TrimSpace(out))
	for name, part := range map[string]string{"events.yaml": "# list events: events is forbidden", "operator.log": "# The operator's pods were not seen."} {
		if !strings.HasPrefix(files[name], part) {
			t.Errorf("%s is %q, want %q", name, files[name], part)
		}
	}
	if _, errOut, code = w.run(t, "", "report", "nobody", "-n", team); code != 1 || !strings.Contains(errOut, `"nobody" not found`) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

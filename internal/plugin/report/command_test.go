package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// connection is what an API server says that knows one connection and nothing else.
const connection = `{"apiVersion":"mcp-connection.dev/v1alpha1","kind":"MCPConnection","metadata":{"namespace":"team-a","name":"files"},"spec":{"serverURL":"http://a.test/mcp"}}`

// run is the verb at an API server that knows one connection; other is called for what else is asked.
func run(ctx context.Context, t *testing.T, output string, other func()) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/mcpconnections/files") {
			_, _ = io.WriteString(w, connection)
			return
		}
		other()
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
	}))
	t.Cleanup(server.Close)
	var out bytes.Buffer
	f := kube.NewFactory(genericiooptions.IOStreams{Out: &out, ErrOut: io.Discard})
	f.Flags.Namespace = new("team-a")
	f.Flags.KubeConfig = new(filepath.Join(t.TempDir(), "config"))
	config := fmt.Sprintf(
		`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x"}}],"clusters":[{"name":"x","cluster":{"server":%q}}]}`, server.URL)
	if err := os.WriteFile(*f.Flags.KubeConfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := Command(f)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"files", "-o", output})
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func TestBundleIsAFileOfItsOwn(t *testing.T) {
	output := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if out, err := run(t.Context(), t, output, func() {}); err != nil || out != output+"\n" {
		t.Fatal(out, err)
	}
	if info, err := os.Stat(output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v (%v)", info, err)
	}
	const kept = "of somebody else"
	if err := os.WriteFile(output, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run(t.Context(), t, output, func() {})
	if err == nil || !strings.Contains(err.Error(), "a file that exists") || !strings.HasSuffix(err.Error(), output) {
		t.Errorf("the error is %v", err)
	}
	if content, err := os.ReadFile(output); err != nil || string(content) != kept {
		t.Errorf("the file holds %q (%v)", content, err)
	}
}

func TestCtrlCWritesNoBundle(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	output := filepath.Join(t.TempDir(), "bundle.tar.gz")
	out, err := run(ctx, t, output, func() { cancel(&kube.SignalError{Signal: syscall.SIGINT}) })
	if kube.ExitCode(err) != 130 || out != "" {
		t.Errorf("%v, and %q was written", err, out)
	}
	if _, err := os.Stat(output); !os.IsNotExist(err) {
		t.Errorf("the bundle was written (%v)", err)
	}
}

// TestNewestLinesOfALogAreRead asks a server that does with a limit what the kubelet does: it ends the log there.
func TestNewestLinesOfALogAreRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, `{"connection":"team-a/files","msg":"oldest"}`)
		if r.URL.Query().Get("limitBytes") == "" && r.URL.Query().Get("sinceSeconds") == "3600" {
			_, _ = fmt.Fprintln(w, `{"connection":"team-a/files","msg":"newest"}`)
		}
	}))
	t.Cleanup(server.Close)
	c, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "pod"}}
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "files"}}
	lines, err := podLines(t.Context(), c, pod, "manager", conn, time.Hour)
	if err != nil || len(lines) != 2 || !strings.Contains(lines[1], "newest") {
		t.Error(lines, err)
	}
}

package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// now is when all of these tests take place.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// cluster is an API server that answers with what a test wrote down, by method and path; 404 to all else.
type cluster map[string]any

func (c cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, ok := c[r.Method+" "+r.URL.Path]
	if !ok {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch answer := answer.(type) {
	case http.HandlerFunc:
		answer(w, r)
	case metav1.Status:
		w.WriteHeader(int(answer.Code))
		_ = json.NewEncoder(w).Encode(answer)
	default:
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// group is where connections are found.
const group = "/apis/mcp-connection.dev/v1alpha1"

// hasty is a clock on which every wait is over at once.
type hasty struct{ *clocktesting.FakeClock }

// After lets the time pass.
func (h hasty) After(d time.Duration) <-chan time.Time {
	h.Step(d)
	passed := make(chan time.Time, 1)
	passed <- h.Now()
	return passed
}

// ran is how a command line ended.
type ran struct {
	out, err string
	code     int
}

// on runs a command line against a cluster. A terminal, if there is one, is what all streams are.
func on(t *testing.T, handler http.Handler, terminal *kube.Terminal, in string, arguments ...string) ran {
	t.Helper()
	return reading(t.Context(), t, handler, terminal, strings.NewReader(in), arguments...)
}

// reading does the same until a context ends.
func reading(ctx context.Context, t *testing.T, handler http.Handler, terminal *kube.Terminal, in io.Reader,
	arguments ...string) ran {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	var out, errOut bytes.Buffer
	f := kube.NewFactory(genericiooptions.IOStreams{In: in, Out: &out, ErrOut: &errOut})
	f.Terminal = terminal
	f.Clock = hasty{clocktesting.NewFakeClock(now)}
	code := plugin.Run(ctx, f, append([]string{"--server", server.URL, "-n", "agents"}, arguments...))
	return ran{out.String(), errOut.String(), code}
}

// offline runs a command line that asks no cluster.
func offline(t *testing.T, arguments ...string) ran {
	t.Helper()
	return on(t, cluster{}, nil, "", arguments...)
}

func (r ran) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(r.out+" "+r.err), " ")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s%s", part, r.out, r.err)
		}
	}
	if r.code != code {
		t.Errorf("exit code %d, want %d:\n%s%s", r.code, code, r.out, r.err)
	}
}

// oneLine checks that an error is one line and shows no place in a source.
func (r ran) oneLine(t *testing.T) {
	t.Helper()
	if strings.Count(r.err, "\n") != 1 || !strings.HasPrefix(r.err, "kubectl mcpc: ") || strings.Contains(r.err, ".go:") {
		t.Errorf("not one line: %q", r.err)
	}
}

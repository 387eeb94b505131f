package consumers

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/volume/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// patience bounds every single wait.
	patience = time.Minute
	// lifetime of tokens: they are refreshed at two thirds of it, and dead at its end.
	lifetime = 24 * time.Second
	// examples are what users copy.
	examples = "../../examples/consumers"
	// namespace of all connections.
	namespace = "team"
)

// world is a cluster with a live operator, and an MCP server whose tokens die.
type world struct {
	plane  *harness.ControlPlane
	auth   *oauthtest.Server
	server *harness.MCPServer
}

// shared is the world of all tests. It is there from the first test that wants it until the last has ended.
var (
	shared *world
	ending []func() error
)

func TestMain(m *testing.M) {
	code := m.Run()
	for i := len(ending) - 1; i >= 0; i-- {
		if err := ending[i](); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func theWorld(t *testing.T) *world {
	t.Helper()
	if err := start(); err != nil {
		t.Fatal(err)
	}
	return shared
}

var start = sync.OnceValue(func() (err error) {
	ctx := context.Background()
	w := &world{}
	if w.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{}); err != nil {
		return err
	}
	ending = append(ending, w.plane.Stop)
	if err = w.plane.Namespace(ctx, namespace); err != nil {
		return err
	}
	if w.server, err = harness.ListenMCPServer(); err != nil {
		return err
	}
	w.auth = oauthtest.Start(oauthtest.Config{Resource: w.server.URL, AccessTokenLifetime: lifetime,
		Scopes: []string{"mcp:read"}})
	w.server.Start(harness.MCPServerOptions{Name: "files", Issuer: w.auth.Issuer(), Scopes: []string{"mcp:read"},
		Verify: harness.TokensOf(w.auth, "user")})
	ending = append(ending, func() error { w.server.Stop(); w.auth.Close(); return nil })
	operator, err := harness.StartOperator(ctx, w.plane)
	if err != nil {
		return err
	}
	ending = append(ending, operator.Stop)
	shared = w
	return nil
})

// exampleServer is the server of the examples.
const exampleServer = "https://mcp.example.com/mcp"

// connect applies the connection of an example under another name, and consents.
func (w *world) connect(t *testing.T, file, name string) *v1alpha1.MCPConnection {
	t.Helper()
	return w.connectTo(t, w.server.URL, file, name)
}

func (w *world) connectTo(t *testing.T, server, file, name string) *v1alpha1.MCPConnection {
	t.Helper()
	source := strings.ReplaceAll(read(t, file), exampleServer, server)
	manifest := regexp.MustCompile(`(?m)^  name: .*$`).ReplaceAllString(source, "  name: "+name)
	must(t, second(w.plane.Apply(t.Context(), namespace, manifest)))
	key := client.ObjectKey{Namespace: namespace, Name: name}
	conn, err := w.plane.WaitFor(t.Context(), key, patience, "a link",
		func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	must(t, err)
	must(t, second(harness.NewBrowser().Consent(t.Context(), conn.Status.AuthorizationURL, harness.Consent{})))
	conn, err = w.plane.WaitCondition(t.Context(), key, patience, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	must(t, err)
	t.Cleanup(func() {
		if err := w.plane.Client.Delete(context.WithoutCancel(t.Context()), conn); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// mount keeps a directory as kubelet keeps the volume of a Secret, by kubelet's own code, only sooner. It returns the
// directory, and how often it was written.
func (w *world) mount(t *testing.T, secretName string) (dir string, versions func() int) {
	t.Helper()
	dir = t.TempDir()
	writer, err := util.NewAtomicWriter(dir, "test")
	must(t, err)
	var mu sync.Mutex
	last, written := "", 0
	sync := func(ctx context.Context) error {
		var secret corev1.Secret
		if err := w.plane.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secretName}, &secret); err != nil ||
			secret.ResourceVersion == last {
			return err
		}
		payload := map[string]util.FileProjection{}
		for key, value := range secret.Data {
			payload[key] = util.FileProjection{Data: value, Mode: 0o644}
		}
		if err := writer.Write(payload, nil); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		last, written = secret.ResourceVersion, written+1
		return nil
	}
	must(t, sync(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ticks := time.Tick(100 * time.Millisecond); ctx.Err() == nil; <-ticks {
			if err := sync(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return dir, func() int { mu.Lock(); defer mu.Unlock(); return written }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second[T any](_ T, err error) error { return err }

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	must(t, err)
	return string(text)
}

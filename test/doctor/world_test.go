package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/golden"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	team       = "team-a"
	deployment = "mcp-connection-controller-manager"
	pod        = deployment + "-7d9f8b6c5d-x2k4z"
	// patience of a wait for the operator.
	patience = time.Minute
)

// world is what all tests share.
type world struct {
	plane    *harness.ControlPlane
	operator *harness.Operator
	kubelet  *httptest.Server
}

var shared *world

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func (w *world) stop() error {
	if w.kubelet != nil {
		w.kubelet.Close()
	}
	if w.operator != nil {
		w.operator.Kill()
	}
	return w.plane.Stop()
}

// start starts the world for the first test that wants it.
func start(t *testing.T) *world {
	t.Helper()
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	return shared
}

var startOnce = sync.OnceValue(func() (err error) {
	ctx := context.Background()
	w := &world{}
	if w.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{}); err != nil {
		return err
	}
	shared = w
	if w.operator, err = harness.StartOperator(ctx, w.plane, "--leader-elect=true"); err != nil {
		return err
	}
	if err := w.plane.Namespace(ctx, team); err != nil {
		return err
	}
	return w.describeOperator(ctx)
})

// describeOperator has the API server tell of the operator, which is a child process here, what it would tell in a cluster: the flags
// in its Deployment, a pod, and a node whose kubelet has the pod's log.
func (w *world) describeOperator(ctx context.Context) error {
	d := &appsv1.Deployment{}
	if err := w.plane.Client.Get(ctx, client.ObjectKey{Namespace: harness.OperatorNamespace, Name: deployment}, d); err != nil {
		return err
	}
	d.Spec.Replicas = ptr.To(int32(1))
	container := &d.Spec.Template.Spec.Containers[0]
	container.Image = "registry.example.test/mcp-connection-operator:v9.9.9"
	container.Args = []string{"--leader-elect", "--external-url=" + w.operator.ExternalURL, "--allow-insecure-http", "--egress-allow-cidrs", "127.0.0.0/8,::1/128"}
	if err := w.plane.Client.Update(ctx, d); err != nil {
		return err
	}
	d.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, UpdatedReplicas: 1, ObservedGeneration: d.Generation}
	if err := w.plane.Client.Status().Update(ctx, d); err != nil {
		return err
	}
	w.kubelet = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containerLogs/"+harness.OperatorNamespace+"/"+pod+"/"+container.Name {
			http.NotFound(rw, r)
			return
		}
		_, _ = fmt.Fprint(rw, w.operator.Log())
	}))
	_, port, err := net.SplitHostPort(w.kubelet.Listener.Addr().String())
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
	if err := w.plane.Client.Create(ctx, node); err != nil {
		return err
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if err := w.plane.Client.Status().Update(ctx, node); err != nil {
		return err
	}
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace, Name: pod, Labels: d.Spec.Template.Labels},
		Spec:       *d.Spec.Template.Spec.DeepCopy(),
	}
	made.Spec.NodeName = node.Name
	return w.plane.Client.Create(ctx, made)
}

// deployment of the operator.
func (w *world) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := w.plane.Client.Get(t.Context(), client.ObjectKey{Namespace: harness.OperatorNamespace, Name: deployment}, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// run is the plugin as main runs it, without a terminal.
func (w *world) run(t *testing.T, stdin string, arguments ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	f := kube.NewFactory(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &o, ErrOut: &e})
	f.Version = "test"
	code = plugin.Run(t.Context(), f, append(arguments, "--kubeconfig", w.plane.Kubeconfig))
	return o.String(), e.String(), code
}

// create makes objects with kubectl create, for as long as the test runs.
func (w *world) create(t *testing.T, kind, name string, flags ...string) {
	t.Helper()
	if _, err := w.plane.Kubectl(t.Context(), append([]string{"create", kind, name, "-n", team}, flags...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.plane.Kubectl(context.WithoutCancel(t.Context()), "delete", kind, name, "-n", team); err != nil {
			t.Error(err)
		}
	})
}

// make makes an object, for as long as the test runs.
func (w *world) make(t *testing.T, object client.Object) {
	t.Helper()
	if err := w.plane.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.plane.Client.Delete(context.WithoutCancel(t.Context()), object); err != nil {
			t.Error(err)
		}
	})
}

// apply applies the manifest of a connection, for as long as the test runs.
func (w *world) apply(t *testing.T, name, manifest string) client.ObjectKey {
	t.Helper()
	w.forget(t, name)
	if _, err := w.plane.Apply(t.Context(), team, manifest); err != nil {
		t.Fatal(err)
	}
	return client.ObjectKey{Namespace: team, Name: name}
}

// forget deletes a connection after the test, and the Secret that it was imported from.
func (w *world) forget(t *testing.T, name string) {
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := w.plane.Kubectl(ctx, "delete", "mcpc/"+name, "secret/"+name+"-import", "-n", team, "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
}

// ready makes a connection that a person consented to.
func (w *world) ready(t *testing.T, name string, server *oauthtest.Server, manifest string) {
	t.Helper()
	at := w.apply(t, name, manifest)
	found, err := w.plane.WaitCondition(t.Context(), at, patience, "Authorized", "False", "ConsentRequired")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := harness.NewBrowser().Consent(t.Context(), found.Status.AuthorizationURL, harness.Consent{Expect: []string{server.MCPURL()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.plane.WaitCondition(t.Context(), at, patience, "Ready", "True", ""); err != nil {
		t.Fatal(err)
	}
}

func manifest(name, serverURL string) string {
	return "apiVersion: mcp-connection.dev/v1alpha1\nkind: MCPConnection\nmetadata:\n  name: " + name + "\nspec:\n  serverURL: " + serverURL + "\n"
}

// compare compares a report with a file. Ports have five digits, whatever they are.
func compare(t *testing.T, name, got string, urls ...string) {
	t.Helper()
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		got = strings.ReplaceAll(got, ":"+u.Port(), ":55555")
	}
	golden.Compare(t, name, got)
}

package tenancy

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/specs"
)

// The namespaces of config/namespaced, and one that the operator must not touch.
const (
	watched   = "team-a"
	unwatched = "elsewhere"
)

// patience bounds every single wait.
const patience = time.Minute

// plane is the API server that all specs share, with config/namespaced applied.
var plane *harness.ControlPlane

func TestSpecs(t *testing.T) { specs.Run(t, "tenancy") }

// A process of its own has a control plane of its own: policies and quotas are the whole cluster's.
var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	var err error
	plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{
		Manifests: "config/namespaced/operator", Audit: true,
		Configure: func(env *envtest.Environment) {
			// ServiceAccount is on as in a cluster, and owner references ask for rights of their own.
			env.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins").
				Set("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
		},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(plane.Stop)
	for _, namespace := range []string{watched, "team-b", unwatched} {
		Expect(plane.Namespace(ctx, namespace)).To(Succeed())
	}
	kubectl(ctx, "apply", "--server-side", "-k", harness.InRepository("config", "namespaced"))
	// The Deployment is back at one replica, though no controller makes a pod of it.
	kubectl(ctx, "scale", "deployment", "--all", "--replicas=0", "-n", harness.OperatorNamespace)
})

// kubectl runs kubectl as administrator.
func kubectl(ctx context.Context, args ...string) {
	GinkgoHelper()
	_, err := plane.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
}

// create creates objects, which are gone when the node that created them has ended.
func create(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(plane.Client.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(plane.Client.Delete(ctx, object)).To(Succeed()) })
	}
}

// await waits until a connection is as the matcher wants it, and returns it.
func await(ctx context.Context, at client.ObjectKey, matcher types.GomegaMatcher) *v1alpha1.MCPConnection {
	GinkgoHelper()
	var last *v1alpha1.MCPConnection
	Eventually(ctx, func(ctx context.Context) (_ *v1alpha1.MCPConnection, err error) {
		last, err = plane.Connection(ctx, at)
		return last, err
	}).Should(matcher)
	return last
}

// awaitGone waits until there is no such connection any more.
func awaitGone(ctx context.Context, at client.ObjectKey) {
	GinkgoHelper()
	Eventually(ctx, func(ctx context.Context) error {
		_, err := plane.Connection(ctx, at)
		return err
	}).Should(MatchError(apierrors.IsNotFound, "not found"))
}

// render is what kustomize makes of a folder of the repository.
func render(t testing.TB, elements ...string) string {
	t.Helper()
	assets, err := harness.Assets(t.Context())
	must(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize",
		harness.InRepository(elements...))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %v: %v: %s", elements, err, said.String())
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

package tenancy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mcp-connection/operator/test/harness"
)

// The namespaces of config/namespaced, and one that the operator must not touch.
const (
	watched   = "team-a"
	unwatched = "elsewhere"
)

// operatorUser is how the API server calls the operator.
const operatorUser = "system:serviceaccount:" + harness.OperatorNamespace + ":" + harness.OperatorServiceAccount

// auditPolicy logs who asked for what, without contents, for the operator only.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["` + operatorUser + `"]
  - level: None
`

// plane is the API server that all tests share, with config/namespaced applied; auditLog is its file.
var (
	plane    *harness.ControlPlane
	auditLog string
)

func TestMain(m *testing.M) {
	code := m.Run()
	if auditLog != "" {
		_ = os.RemoveAll(filepath.Dir(auditLog))
	}
	if plane != nil {
		if err := plane.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// controlPlane starts the API server for the first test that wants it.
func controlPlane(t *testing.T) *harness.ControlPlane {
	t.Helper()
	if err := startOnce(); err != nil {
		t.Fatal(err)
	}
	return plane
}

var startOnce = sync.OnceValue(func() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "mcp-connection-tenancy-")
	if err != nil {
		return err
	}
	auditLog = filepath.Join(dir, "audit.log")
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{
		Manifests: "config/namespaced/operator",
		Configure: func(env *envtest.Environment) {
			// ServiceAccount is on as in a cluster, and owner references ask for rights of their own.
			env.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins").
				Set("enable-admission-plugins", "OwnerReferencesPermissionEnforcement").
				Set("audit-policy-file", policy).Set("audit-log-path", auditLog)
		},
	})
	if err != nil {
		return err
	}
	for _, namespace := range []string{watched, "team-b", unwatched} {
		if err := plane.Namespace(ctx, namespace); err != nil {
			return err
		}
	}
	_, err = plane.Kubectl(ctx, "apply", "--server-side", "-k", inRepository("config", "namespaced"))
	if err == nil { // the Deployment is back at one replica, though no controller makes a pod of it
		_, err = plane.Kubectl(ctx, "scale", "deployment", "--all", "--replicas=0", "-n", harness.OperatorNamespace)
	}
	return err
})

// inRepository is the path of a file or folder of the repository.
func inRepository(elements ...string) string {
	root, err := harness.RepoRoot()
	if err != nil {
		panic(err)
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// render is what kustomize makes of a folder of the repository.
func render(t *testing.T, elements ...string) string {
	t.Helper()
	out, err := controlPlane(t).Kubectl(t.Context(), "kustomize", inRepository(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

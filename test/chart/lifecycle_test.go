package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// name is that of the release, and the namespaces that its values serve.
	name   = "mcp-connection"
	served = "agents"
	other  = "team-a"
)

// firstRelease are the values kept from it.
func firstRelease(t *testing.T) values {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "first-release.yaml"))
	must(t, err)
	given := values{}
	must(t, yaml.Unmarshal(raw, &given))
	return given
}

// copied is the chart in a folder that may be changed.
func copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mcp-connection-operator")
	must(t, os.CopyFS(dir, os.DirFS(chartDir())))
	return dir
}

// older is a copy of the chart whose CRD lacks its short name.
func older(t *testing.T) string {
	t.Helper()
	dir := copied(t)
	file := filepath.Join(dir, "files", "crd.yaml")
	raw, err := os.ReadFile(file)
	must(t, err)
	text := strings.Replace(string(raw), "    shortNames:\n    - mcpc\n", "", 1)
	if text == string(raw) {
		t.Fatal("the CRD has no short name to lack")
	}
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return dir
}

// operatorArgs are those of the Deployment in the cluster.
func operatorArgs(t *testing.T, p *plane) []string {
	t.Helper()
	d := &appsv1.Deployment{}
	must(t, p.Client.Get(t.Context(), client.ObjectKey{Namespace: harness.OperatorNamespace,
		Name: harness.OperatorServiceAccount}, d))
	return d.Spec.Template.Spec.Containers[0].Args
}

// there asks for an object by its name.
func there(t *testing.T, p *plane, o client.Object, namespace, name string) bool {
	t.Helper()
	err := p.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
}

// TestAReleaseComesChangesAndGoesAndNoConnectionIsLost leads a release from the first one's values to its end.
func TestAReleaseComesChangesAndGoesAndNoConnectionIsLost(t *testing.T) {
	p := startPlane(t)
	ctx := t.Context()
	for _, namespace := range []string{served, other} {
		must(t, p.Namespace(ctx, namespace))
	}
	helm := p.helm(t, harness.OperatorNamespace)
	must(t, helm.install(name, older(t), firstRelease(t)))
	if has := p.shortNames(t); len(has) > 0 {
		t.Errorf("the CRD has the short names %v already", has)
	}
	connection := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: served, Name: "c"},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: "https://tools.mcp.test/mcp"}}
	p.create(t, connection)
	operatorWorks(t, p, connection)
	grant := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace, Name: "mcp-connection-" +
		string(connection.UID)}}
	must(t, p.Client.Get(ctx, client.ObjectKeyFromObject(grant), grant)) // the operator made it

	// The first release's values, as --reset-then-reuse-values has it, and two others.
	changed := values{"externalURL": "https://other.test", "replicas": 2,
		"httpRoute": values{"enabled": true, "parentRefs": []any{values{"name": "public"}}}}
	must(t, helm.upgrade(name, chartDir(), changed))
	if !slices.Equal(p.shortNames(t), []string{"mcpc"}) {
		t.Errorf("the upgrade left the CRD as it was, with the short names %v", p.shortNames(t))
	}
	if args := operatorArgs(t, p); !slices.Contains(args, "--external-url=https://other.test") ||
		!slices.Contains(args, "--max-concurrent-reconciles=64") {
		t.Errorf("after the upgrade the operator has %v", args)
	}
	must(t, helm.rollback(name, 1))
	if args := operatorArgs(t, p); !slices.Contains(args, "--external-url=https://connect.test") {
		t.Errorf("after the rollback the operator has %v", args)
	}
	must(t, helm.upgrade(name, chartDir(), changed))

	uninstallIsHeldUp(t, p, helm)
	must(t, helm.uninstall(name, true))
	stays(t, p, grant)
	goesOn(t, p, helm)
}

// uninstallIsHeldUp by the connection, and nothing is gone.
func uninstallIsHeldUp(t *testing.T, p *plane, helm *helmClient) {
	t.Helper()
	said := p.runJobs(t)
	if err := helm.uninstall(name, false); err == nil {
		t.Fatal("it is uninstalled although a connection is left")
	}
	want := "MCPConnections are left (1), and without the operator nobody refreshes or revokes their grants: " +
		"delete them (kubectl delete mcpconnections.mcp-connection.dev --all --namespace agents), " +
		"or leave them to the next installation in the namespace mcp-connection-system: helm uninstall mcp-connection " +
		"--namespace mcp-connection-system --no-hooks\n"
	if got := <-said; got != want {
		t.Errorf("the check says %q, want %q", got, want)
	}
	if !there(t, p, &appsv1.Deployment{}, harness.OperatorNamespace, harness.OperatorServiceAccount) ||
		!there(t, p, &corev1.ServiceAccount{}, harness.OperatorNamespace, harness.OperatorServiceAccount) {
		t.Error("the operator is gone although the check failed")
	}
}

// stays is what an uninstall leaves: the CRD, the connection, and what the next installation goes on with.
func stays(t *testing.T, p *plane, grant *corev1.Secret) {
	t.Helper()
	if there(t, p, &appsv1.Deployment{}, harness.OperatorNamespace, harness.OperatorServiceAccount) {
		t.Error("the operator is not uninstalled")
	}
	if !slices.Equal(p.shortNames(t), []string{"mcpc"}) || !there(t, p, &v1alpha1.MCPConnection{}, served, "c") ||
		!there(t, p, &corev1.Secret{}, grant.Namespace, grant.Name) {
		t.Error("the CRD, the connection or its grant went with the release")
	}
}

// goesOn installs anew over what stayed, and ends all in order.
func goesOn(t *testing.T, p *plane, helm *helmClient) {
	t.Helper()
	must(t, helm.install(name, chartDir(), firstRelease(t)))
	if !there(t, p, &v1alpha1.MCPConnection{}, served, "c") {
		t.Error("the second installation lost the connection")
	}
	p.deleteInOrder(t, &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: served, Name: "c"}})
	said := p.runJobs(t)
	must(t, helm.uninstall(name, false))
	if got := <-said; got != "" {
		t.Errorf("with nothing left the check says %q", got)
	}
	if there(t, p, &batchv1.Job{}, harness.OperatorNamespace, name+"-uninstall-check") {
		t.Error("the check's Job is left behind")
	}
	if len(p.shortNames(t)) != 1 {
		t.Error("the CRD went with the second release")
	}
}

func TestASecondReleaseIsToldWhichWasFirst(t *testing.T) {
	p := startPlane(t)
	first, second := p.helm(t, harness.OperatorNamespace), p.helm(t, "elsewhere")
	must(t, first.install(name, chartDir(), nil))
	t.Cleanup(func() { must(t, first.uninstall(name, true)) })
	err := second.install("another", chartDir(), nil)
	want := "the release mcp-connection in the namespace mcp-connection-system has installed the operator already: " +
		"upgrade that one, or give this one a namePrefix and watchNamespaces of its own, with crds.enabled=false"
	if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("it says %v, want %s", err, want)
	}
	must(t, p.Namespace(t.Context(), other))
	must(t, second.install("another", chartDir(), values{"namePrefix": "another", "watchNamespaces": []any{other},
		"crds": values{"enabled": false}}))
	must(t, second.uninstall("another", true))
}

// patience bounds each wait.
const patience = time.Minute

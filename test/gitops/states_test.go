package gitops

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const (
	kit        = "../../config/gitops"
	customized = kit + "/argocd/mcp-connection.dev/MCPConnection"
	tableFile  = "testdata/table.txt"
	columns    = "%-82s %-11s %-11s %-14s %s\n"
)

// update reports whether files are written anew.
var update = os.Getenv("UPDATE") != ""

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fileMust holds text; UPDATE=1 writes it.
func fileMust(t *testing.T, file, text string) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if old, _ := os.ReadFile(file); string(old) != text {
		t.Errorf("%s is not what is expected; see what differs after: UPDATE=1 go test ./...\n%s", file, text)
	}
}

func objectOf(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	text, err := yaml.YAMLToJSON([]byte(read(t, file)))
	if err == nil {
		err = obj.UnmarshalJSON(text)
	}
	if err != nil {
		t.Fatal(file, err)
	}
	return obj
}

// states are the objects that the operator's own tests write, by the sentence in their first line, and the names of
// their files.
func states(t *testing.T) (names []string, objects map[string]*unstructured.Unstructured, files map[string]string) {
	t.Helper()
	objects, files = map[string]*unstructured.Unstructured{}, map[string]string{}
	found, err := filepath.Glob(customized + "/testdata/*.yaml")
	if err != nil || len(found) < 100 {
		t.Fatalf("there are %d states, %v", len(found), err)
	}
	for _, file := range found {
		first, _, _ := strings.Cut(read(t, file), "\n")
		name := strings.TrimPrefix(first, "# ")
		names = append(names, name)
		objects[name], files[name] = objectOf(t, file), "testdata/"+filepath.Base(file)
	}
	slices.Sort(names)
	return names, objects, files
}

// verdict is what the tools make of an object.
type verdict struct {
	kstatus, flux, fluxAlone string
	argo                     health
}

// judges are the tools with what this repository gives them.
type judges struct {
	script          string
	flux, fluxAlone *cel.StatusEvaluator
}

func newJudges(t *testing.T) *judges {
	t.Helper()
	return &judges{
		script: read(t, customized+"/health.lua"),
		flux:   evaluator(t, "flux"), fluxAlone: evaluator(t, "flux-without-people"),
	}
}

// evaluator is Flux's of the expressions in a folder of the kit.
func evaluator(t *testing.T, folder string) *cel.StatusEvaluator {
	t.Helper()
	for _, obj := range build(t, kit+"/"+folder) {
		if obj.GetName() != "mcp-connections" || obj.GetKind() != "Kustomization" {
			continue
		}
		var k kustomizev1.Kustomization
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &k); err != nil {
			t.Fatal(err)
		}
		if len(k.Spec.HealthCheckExprs) != 1 || k.Spec.HealthCheckExprs[0].APIVersion != v1alpha1.GroupVersion.String() {
			t.Fatalf("the expressions are %+v", k.Spec.HealthCheckExprs)
		}
		if _, err := cel.NewStatusReader(k.Spec.HealthCheckExprs); err != nil {
			t.Fatal(err)
		}
		e, err := cel.NewStatusEvaluator(&k.Spec.HealthCheckExprs[0].HealthCheckExpressions)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatalf("%s has no Kustomization of the connections", folder)
	return nil
}

func (j *judges) judge(ctx context.Context, obj *unstructured.Unstructured) (v verdict, err error) {
	result, err := status.Compute(obj)
	if err != nil {
		return v, err
	}
	v.kstatus = result.Status.String()
	for _, e := range []struct {
		*cel.StatusEvaluator
		says *string
	}{{j.flux, &v.flux}, {j.fluxAlone, &v.fluxAlone}} {
		if result, err = e.Evaluate(ctx, obj); err != nil {
			return v, err
		}
		*e.says = result.Status.String()
	}
	v.argo, err = healthOf(ctx, j.script, obj)
	return v, err
}

// TestEveryStateIsJudgedAsExpected prints the table. A state without a line in it, or with another, fails.
func TestEveryStateIsJudgedAsExpected(t *testing.T) {
	j := newJudges(t)
	names, objects, files := states(t)
	var table, healthTests bytes.Buffer
	fmt.Fprintf(&table, columns, "state", "kstatus", "Flux", "Flux, no wait", "Argo CD")
	healthTests.WriteString("tests:\n")
	for _, name := range names {
		v, err := j.judge(t.Context(), objects[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fmt.Fprintf(&table, columns, name, v.kstatus, v.flux, v.fluxAlone, v.argo.Status)
		byScript, err := scriptHealth(t.Context(), j.script, objects[name]) // Argo CD's test asks the script alone
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		test, err := yaml.Marshal([]map[string]any{{"inputPath": files[name], "healthStatus": byScript}})
		if err != nil {
			t.Fatal(err)
		}
		healthTests.Write(test)
		for _, broken := range laws(objects[name], v) {
			t.Errorf("%s: %s: %+v", name, broken, v)
		}
	}
	t.Logf("\n%s", table.String())
	fileMust(t, tableFile, table.String())
	fileMust(t, customized+"/health_test.yaml", healthTests.String())
}

// laws are what is asked of every verdict; it returns those that are broken.
func laws(obj *unstructured.Unstructured, v verdict) (broken []string) {
	var conn v1alpha1.MCPConnection
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &conn); err != nil {
		return []string{err.Error()}
	}
	must := func(holds bool, law string) {
		if !holds {
			broken = append(broken, law)
		}
	}
	ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady)
	stalled := meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionStalled)
	link := conn.Status.AuthorizationURL != ""
	inProgress, failed, current := status.InProgressStatus.String(), status.FailedStatus.String(),
		status.CurrentStatus.String()
	switch {
	case conn.DeletionTimestamp != nil:
		must(v.argo.Status == "Progressing" && v.kstatus == status.TerminatingStatus.String(),
			"what is being deleted is on its way")
	case ready == nil || conn.Status.ObservedGeneration != conn.Generation:
		must(v.argo.Status == "Progressing" && v.flux == inProgress && v.fluxAlone == inProgress && v.kstatus == inProgress,
			"what was not seen is in progress")
	case ready.Status == "True":
		must(v.argo.Status == "Healthy" && v.flux == current && v.fluxAlone == current && v.kstatus == current,
			"a valid token is enough")
	case link:
		must(v.argo.Status == "Suspended" && v.flux == inProgress && v.fluxAlone == current,
			"a link without a valid token waits for a person")
	case stalled:
		must(v.argo.Status == "Degraded" && v.flux == failed && v.fluxAlone == failed && v.kstatus == failed,
			"where only an edit helps, that is said")
	case ready.Reason == v1alpha1.ReasonSuspended:
		must(v.argo.Status == "Suspended" && v.flux == current && v.fluxAlone == current,
			"a suspended connection holds back nothing")
	case ready.Reason == v1alpha1.ReasonTokenExpired:
		must(v.argo.Status == "Degraded" && v.flux == inProgress && v.fluxAlone == inProgress, "an expired token is bad")
	default:
		must(v.argo.Status == "Progressing" && v.flux == inProgress && v.fluxAlone == inProgress && v.kstatus == inProgress,
			"what is retried is in progress")
	}
	must(v.argo.Message != "", "a person is told why")
	must(!link || !strings.Contains(v.argo.Message, conn.Status.AuthorizationURL), "no message holds the link")
	return broken
}

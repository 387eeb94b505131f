package argocd

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	kit        = "../../../config/gitops/argocd"
	customized = kit + "/mcp-connection.dev/MCPConnection"
)

// overrides is what Argo CD makes of the kit's argocd-cm.
func overrides(t *testing.T) map[string]appv1.ResourceOverride {
	t.Helper()
	var cm corev1.ConfigMap
	read(t, kit+"/argocd-cm.yaml", &cm)
	const kind = "mcp-connection.dev_MCPConnection"
	return map[string]appv1.ResourceOverride{"mcp-connection.dev/MCPConnection": {
		HealthLua: cm.Data["resource.customizations.health."+kind],
		Actions:   cm.Data["resource.customizations.actions."+kind],
	}}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(file, err)
	}
}

func object(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	read(t, file, &obj.Object)
	return obj
}

func TestHealthIsAsHealthTestSays(t *testing.T) {
	var tests struct {
		Tests []struct {
			InputPath    string              `json:"inputPath"`
			HealthStatus health.HealthStatus `json:"healthStatus"`
		} `json:"tests"`
	}
	read(t, customized+"/health_test.yaml", &tests)
	if len(tests.Tests) < 100 {
		t.Fatalf("there are %d states", len(tests.Tests))
	}
	scripts := lua.ResourceHealthOverrides(overrides(t))
	for _, test := range tests.Tests {
		obj := object(t, customized+"/"+test.InputPath)
		got, err := scripts.GetResourceHealth(obj)
		if err != nil || *got != test.HealthStatus {
			t.Errorf("%s is %+v, %v, not %+v", test.InputPath, got, err, test.HealthStatus)
		}
		got, err = health.GetResourceHealth(obj, scripts)
		if deleted := obj.GetDeletionTimestamp() != nil; err != nil || deleted &&
			got.Status != health.HealthStatusProgressing || !deleted && *got != test.HealthStatus {
			t.Errorf("%s is shown as %+v, %v", test.InputPath, got, err)
		}
	}
}

// requestTime is the only thing in which two results of an action differ.
var requestTime = regexp.MustCompile(`argocd-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

func TestActionsAreAsActionTestSays(t *testing.T) {
	var tests struct {
		DiscoveryTests []struct {
			InputPath string                 `json:"inputPath"`
			Result    []appv1.ResourceAction `json:"result"`
		} `json:"discoveryTests"`
		ActionTests []struct{ Action, InputPath, ExpectedOutputPath string } `json:"actionTests"`
	}
	dir := customized + "/actions"
	read(t, dir+"/action_test.yaml", &tests)
	vm := lua.VM{ResourceOverrides: overrides(t)}
	offered := map[string]bool{}
	for _, test := range tests.DiscoveryTests {
		obj := object(t, dir+"/"+test.InputPath)
		scripts, err := vm.GetResourceActionDiscovery(obj)
		if err != nil {
			t.Fatal(err)
		}
		got, err := vm.ExecuteResourceActionDiscovery(obj, scripts)
		if err != nil {
			t.Fatal(err)
		}
		disabled := map[string]bool{}
		for _, action := range got {
			disabled[action.Name] = action.Disabled
			offered[action.Name] = true
		}
		for _, want := range test.Result {
			if is, there := disabled[want.Name]; !there || is != want.Disabled || len(got) != len(test.Result) {
				t.Errorf("%s offers %+v", test.InputPath, got)
			}
		}
	}
	for _, test := range tests.ActionTests {
		delete(offered, test.Action)
		obj := object(t, dir+"/"+test.InputPath)
		definition, err := vm.GetResourceAction(obj, test.Action)
		if err != nil {
			t.Fatal(err)
		}
		got, err := vm.ExecuteResourceAction(obj, definition.ActionLua, nil)
		if err != nil || len(got) != 1 || got[0].K8SOperation != lua.PatchOperation {
			t.Fatalf("%s ends with %+v, %v", test.Action, got, err)
		}
		if text, want := written(t, got[0].UnstructuredObj),
			written(t, object(t, dir+"/"+test.ExpectedOutputPath)); text != want {
			t.Errorf("%s makes\n%s\nnot\n%s", test.Action, text, want)
		}
	}
	if len(offered) > 0 {
		t.Errorf("no test runs %v", offered)
	}
}

func written(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	text, err := yaml.Marshal(obj.Object)
	if err != nil {
		t.Fatal(err)
	}
	return requestTime.ReplaceAllString(string(text), "argocd-2026-03-01T12:00:00Z")
}

// TestNoDifferenceIsToBeIgnored compares what Git says with each state: Argo CD calls none of them OutOfSync.
func TestNoDifferenceIsToBeIgnored(t *testing.T) {
	states, err := filepath.Glob(customized + "/testdata/*.yaml")
	if err != nil || len(states) < 100 {
		t.Fatalf("there are %d states, %v", len(states), err)
	}
	for _, file := range states {
		live := object(t, file)
		git := &unstructured.Unstructured{Object: map[string]any{"spec": live.DeepCopy().Object["spec"]}}
		git.SetGroupVersionKind(live.GroupVersionKind())
		git.SetName(live.GetName())
		git.SetNamespace(live.GetNamespace())
		result, err := diff.Diff(git, live)
		if err != nil || result.Modified {
			t.Errorf("%s is OutOfSync, %v:\n%s\n%s", file, err, result.NormalizedLive, result.PredictedLive)
		}
	}
	edited := object(t, customized+"/testdata/all-is-well.yaml")
	git := edited.DeepCopy()
	delete(git.Object, "status")
	if err := unstructured.SetNestedField(git.Object, true, "spec", "suspend"); err != nil {
		t.Fatal(err)
	}
	if result, err := diff.Diff(git, edited); err != nil || !result.Modified {
		t.Errorf("an edit is no difference, %v", err)
	}
}

package gitops

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// action is one of Argo CD's resource actions, as its discovery shows it.
type action struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled,omitempty"`
}

// actionTests has the structure of Argo CD's action_test.yaml.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string   `json:"inputPath"`
		Result    []action `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

// requestTime is the only thing in which two results of an action differ.
var requestTime = regexp.MustCompile(`"argocd-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"`)

func TestActionsDoAsActionTestSays(t *testing.T) {
	dir := customized + "/actions"
	var tests actionTests
	if err := yaml.UnmarshalStrict([]byte(read(t, dir+"/action_test.yaml")), &tests); err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, test := range tests.DiscoveryTests {
		if got, want := discovered(t, objectOf(t, filepath.Join(dir, test.InputPath))), sorted(test.Result); !slices.Equal(got, want) {
			t.Errorf("%s offers %+v, not %+v", test.InputPath, got, want)
		}
	}
	for _, test := range tests.ActionTests {
		tested[test.Action] = true
		before := objectOf(t, filepath.Join(dir, test.InputPath))
		got := asJSON(t, run(t, read(t, dir+"/"+test.Action+"/action.lua"), before))
		if found := requestTime.FindStringSubmatch(got); found != nil {
			if at, err := time.Parse(time.RFC3339, found[1]); err != nil || time.Since(at).Abs() > time.Hour {
				t.Errorf("%s is at %s, %v", test.Action, at, err)
			}
		}
		want := asJSON(t, objectOf(t, filepath.Join(dir, test.ExpectedOutputPath)).Object)
		if normal := requestTime.ReplaceAllString(got, `"argocd-2026-03-01T12:00:00Z"`); normal != want {
			t.Errorf("%s makes of %s\n%s\nnot\n%s", test.Action, test.InputPath, normal, want)
		}
	}
	for _, a := range discovered(t, objectOf(t, customized+"/testdata/all-is-well.yaml")) {
		if !tested[a.Name] {
			t.Errorf("no test runs the action %s", a.Name)
		}
	}
}

// TestARequestOfAnActionIsOneThatTheOperatorKnows keeps names and bounds of the annotations right.
func TestARequestOfAnActionIsOneThatTheOperatorKnows(t *testing.T) {
	for name, annotation := range map[string]string{
		"refresh": v1alpha1.AnnotationRefresh, "reauthorize": v1alpha1.AnnotationReauthorize, "revoke": v1alpha1.AnnotationRevoke,
	} {
		out, _ := run(t, read(t, customized+"/actions/"+name+"/action.lua"), objectOf(t, customized+"/testdata/all-is-well.yaml")).(map[string]any)
		value, found, err := unstructured.NestedString(out, "metadata", "annotations", annotation)
		if err != nil || !found || value == "" || len(value) > 128 {
			t.Errorf("%s sets %q, %v", name, value, err)
		}
	}
}

func discovered(t *testing.T, obj *unstructured.Unstructured) []action {
	t.Helper()
	out, ok := run(t, read(t, customized+"/actions/discovery.lua"), obj).(map[string]any)
	if !ok {
		t.Fatal("the discovery returns a list")
	}
	var actions []action
	for name, fields := range out {
		disabled, _ := fields.(map[string]any)["disabled"].(bool)
		actions = append(actions, action{name, disabled})
	}
	return sorted(actions)
}

func sorted(actions []action) []action {
	slices.SortFunc(actions, func(a, b action) int { return strings.Compare(a.Name, b.Name) })
	return actions
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheConfigMapIsMadeOfTheScripts: argocd-cm.yaml has the same scripts as the folder.
func TestTheConfigMapIsMadeOfTheScripts(t *testing.T) {
	const kind = "mcp-connection.dev_MCPConnection"
	found, err := filepath.Glob(customized + "/actions/*/action.lua")
	if err != nil || len(found) != 5 {
		t.Fatalf("there are %d actions, %v", len(found), err)
	}
	var actions strings.Builder
	fmt.Fprintf(&actions, "discovery.lua: |\n%sdefinitions:\n", indented(read(t, customized+"/actions/discovery.lua"), "  "))
	for _, file := range found {
		fmt.Fprintf(&actions, "- name: %s\n  action.lua: |\n%s", filepath.Base(filepath.Dir(file)), indented(read(t, file), "    "))
	}
	var cm strings.Builder
	cm.WriteString("# Made of the scripts in mcp-connection.dev/MCPConnection by the tests in test/gitops.\n")
	cm.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\ndata:\n")
	fmt.Fprintf(&cm, "  resource.customizations.health.%s: |\n%s", kind, indented(read(t, customized+"/health.lua"), "    "))
	fmt.Fprintf(&cm, "  resource.customizations.actions.%s: |\n%s", kind, indented(actions.String(), "    "))
	fileMust(t, kit+"/argocd/argocd-cm.yaml", cm.String())

	data := configMap(t, "argocd-cm")
	if data["resource.customizations.health."+kind] != read(t, customized+"/health.lua") {
		t.Error("the ConfigMap has another health script")
	}
	var parsed struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name string `json:"name"`
			Lua  string `json:"action.lua"`
		} `json:"definitions"`
	}
	if err := yaml.UnmarshalStrict([]byte(data["resource.customizations.actions."+kind]), &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.Discovery != read(t, customized+"/actions/discovery.lua") || len(parsed.Definitions) != len(found) {
		t.Errorf("the ConfigMap has %+v", parsed)
	}
	for _, d := range parsed.Definitions {
		if d.Lua != read(t, customized+"/actions/"+d.Name+"/action.lua") {
			t.Errorf("the ConfigMap has another action %s", d.Name)
		}
	}
}

func indented(text, by string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			out.WriteString(by)
		}
		out.WriteString(line)
	}
	return out.String()
}

// configMap is the data of a ConfigMap of the kit for Argo CD.
func configMap(t *testing.T, name string) map[string]string {
	t.Helper()
	for _, obj := range build(t, kit+"/argocd") {
		if obj.GetKind() == "ConfigMap" && obj.GetName() == name && obj.GetNamespace() == "argocd" {
			data, _, err := unstructured.NestedStringMap(obj.Object, "data")
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("the kit has no ConfigMap %s", name)
	return nil
}

// TestTheKitHasWhatArgoCDWalks: Argo CD's tests find the tests by these names.
func TestTheKitHasWhatArgoCDWalks(t *testing.T) {
	var found []string
	err := filepath.WalkDir(kit+"/argocd/mcp-connection.dev", func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.Contains(path, "testdata") {
			path, err = filepath.Rel(kit+"/argocd", path)
			found = append(found, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, file := range []string{
		"health.lua", "health_test.yaml", "actions/discovery.lua", "actions/action_test.yaml", "actions/refresh/action.lua",
		"actions/reauthorize/action.lua", "actions/revoke/action.lua", "actions/suspend/action.lua", "actions/resume/action.lua",
	} {
		want["mcp-connection.dev/MCPConnection/"+file] = true
	}
	got := map[string]bool{}
	for _, file := range found {
		got[file] = true
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the folder has %v", slices.Sorted(maps.Keys(got)))
	}
}

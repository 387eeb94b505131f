package gitops

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// TestARequestOfAnActionIsOneThatTheOperatorKnows keeps names and bounds of the annotations right.
func TestARequestOfAnActionIsOneThatTheOperatorKnows(t *testing.T) {
	for name, annotation := range map[string]string{
		"refresh": v1alpha1.AnnotationRefresh, "reauthorize": v1alpha1.AnnotationReauthorize,
		"revoke": v1alpha1.AnnotationRevoke,
	} {
		out, _ := run(t, read(t, customized+"/actions/"+name+"/action.lua"),
			objectOf(t, customized+"/testdata/all-is-well.yaml")).(map[string]any)
		value, found, err := unstructured.NestedString(out, "metadata", "annotations", annotation)
		if err != nil || !found || value == "" || len(value) > 128 {
			t.Errorf("%s sets %q, %v", name, value, err)
		}
	}
}

// TestTheConfigMapIsMadeOfTheScripts: argocd-cm.yaml has the same scripts as the folder.
func TestTheConfigMapIsMadeOfTheScripts(t *testing.T) {
	const kind = "mcp-connection.dev_MCPConnection"
	found, err := filepath.Glob(customized + "/actions/*/action.lua")
	if err != nil || len(found) != 5 {
		t.Fatalf("there are %d actions, %v", len(found), err)
	}
	var actions strings.Builder
	fmt.Fprintf(&actions, "discovery.lua: |\n%sdefinitions:\n", indented(read(t, customized+"/actions/discovery.lua"),
		"  "))
	for _, file := range found {
		fmt.Fprintf(&actions, "- name: %s\n  action.lua: |\n%s", filepath.Base(filepath.Dir(file)),
			indented(read(t, file), "    "))
	}
	var cm strings.Builder
	cm.WriteString("# Made of the scripts in mcp-connection.dev/MCPConnection by the tests in test/gitops.\n")
	cm.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\ndata:\n")
	fmt.Fprintf(&cm, "  resource.customizations.health.%s: |\n%s", kind,
		indented(read(t, customized+"/health.lua"), "    "))
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

// besideArgoCD applies the kit by the command that it names, where Argo CD was installed by kubectl, and keeps the
// label by which Argo CD finds its ConfigMap.
func besideArgoCD(t *testing.T, plane *harness.ControlPlane) {
	t.Helper()
	command := regexp.MustCompile(`kubectl (apply .*) -k config/gitops/argocd`).FindStringSubmatch(
		read(t, kit+"/argocd/kustomization.yaml"))
	if command == nil {
		t.Fatal("the kit names no command")
	}
	const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\n  labels: " +
		"{app.kubernetes.io/part-of: argocd}\n"
	install := filepath.Join(t.TempDir(), "argocd-cm.yaml")
	err := errors.Join(os.WriteFile(install, []byte(cm), 0o600), plane.Namespace(t.Context(), "argocd"))
	for _, args := range [][]string{{"apply", "--server-side", "-f", install},
		append(strings.Fields(command[1]), "-k", kit+"/argocd")} {
		if err == nil {
			_, err = plane.Kubectl(t.Context(), args...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var live corev1.ConfigMap
	if err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: "argocd", Name: "argocd-cm"}, &live); err != nil {
		t.Fatal(err)
	}
	if live.Labels["app.kubernetes.io/part-of"] != "argocd" || len(live.Data) != 2 {
		t.Errorf("after the kit's command the ConfigMap has the labels %v and %d entries", live.Labels, len(live.Data))
	}
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
		"actions/reauthorize/action.lua", "actions/revoke/action.lua", "actions/suspend/action.lua",
		"actions/resume/action.lua",
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

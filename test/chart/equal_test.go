package chart

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

// addedLabels are on every object of a release, and of those in config not on all.
var addedLabels = []string{"helm.sh/chart", "app.kubernetes.io/name", "app.kubernetes.io/instance",
	"app.kubernetes.io/version", "app.kubernetes.io/managed-by"}

// differences are objects that only one side has, with the reason.
var differences = map[string]string{
	"Namespace/mcp-connection-system": "helm install --create-namespace makes it, " +
		"or it is there",
	"Job/mcp-connection-system/mcp-connection-uninstall-check":     "only Helm has hooks",
	"ValidatingAdmissionPolicy/mcp-connection-server-hosts":        "compared apart: its lists are values",
	"ValidatingAdmissionPolicyBinding/mcp-connection-server-hosts": "belongs to it",
}

// keep is what only the chart says of the CRD: it stays when the release goes.
const keep = "helm.sh/resource-policy"

// normalised is an object without what Helm adds.
func normalised(o *object) map[string]any {
	c := o.DeepCopy()
	labels := c.GetLabels()
	for _, name := range addedLabels {
		delete(labels, name)
	}
	annotations := c.GetAnnotations()
	if c.GetKind() == "CustomResourceDefinition" {
		delete(annotations, keep)
	}
	c.SetLabels(labels)
	c.SetAnnotations(annotations)
	for field, left := range map[string]int{"labels": len(labels), "annotations": len(annotations)} {
		if left == 0 {
			unstructured.RemoveNestedField(c.Object, "metadata", field)
		}
	}
	return c.Object
}

// sameObjects compares object by object.
func sameObjects(t *testing.T, ours, theirs map[string]*object) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		switch {
		case differences[name] != "":
		case ours[name] == nil:
			t.Errorf("the chart lacks %s", name)
		case !reflect.DeepEqual(normalised(ours[name]), normalised(theirs[name])):
			t.Errorf("%s differs: the chart has\n%s\nconfig has\n%s", name, text(normalised(ours[name])),
				text(normalised(theirs[name])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if theirs[name] == nil && differences[name] == "" {
			t.Errorf("only the chart has %s", name)
		}
	}
}

func text(o map[string]any) string {
	raw, err := yaml.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func TestTheDefaultsAreThoseOfConfigDefault(t *testing.T) {
	ours := template(t, nil)
	sameObjects(t, ours, kustomize(t, harness.InRepository("config", "default")))
	if got := ours["CustomResourceDefinition/mcpconnections.mcp-connection.dev"].GetAnnotations()[keep]; got != "keep" {
		t.Errorf("the CRD goes with the release: %s is %q", keep, got)
	}
}

func TestNamespacesThatAreNamedAreServedAsByConfigNamespaced(t *testing.T) {
	ours := template(t, values{"watchNamespaces": []any{"team-a", "team-b"}})
	sameObjects(t, ours, kustomize(t, harness.InRepository("config", "namespaced")))
}

// TestNamespacesThatAreNamedTakeTheRightToOtherSecretsAway asks the rules themselves, whatever the roles are called.
func TestNamespacesThatAreNamedTakeTheRightToOtherSecretsAway(t *testing.T) {
	for _, o := range template(t, values{"watchNamespaces": []any{"team-a"}, "policies": values{"references": false}}) {
		if o.GetKind() != "ClusterRole" {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
		for _, rule := range rules {
			groups, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "apiGroups")
			resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
			if slices.Contains(groups, "") || slices.Contains(groups, "*") || slices.Contains(resources, "secrets") ||
				slices.Contains(resources, "*") {
				t.Errorf("the ClusterRole %s has %v", o.GetName(), rule)
			}
		}
	}
}

func TestALocalTryIsAFlagMore(t *testing.T) {
	sameObjects(t, template(t, values{"externalURL": "http://localhost:8082"}),
		kustomize(t, harness.InRepository("config", "local")))
}

func TestWhatConfigOffersBesidesIsTheSameByValue(t *testing.T) {
	on := values{"enabled": true}
	given := values{"networkPolicy": on, "metrics": values{"serviceMonitor": on, "rules": on, "dashboard": on}}
	theirs := kustomize(t, overlay(t, "config/network-policy", "config/prometheus"))
	maps.Copy(theirs, kustomize(t, harness.InRepository("config", "default")))
	for _, dashboard := range kustomize(t, harness.InRepository("config", "grafana")) {
		dashboard.SetNamespace(harness.OperatorNamespace) // kustomize leaves it to kubectl apply -n
		theirs[id(dashboard)] = dashboard
	}
	sameObjects(t, template(t, given), theirs)

	given = values{"policies": values{"references": true, "compatibility": true,
		"serverHosts": values{"enabled": true, "allowed": []any{"mcp.test"}}}}
	theirs = kustomize(t, harness.InRepository("config", "policies"))
	maps.Copy(theirs, kustomize(t, harness.InRepository("config", "default")))
	sameObjects(t, template(t, given), theirs)
}

func TestAllowedHostsAreAllThatIsReplacedInTheirPolicy(t *testing.T) {
	const name = "ValidatingAdmissionPolicy/mcp-connection-server-hosts"
	theirs := text(normalised(kustomize(t, harness.InRepository("config", "policies"))[name]))
	ours := text(normalised(template(t, values{"policies": values{"serverHosts": values{
		"enabled": true, "allowed": []any{"mcp.test", ".tools.test"}, "allowedIssuers": []any{"auth.test"},
	}}})[name]))
	want := strings.NewReplacer("[''mcp.example.com'', ''.mcp.example.net'']", "[''mcp.test'',''.tools.test'']",
		"[''auth.example.com'', ''.auth.example.net'']", "[''auth.test'']").Replace(theirs)
	if ours != want {
		t.Errorf("the chart has\n%s\nwant\n%s", ours, want)
	}
}

// TestANamePrefixIsInEachName, so that nothing of a second installation is the first one's.
func TestANamePrefixIsInEachName(t *testing.T) {
	everything := values{
		"namePrefix": "second", "replicas": 2, "externalURL": "https://connect.test", "watchNamespaces": []any{"team-a"},
		"crds": values{"enabled": false}, "ingress": values{"enabled": true},
		"httpRoute":     values{"enabled": true, "parentRefs": []any{values{"name": "public"}}},
		"networkPolicy": values{"enabled": true}, "metrics": values{"serviceMonitor": values{"enabled": true}},
		"policies": values{"references": true, "compatibility": true,
			"serverHosts": values{"enabled": true, "allowed": []any{"mcp.test"}}},
	}
	objects := template(t, everything)
	for name, o := range objects {
		if !strings.HasPrefix(o.GetName(), "second-") ||
			strings.Contains(text(o.Object), "mcp-connection-controller-manager") {
			t.Errorf("%s is named like one of another installation, or names one", name)
		}
	}
	if objects["ClusterRole/second-metrics-auth-role"] == nil {
		t.Error("nothing is there")
	}
}

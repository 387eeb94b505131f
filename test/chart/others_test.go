package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// TestKindsOfOthersHaveTheFieldsThatTheirOwnersKnow decodes them strictly.
func TestKindsOfOthersHaveTheFieldsThatTheirOwnersKnow(t *testing.T) {
	found := values{"release": "prometheus"}
	given := values{
		"externalURL": "https://connect.test",
		"metrics": values{"serviceMonitor": values{"enabled": true, "interval": "30s", "labels": found},
			"rules": values{"enabled": true, "labels": found}},
		"httpRoute": values{"enabled": true, "parentRefs": []any{values{"name": "public", "namespace": "gateways",
			"sectionName": "https"}}},
	}
	kinds := map[string]any{"HTTPRoute": &gatewayv1.HTTPRoute{}, "ServiceMonitor": &monitoringv1.ServiceMonitor{},
		"PrometheusRule": &monitoringv1.PrometheusRule{}}
	for _, o := range template(t, given) {
		kind := kinds[o.GetKind()]
		if kind == nil {
			continue
		}
		delete(kinds, o.GetKind())
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, kind, true); err != nil {
			t.Errorf("%s: %v", id(o), err)
		}
		if strings.HasPrefix(o.GetAPIVersion(), "monitoring.") && o.GetLabels()["release"] != "prometheus" {
			t.Errorf("%s lacks the label by which it is found: %v", id(o), o.GetLabels())
		}
	}
	if len(kinds) > 0 {
		t.Errorf("not rendered: %v", kinds)
	}
}

// TestRulesAndTheDashboardAreShippedAsTheyAre, with all that looks like a template to Helm.
func TestRulesAndTheDashboardAreShippedAsTheyAre(t *testing.T) {
	const (
		summary   = "{{ $labels.namespace }}/{{ $labels.name }} is not {{ .Ready }}"
		dashboard = "{\"title\": \"{{ name }} of $namespace\",\n  \"panels\": []}\n"
		rules     = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: alerts}\n" +
			"spec: {groups: [{name: g, rules: [{alert: A, expr: up == 0, annotations: {summary: '" + summary + "'}}]}]}\n"
	)
	dir := copied(t)
	given := values{"metrics": values{"rules": values{"enabled": true},
		"dashboard": values{"enabled": true, "annotations": values{"folder": "MCP"}}}}
	for file, content := range map[string]string{"rules.yaml": rules, "dashboard.json": dashboard} {
		must(t, os.RemoveAll(filepath.Join(dir, "files", file)))
		if _, err := dryRun(t, dir, given); err == nil || !strings.Contains(err.Error(), "this chart holds no files/") {
			t.Errorf("without %s it says %v", file, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "files", file), []byte(content), 0o600))
	}
	objects := templateOf(t, dir, given)
	if got := text(objects["PrometheusRule/mcp-connection-system/mcp-connection-alerts"].Object); !strings.Contains(got,
		summary) {
		t.Errorf("the rules are\n%s", got)
	}
	board := objects["ConfigMap/mcp-connection-system/mcp-connection-dashboard"]
	got, _, err := unstructured.NestedString(board.Object, "data", "mcp-connections.json")
	if must(t, err); got != dashboard || board.GetLabels()["grafana_dashboard"] != "1" ||
		board.GetAnnotations()["folder"] != "MCP" {
		t.Errorf("the dashboard is\n%s\nof %v", got, board.Object["metadata"])
	}
}

// httpRouteCRD is the file with which the Gateway API serves HTTPRoute.
func httpRouteCRD() (string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	return filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard",
		"gateway.networking.k8s.io_httproutes.yaml"), err
}

package alerts

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

const pages = "https://github.com/mcp-connection/operator/blob/main/docs/runbooks/"

// ruleFile is the PrometheusRule as a rule file, which is what Prometheus is given.
func ruleFile(t *testing.T) []byte {
	t.Helper()
	var object struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       struct {
			Groups []any `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, inRepository("config", "prometheus", "rules.yaml"))), &object); err != nil {
		t.Fatal(err)
	}
	if object.APIVersion != "monitoring.coreos.com/v1" || object.Kind != "PrometheusRule" {
		t.Fatalf("it is a %s of %s", object.Kind, object.APIVersion)
	}
	text, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func alertRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(ruleFile(t), false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

func TestEachRuleSaysWhatAPersonNeeds(t *testing.T) {
	v := known(t)
	seen := map[string]bool{}
	for _, rule := range alertRules(t) {
		if !strings.HasPrefix(rule.Alert, "MCPConnection") || seen[rule.Alert] {
			t.Errorf("%q is no name for an alert, or not the first of that name", rule.Alert)
		}
		seen[rule.Alert] = true
		for _, wrong := range v.check(rule.Expr) {
			t.Errorf("%s: %s", rule.Alert, wrong)
		}
		if severity := rule.Labels["severity"]; len(rule.Labels) != 1 || severity != "warning" && severity != "critical" {
			t.Errorf("%s has the labels %v, want a severity", rule.Alert, rule.Labels)
		}
		if got := sorted(rule.Annotations); !slices.Equal(got, []string{"description", "runbook_url", "summary"}) {
			t.Errorf("%s has the annotations %v", rule.Alert, got)
		}
		if got, want := rule.Annotations["runbook_url"], pages+rule.Alert+".md"; got != want {
			t.Errorf("%s leads to %s, want %s", rule.Alert, got, want)
		}
		if rule.For == 0 {
			t.Errorf("%s fires at the first look", rule.Alert)
		}
	}
}

func TestEachAlertHasARunbookAndEachRunbookAnAlert(t *testing.T) {
	folder := inRepository("docs", "runbooks")
	var alerts []string
	index := read(t, filepath.Join(folder, "README.md"))
	for _, rule := range alertRules(t) {
		alerts = append(alerts, rule.Alert)
		if row := "| [" + rule.Alert + "](" + rule.Alert + ".md) | " + rule.Labels["severity"] + " |"; !strings.Contains(index, row) {
			t.Errorf("the index has no row %s", row)
		}
	}
	slices.Sort(alerts)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if entry.Name() != "README.md" {
			found = append(found, strings.TrimSuffix(entry.Name(), ".md"))
		}
	}
	if !slices.Equal(alerts, found) {
		t.Errorf("alerts %v, and pages %v", alerts, found)
	}
	inOrder := regexp.MustCompile("(?s)^# (\\w+)\n\n\\*\\*Means\\*\\*: .+\n\n\\*\\*Who is hurt, and when\\*\\*: .+\n\n## What to do\n\n1\\. .+```sh\n +kubectl ")
	for _, name := range found {
		if m := inOrder.FindStringSubmatch(read(t, filepath.Join(folder, name+".md"))); m == nil || m[1] != name {
			t.Errorf("%s.md does not say what it means, who is hurt, and what to do, in order", name)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
)

const pages = "https://github.com/mcp-connection/operator/blob/main/docs/runbooks/"

func theRuleFile(t *testing.T) []byte {
	t.Helper()
	text, err := ruleFile(inRepository("config", "prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func alertRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	all, err := parse(theRuleFile(t))
	if err != nil {
		t.Fatal(err)
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
		if row := "| [" + rule.Alert + "](" + rule.Alert + ".md) | " + rule.Labels["severity"] +
			" |"; !strings.Contains(index, row) {
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
	inOrder := regexp.MustCompile("(?s)^# (\\w+)\n\n\\*\\*Means\\*\\*: .+\n\n\\*\\*Who is hurt, and when\\*\\*: " +
		".+\n\n## What to do\n\n1\\. .+```sh\n +kubectl ")
	for _, name := range found {
		if m := inOrder.FindStringSubmatch(read(t, filepath.Join(folder, name+".md"))); m == nil || m[1] != name {
			t.Errorf("%s.md does not say what it means, who is hurt, and what to do, in order", name)
		}
	}
}

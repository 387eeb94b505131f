package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// hours is how long a world lasts. It is scraped, and its rules are looked at, once a minute.
const hours = 5

// healthy is a world in which nobody is to be called: two replicas, of which a leads, and what always happens.
const healthy = `
mcp_connection_build_info{namespace="ops",pod="a",version="v1.0.0",goversion="go1.26"} 1x300
mcp_connection_build_info{namespace="ops",pod="b",version="v1.0.0",goversion="go1.26"} 1x300
leader_election_master_status{namespace="ops",pod="a",name="mcp-connection-operator"} 1x300
leader_election_master_status{namespace="ops",pod="b",name="mcp-connection-operator"} 0x300
leader_election_master_status{namespace="ops",pod="other",name="other-operator"} 0x300
mcp_connection_unsaved_answers{namespace="ops",pod="a"} 0x3 2 0x6 1 0x290
mcp_connection_unsaved_answers{namespace="ops",pod="b"} 0x300
workqueue_depth{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection",priority="0"} 0x10 40x3 0x286
workqueue_work_duration_seconds_count{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection"} 0+30x300
workqueue_longest_running_processor_seconds{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection"} 0x5 39 0x290
workqueue_longest_running_processor_seconds{namespace="ops",pod="other",name="other",controller="other"} 9999x300
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="200"} 0+2x300
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="404"} 0+2x300
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="500"} 0x50 1x250
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="True",reason="Succeeded"} 40x300
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="True",reason="Suspended"} 5x300
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ConsentRequired"} 8x300
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ServerUnreachable"} 2x300
mcp_connection_condition{namespace="agents",name="hourly",type="Ready",status="True",reason="Succeeded"} 1x300
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="hourly"} 0x39 2400x39 4800x39 7200x39 9600x39 12000x39 14400x39 16800x20
mcp_connection_token_refresh_timestamp_seconds{namespace="agents",name="hourly"} 2400x39 4800x39 7200x39 9600x39 12000x39 14400x39 16800x39 19200x20
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="hourly"} 3600x39 6000x39 8400x39 10800x39 13200x39 15600x39 18000x39 20400x20
mcp_connection_condition{namespace="agents",name="hourly",type="Authorized",status="True",reason="Succeeded"} 1x300
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="hourly"} 86400+60x300
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="daily"} 0x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="daily"} 86400x300
mcp_connection_condition{namespace="agents",name="daily",type="Authorized",status="True",reason="NoRefreshToken"} 1x300
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="endless"} 0x300
mcp_connection_failure_attempts{namespace="agents",name="hourly",step="refresh",reason="TokenRequestFailing"} _x60 1 3 5 6 stale
mcp_connection_consent_required_timestamp_seconds{namespace="agents",name="new"} 3600x300
mcp_connection_condition{namespace="agents",name="new",type="Authorized",status="False",reason="ConsentRequired"} 1x300
`

// brief is a token of two minutes that is replaced at two thirds of its life, as a scrape each minute sees it.
func brief() string {
	var issued, refresh, expires strings.Builder
	for at := 0; at <= hours*3600; at += 60 {
		since := at - at%80
		fmt.Fprintf(&issued, " %d", since)
		fmt.Fprintf(&refresh, " %d", since+80)
		fmt.Fprintf(&expires, " %d", since+120)
	}
	object := `{namespace="agents",name="brief"}`
	return "mcp_connection_token_issued_timestamp_seconds" + object + issued.String() +
		"\nmcp_connection_token_refresh_timestamp_seconds" + object + refresh.String() +
		"\nmcp_connection_token_expiration_timestamp_seconds" + object + expires.String() +
		"\nmcp_connection_condition" + `{namespace="agents",name="brief",type="Ready",status="True",reason="Succeeded"} 1x300`
}

// world is the healthy one with some series added, or put in the place of the same.
func world(t *testing.T, added string) string {
	t.Helper()
	v := known(t)
	series := map[string]string{}
	for line := range strings.Lines(healthy + brief() + "\n" + added) {
		key, values, found := strings.Cut(strings.TrimSpace(line), "} ")
		if !found {
			continue
		}
		if wrong := v.check(key + "}"); len(wrong) > 0 {
			t.Fatalf("%s: %v", key, wrong)
		}
		series[key+"}"] = values
	}
	var load strings.Builder
	load.WriteString("load 1m\n")
	for _, key := range sorted(series) {
		load.WriteString("  " + key + " " + series[key] + "\n")
	}
	return load.String()
}

// seen is an alert that fires, of whom, and what it tells people.
type seen struct {
	alert       string
	labels      labels.Labels
	annotations labels.Labels
}

func (s seen) String() string {
	name := strings.TrimPrefix(s.alert, "MCPConnection")
	for _, label := range []string{"namespace", "name", "pod", "reason"} {
		if value := s.labels.Get(label); value != "" {
			name += " " + value
		}
	}
	return name
}

// firing are the alerts that fire in a world, each as "Alert labels, minute" of when it began to.
func firing(t *testing.T, load string) ([]string, []seen) {
	t.Helper()
	storage := promqltest.LoadedStorage(t, load)
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, theRuleFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	manager := rules.NewManager(&rules.ManagerOptions{
		Context: t.Context(), QueryFunc: rules.EngineQueryFunc(engine, storage), Queryable: storage, AppendableV2: storage,
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: slog.New(slog.DiscardHandler),
		Parser: parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	began, all := map[string]int{}, []seen(nil)
	for minute := range hours*60 + 1 {
		at := time.Unix(int64(minute)*60, 0).UTC()
		for _, group := range groups {
			group.Eval(t.Context(), at)
			for _, alert := range firingOf(t, group) {
				if _, known := began[alert.String()]; !known {
					began[alert.String()] = minute
					all = append(all, alert)
				}
			}
		}
	}
	var lines []string
	for _, alert := range sorted(began) {
		lines = append(lines, fmt.Sprintf("%s, %d", alert, began[alert]))
	}
	return lines, all
}

func firingOf(t *testing.T, group *rules.Group) []seen {
	t.Helper()
	var found []seen
	for _, rule := range group.Rules() {
		if err := rule.LastError(); err != nil {
			t.Fatal(rule.Name(), err)
		}
		alerting, ok := rule.(*rules.AlertingRule)
		if !ok {
			t.Fatal(rule.Name(), " is no alert")
		}
		for _, alert := range alerting.ActiveAlerts() {
			if alert.State == rules.StateFiring {
				found = append(found, seen{alerting.Name(), alert.Labels, alert.Annotations})
			}
		}
	}
	return found
}

// broken is the connection of which the cases speak.
var broken = regexp.MustCompile(`(?m)^(\w+\{namespace="agents",name=)"broken"`)

// thrice has two more connections to which the same happens: one that a former leader exports too, and one that is
// suspended.
func thrice(series string) string {
	return series + "\n" + broken.ReplaceAllString(series, `$1"overlapping"`) + "\n" +
		broken.ReplaceAllString(series, `$1"overlapping",pod="former"`) + "\n" +
		broken.ReplaceAllString(series, `$1"paused"`) + "\n" +
		`mcp_connection_suspended{namespace="agents",name="paused"} 1x300`
}

// twice are the alerts of broken, and the same of the one that two leaders export.
func twice(alerts []string) []string {
	for _, alert := range slices.Clone(alerts) {
		if strings.Contains(alert, " broken") {
			alerts = append(alerts, strings.Replace(alert, " broken", " overlapping", 1))
		}
	}
	return slices.Sorted(slices.Values(alerts))
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("these fire:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// panel is what the tests look at; a row is a panel without targets.
type panel struct {
	ID          int
	Type, Title string
	Targets     []struct {
		Expr, LegendFormat string
	}
	FieldConfig struct {
		Overrides []struct {
			Matcher struct{ ID, Options string }
		}
	}
	Transformations []struct {
		ID      string
		Options struct{ RenameByName map[string]string }
	}
}

type board struct {
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Definition string
		}
	}
}

func boardText(t *testing.T) string {
	t.Helper()
	return read(t, inRepository("config", "grafana", "dashboard.json"))
}

func theBoard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(boardText(t)), &b); err != nil {
		t.Fatal(err)
	}
	if len(b.Panels) < 20 {
		t.Fatalf("%d panels only", len(b.Panels))
	}
	return b
}

// expression is what Grafana asks, with everything selected.
var expression = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$namespace", ".*", "$connection",
	".*").Replace

func TestTheDashboardIsWhatGrafanasSchemaSays(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	//nolint:staticcheck // the newer schema is not what older versions and sidecars import
	err := new(dashboard.Dashboard).UnmarshalJSONStrict([]byte(boardText(t)))
	if err != nil && err.Error() != "" { // an empty list of errors is not nil
		t.Error(err)
	}
}

func TestEachExpressionOfTheDashboardNamesWhatThereIs(t *testing.T) {
	v, b := known(t), theBoard(t)
	ids := map[int]bool{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("%s has the id of another panel", p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, wrong := range v.check(expression(target.Expr)) {
				t.Errorf("%s: %s: %s", p.Title, target.Expr, wrong)
			}
		}
	}
	asked := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, variable := range b.Templating.List {
		if variable.Type == "datasource" {
			continue
		}
		m := asked.FindStringSubmatch(variable.Definition)
		if m == nil {
			t.Errorf("%s asks %q, want label_values(metric, label)", variable.Name, variable.Definition)
			continue
		}
		for _, wrong := range v.check("sum by (" + m[2] + ") (" + expression(m[1]) + ")") {
			t.Errorf("%s: %s", variable.Name, wrong)
		}
	}
}

func TestTheDashboardHangsOnNoDataSourceOfSomebodys(t *testing.T) {
	text := boardText(t)
	uids := submatches(`"type": "prometheus",\s+"uid": "([^"]+)"`, text)
	if len(uids) < 20 {
		t.Errorf("%d references only", len(uids))
	}
	for _, uid := range uids {
		if uid != "${datasource}" {
			t.Errorf("a panel names the data source %s", uid)
		}
	}
	if all := strings.Count(text, `"datasource": {`); all != len(uids) {
		t.Errorf("%d data sources, of which %d are chosen by the variable", all, len(uids))
	}
}

func TestTheLinksOfTheDashboardLeadSomewhere(t *testing.T) {
	links := submatches(`"https://github\.com/mcp-connection/operator/blob/main/([^"#]+)`, boardText(t))
	if len(links) < 10 {
		t.Errorf("%d links only", len(links))
	}
	for _, link := range links {
		if strings.Contains(link, "${") { // the name of an alert, each of which has a page
			continue
		}
		if _, err := os.Stat(inRepository(link)); err != nil {
			t.Error(err)
		}
	}
}

// TestTheColumnsOfATableAreThere that its overrides speak of, and no other column is left with a name of Grafana's.
func TestTheColumnsOfATableAreThere(t *testing.T) {
	for _, p := range theBoard(t).Panels {
		if p.Type != "table" {
			continue
		}
		columns := map[string]bool{}
		for _, transformation := range p.Transformations {
			for _, column := range transformation.Options.RenameByName {
				columns[column] = true
			}
		}
		for _, o := range p.FieldConfig.Overrides {
			if o.Matcher.ID != "byName" || !columns[o.Matcher.Options] {
				t.Errorf("%s: there is no column %s", p.Title, o.Matcher.Options)
			}
		}
	}
}

// busy is a world in which everything that the dashboard shows has happened.
const busy = `
mcp_connection_info{namespace="agents",name="hourly",server_host="mcp.test",issuer_host="login.test",grant_type="AuthorizationCode",registration="Dynamic"} 1x300
mcp_connection_condition{namespace="agents",name="new",type="Ready",status="False",reason="ConsentRequired"} 1x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="new"} 18060x300
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="new"} 36000x300
mcp_connection_failure_attempts{namespace="agents",name="new",step="discover",reason="ServerUnreachable"} 2x300
mcp_connection_suspended{namespace="agents",name="paused"} 1x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="paused"} 3600x300
mcp_connection_connections{namespace="ops",pod="a",type="Authorized",status="False",reason="ConsentRequired"} 8x300
mcp_connection_token_requests_total{namespace="ops",pod="a",grant_type="AuthorizationCode",outcome="success"} 0+3x300
mcp_connection_refresh_lateness_seconds_bucket{namespace="ops",pod="a",le="0.1"} 0+2x300
mcp_connection_refresh_lateness_seconds_bucket{namespace="ops",pod="a",le="+Inf"} 0+3x300
mcp_connection_step_duration_seconds_bucket{namespace="ops",pod="a",step="refresh",outcome="success",le="0.1"} 0+2x300
mcp_connection_step_duration_seconds_bucket{namespace="ops",pod="a",step="refresh",outcome="success",le="+Inf"} 0+3x300
mcp_connection_step_duration_seconds_count{namespace="ops",pod="a",step="refresh",outcome="failure"} 0+1x300
mcp_connection_consents_total{namespace="ops",pod="a",outcome="granted"} 0+1x300
mcp_connection_callback_connections_closed_total{namespace="ops",pod="a",why="displaced"} 0+1x300
mcp_connection_callback_largest_client_ratio{namespace="ops",pod="a"} 0.1x300
mcp_connection_claims_taken_over_total{namespace="ops",pod="a"} 0+1x300
mcp_connection_waiting_for_slot{namespace="ops",pod="a"} 2x300
mcp_connection_egress_denied_total{namespace="ops",pod="a"} 0+1x300
mcp_connection_orphaned_credentials{namespace="ops",pod="a",connection="gone"} 1x300
controller_runtime_reconcile_total{namespace="ops",pod="a",controller="mcpconnection",result="success"} 0+5x300
rest_client_requests_total{namespace="ops",pod="a",code="200",method="GET",host="api"} 0+5x300
process_cpu_seconds_total{namespace="ops",pod="a"} 0+1x300
process_resident_memory_bytes{namespace="ops",pod="a"} 5e7x300
go_memstats_heap_inuse_bytes{namespace="ops",pod="a"} 3e7x300
ALERTS{alertname="MCPConnectionConsentOverdue",alertstate="firing",severity="warning",namespace="agents",name="new"} 1x300
`

// TestEachPanelShowsSomethingOfABusyWorld proves that expressions join and group what goes together, and that legends
// name labels that are left.
func TestEachPanelShowsSomethingOfABusyWorld(t *testing.T) {
	storage := promqltest.LoadedStorage(t, world(t, busy))
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	at := time.Unix(hours*3600, 0)
	placeholder := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range theBoard(t).Panels {
		for _, target := range p.Targets {
			query, err := engine.NewInstantQuery(t.Context(), storage, nil, expression(target.Expr), at)
			if err != nil {
				t.Fatal(err)
			}
			result := query.Exec(t.Context())
			vector, isVector := result.Value.(promql.Vector)
			if result.Err != nil || !isVector || len(vector) == 0 {
				t.Errorf("%s: %s: nothing, %v", p.Title, target.Expr, result.Err)
				continue
			}
			for _, m := range placeholder.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.ContainsFunc(vector, func(s promql.Sample) bool { return s.Metric.Get(m[1]) != "" }) {
					t.Errorf("%s: %s leaves no label %s", p.Title, target.Expr, m[1])
				}
			}
			query.Close()
		}
	}
}

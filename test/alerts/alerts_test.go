package main

import (
	"slices"
	"strings"
	"testing"
)

// cases are what is added to the healthy world, and which alerts that calls for, with the minute in which each begins
// to fire.
var cases = []struct {
	name   string
	series string
	want   []string
}{
	{"TokenExpiresSoon: a refresh at 40 minutes does not happen, the token has an hour", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="True",reason="RefreshFailing"} 1x60
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="broken"} 0x60
mcp_connection_token_refresh_timestamp_seconds{namespace="agents",name="broken"} 2400x60
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 3600x60`,
		[]string{"TokenExpiresSoon agents broken, 52"}},
	{"TokenExpiresSoon: the refresh is to come five minutes before the end of four hours", `
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="broken"} 0x240
mcp_connection_token_refresh_timestamp_seconds{namespace="agents",name="broken"} 14100x240
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 14400x240`,
		[]string{"TokenExpiresSoon agents broken, 239"}},
	{"TokenExpiresSoon: a token that cannot be refreshed has an hour", `
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="broken"} 0x60
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 3600x60`,
		[]string{"TokenExpiresSoon agents broken, 52"}},
	{"TokenExpiresSoon: the refresh is late by nine minutes of twenty", `
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="broken"} 0x49 2940x30
mcp_connection_token_refresh_timestamp_seconds{namespace="agents",name="broken"} 2400x49 5340x30
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 3600x49 6540x30`,
		nil},
	{"TokenExpired: Ready says so", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="False",reason="TokenExpired"} _x60 1x240
mcp_connection_token_issued_timestamp_seconds{namespace="agents",name="broken"} 0x300
mcp_connection_token_refresh_timestamp_seconds{namespace="agents",name="broken"} 2400x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 3600x300`,
		[]string{"TokenExpired agents broken, 63", "TokenExpiresSoon agents broken, 52"}},
	{"TokenExpired: Ready is still True, so the sample is old", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="True",reason="Succeeded"} 1x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 3600x300`,
		nil},
	{"TokenExpired: Ready is False for another reason, and the token is valid", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="False",reason="InvalidMetadata"} 1x300
mcp_connection_token_expiration_timestamp_seconds{namespace="agents",name="broken"} 90000x300`,
		nil},
	{"ConsentOverdue: four hours have passed", `
mcp_connection_consent_required_timestamp_seconds{namespace="agents",name="broken"} 0x300`,
		[]string{"ConsentOverdue agents broken, 242"}},
	{"ConsentOverdue: somebody consented after three hours, and another was asked for later", `
mcp_connection_consent_required_timestamp_seconds{namespace="agents",name="broken"} 0x180 stale _x19 12060x99`,
		nil},
	{"RefreshFailing: the fifth attempt is in minute 4", `
mcp_connection_failure_attempts{namespace="agents",name="broken",step="refresh",reason="TokenRequestFailing"} 1+1x300`,
		[]string{"RefreshFailing agents broken, 9"}},
	{"RefreshFailing: a token is requested without a person, and the reason changes", `
mcp_connection_failure_attempts{namespace="agents",name="broken",step="requestToken",reason="TokenRequestRejected"} 5x6 stale
mcp_connection_failure_attempts{namespace="agents",name="broken",step="requestToken",reason="CredentialsMissing"} _x7 6x200`,
		[]string{"RefreshFailing agents broken, 5"}},
	{"RefreshFailing: four attempts, another step, and the API server's refusals", `
mcp_connection_failure_attempts{namespace="agents",name="broken",step="refresh",reason="TokenRequestFailing"} 4x300
mcp_connection_failure_attempts{namespace="agents",name="broken",step="discover",reason="ServerUnreachable"} 50x300
mcp_connection_failure_attempts{namespace="agents",name="two",step="refresh",reason="SecretWriteFailing"} 50x300`,
		nil},
	{"GrantEnded: a refresh was rejected", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="False",reason="RefreshRejected"} _x10 1x290`,
		[]string{"GrantEnded agents broken, 11"}},
	{"GrantEnded: consents fail in other ways", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="False",reason="AccessDenied"} 1x300
mcp_connection_condition{namespace="agents",name="two",type="Authorized",status="True",reason="RefreshFailing"} 1x300`,
		nil},
	{"GrantEndsSoon: nobody consented, three days and an hour are left", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="False",reason="ConsentRequired"} 1x300
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="broken"} 262800x300`,
		[]string{"GrantEndsSoon agents broken, 76"}},
	{"GrantEndsSoon: a refresh that would prolong it fails", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="True",reason="RefreshFailing"} _x60 1x240
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="broken"} 86400x300`,
		[]string{"GrantEndsSoon agents broken, 75"}},
	{"GrantEndsSoon: a refresh failed for a moment, or ten days are left", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="True",reason="RefreshFailing"} _x60 1x8 stale
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="broken"} 86400x300
mcp_connection_condition{namespace="agents",name="two",type="Authorized",status="False",reason="ConsentRequired"} 1x300
mcp_connection_grant_expiration_timestamp_seconds{namespace="agents",name="two"} 864000x300`,
		nil},
	{"IssuerChanged: two conditions say so", `
mcp_connection_condition{namespace="agents",name="broken",type="Authorized",status="False",reason="IssuerChanged"} _x10 1x290
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="False",reason="IssuerChanged"} _x10 1x290`,
		[]string{"IssuerChanged agents broken, 11"}},
	{"IssuerChanged: documents disagree, which is another matter", `
mcp_connection_condition{namespace="agents",name="broken",type="Discovered",status="False",reason="IssuerMismatch"} 1x300`,
		nil},
	{"ServerRefusesToken: a probe was answered 401", `
mcp_connection_condition{namespace="agents",name="broken",type="Probed",status="False",reason="ProbeUnauthorized"} _x10 1x290`,
		[]string{"ServerRefusesToken agents broken, 15"}},
	{"ServerRefusesToken: the server is away, or was not asked", `
mcp_connection_condition{namespace="agents",name="broken",type="Probed",status="False",reason="ServerUnreachable"} 1x300
mcp_connection_condition{namespace="agents",name="two",type="Probed",status="Unknown",reason="NotProbed"} 1x300`,
		nil},
	{"SecretWriteFailing: Ready is True, the token is valid", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="True",reason="SecretWriteFailing"} _x10 1x290`,
		[]string{"SecretWriteFailing agents broken SecretWriteFailing, 20"}},
	{"SecretWriteFailing: somebody else's Secret has the name", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="False",reason="SecretConflict"} 1x300`,
		[]string{"SecretWriteFailing agents broken SecretConflict, 10"}},
	{"SecretWriteFailing: the API server was away for four minutes", `
mcp_connection_condition{namespace="agents",name="broken",type="Ready",status="True",reason="APIServerFailing"} _x10 1x3 stale`,
		nil},
	{"OperatorAbsent: both replicas are gone", `
mcp_connection_build_info{namespace="ops",pod="a",version="v1.0.0",goversion="go1.26"} 1x60 stale
mcp_connection_build_info{namespace="ops",pod="b",version="v1.0.0",goversion="go1.26"} 1x60 stale`,
		[]string{"OperatorAbsent, 66"}},
	{"OperatorAbsent: one of two replicas is gone", `
mcp_connection_build_info{namespace="ops",pod="a",version="v1.0.0",goversion="go1.26"} 1x60 stale`,
		nil},
	{"NoLeader: the one that led does not, and no other does", `
leader_election_master_status{namespace="ops",pod="a",name="mcp-connection-operator"} 1x60 0x239`,
		[]string{"NoLeader ops, 63"}},
	{"NoLeader: another takes over after a minute", `
leader_election_master_status{namespace="ops",pod="a",name="mcp-connection-operator"} 1x60 0x239
leader_election_master_status{namespace="ops",pod="b",name="mcp-connection-operator"} 0x61 1x238`,
		nil},
	{"ManyNotReady: six of fifty-four, told by both replicas", `
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ServerUnreachable"} 2x60 6x239
mcp_connection_connections{namespace="ops",pod="b",type="Ready",status="False",reason="ServerUnreachable"} 2x60 6x239`,
		[]string{"ManyNotReady ops, 76"}},
	{"ManyNotReady: five of fifty-three", `
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ServerUnreachable"} 5x300`,
		nil},
	{"ManyNotReady: two of three, which have alerts of their own", `
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="True",reason="Succeeded"} 1x300
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ConsentRequired"} 0x300`,
		nil},
	{"ManyNotReady: persons are waited for", `
mcp_connection_connections{namespace="ops",pod="a",type="Ready",status="False",reason="ConsentRequired"} 90x300`,
		nil},
	{"UnsavedAnswers: two cannot be saved", `
mcp_connection_unsaved_answers{namespace="ops",pod="a"} 0x10 2x289`,
		[]string{"UnsavedAnswers ops a, 16"}},
	{"UnsavedAnswers: it took four minutes", `
mcp_connection_unsaved_answers{namespace="ops",pod="a"} 0x10 1x3 0x285`,
		nil},
	{"WorkQueueStuck: a reconcile does not end", `
workqueue_longest_running_processor_seconds{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection"} 0x10 60+60x289`,
		[]string{"WorkQueueStuck ops a, 21"}},
	{"WorkQueueStuck: connections wait, and none is finished", `
workqueue_depth{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection",priority="0"} 0x60 7x239
workqueue_work_duration_seconds_count{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection"} 0+30x60 1800x239`,
		[]string{"WorkQueueStuck ops a, 69"}},
	{"WorkQueueStuck: there is always much to do, and it is done", `
workqueue_depth{namespace="ops",pod="a",name="mcpconnection",controller="mcpconnection",priority="0"} 100x300`,
		nil},
	{"CallbackErrors: one request in five", `
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="500"} 0x60 1+1x239`,
		[]string{"CallbackErrors ops, 69"}},
	{"CallbackErrors: two in a quarter of an hour", `
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="500"} 0x60 1x5 2x234`,
		nil},
	{"CallbackErrors: one in forty", `
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="200"} 0+40x300
mcp_connection_callback_requests_total{namespace="ops",pod="a",route="connect",code="503"} 0+1x300`,
		nil},
}

func TestNobodyIsCalledWhileAllIsWell(t *testing.T) {
	got, _ := firing(t, world(t, ""))
	same(t, got, nil)
}

func TestEachAlertFiresWhenItShouldAndNotBefore(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, alerts := firing(t, world(t, thrice(test.series)))
			same(t, got, twice(test.want))
			for _, alert := range alerts {
				alert.tells(t)
			}
		})
	}
}

// tells checks what a person reads: the object, and neither a gap nor an error of the template.
func (s seen) tells(t *testing.T) {
	t.Helper()
	summary := s.annotations.Get("summary")
	if name := s.labels.Get("name"); name != "" && !strings.Contains(summary, s.labels.Get("namespace")+"/"+name) {
		t.Errorf("%s does not name the object: %s", s.alert, summary)
	}
	for _, text := range []string{summary, s.annotations.Get("description")} {
		if strings.Contains(text, "<") || strings.Contains(text, "%!") || strings.Contains(text, "  ") || text == "" {
			t.Errorf("%s tells %q", s.alert, text)
		}
	}
}

func TestEachAlertHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	for _, rule := range alertRules(t) {
		name := strings.TrimPrefix(rule.Alert, "MCPConnection")
		fires, not := false, false
		for _, test := range cases {
			if !strings.HasPrefix(test.name, name+":") {
				continue
			}
			wanted := slices.ContainsFunc(test.want, func(alert string) bool {
				return strings.HasPrefix(alert, name+" ") || strings.HasPrefix(alert, name+",")
			})
			fires, not = fires || wanted, not || !wanted
		}
		if !fires || !not {
			t.Errorf("%s: fires in a case: %t, does not in another: %t", name, fires, not)
		}
	}
}

package doctor

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func text(f Finding) string { return f.Level.String() + ": " + strings.Join(f.Notes, " ") }

func want(t *testing.T, f Finding, level Level, contains string) {
	t.Helper()
	if f.Level != level || !strings.Contains(text(f), contains) {
		t.Errorf("%s is %q, want %s with %q", f.Title, text(f), level, contains)
	}
}

func TestCallbackIsAskedForWhatNeedsNoLink(t *testing.T) {
	const path = "/prefix/oauth/client-metadata.json"
	var server *httptest.Server
	answer := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"client_id":%q}`, server.URL+path)
	}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != path || r.Header.Get("Cookie") != "" ||
			r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	// Seen from the finding the server has a name: an address of loopback is never asked.
	external := "http://connect.example.test/prefix"
	client := &http.Client{Transport: rewrite{strings.TrimPrefix(server.URL, "http://")}}
	ask := func() Finding { return callbackFinding(t.Context(), client, external, true) }
	named := func(id string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, `{"client_id":%q}`, id) }
	}

	answer = named(external + "/oauth/client-metadata.json")
	want(t, ask(), OK, "The operator answers.")
	answer = named("https://other.example.test/oauth/client-metadata.json")
	want(t, ask(), Failure, "another --external-url")
	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>welcome to nginx</html>") }
	want(t, ask(), Warning, "not the operator's answer")
	server.Close()
	want(t, ask(), Warning, "No answer from here")
	want(t, callbackFinding(t.Context(), client, "", true), Failure, "no --external-url")
	want(t, callbackFinding(t.Context(), client, "", false), Skipped, "not known")
	want(t, callbackFinding(t.Context(), client, "http://localhost:8082", true), OK, "forwarded port")
}

// rewrite sends every request to one address.
type rewrite struct{ host string }

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = r.host
	return http.DefaultTransport.RoundTrip(req)
}

func TestClocksThatDifferAreTold(t *testing.T) {
	here := time.Date(2026, 12, 1, 12, 0, 0, 400e6, time.UTC)
	at := func(d time.Duration) []clockReading {
		h := http.Header{"Date": {here.Add(d).UTC().Format(http.TimeFormat)}}
		r, ok := readClock("MCP server", h, here)
		if !ok {
			t.Fatal("the date cannot be read")
		}
		return []clockReading{r}
	}
	want(t, clockFinding(at(0)), OK, "the same")
	want(t, clockFinding(at(10*time.Second)), OK, "10s ahead")
	want(t, clockFinding(at(-time.Minute)), Warning, "1m0s behind")
	want(t, clockFinding(at(time.Hour)), Failure, "1h0m0s ahead")
	want(t, clockFinding(nil), Skipped, "No answer had a Date")
	if _, ok := readClock("", http.Header{"Date": {"yesterday"}}, here); ok {
		t.Error("a text that is no date was read")
	}
}

func TestUnsavedAnswersAreSummedOverAScrape(t *testing.T) {
	if n, err := unsaved(
		[]byte("# TYPE mcp_connection_unsaved_answers gauge\nmcp_connection_unsaved_answers 2\n")); err != nil || n != 2 {
		t.Error(n, err)
	}
	for _, scrape := range []string{"", "<html>", "# TYPE other gauge\nother 1\n"} {
		if _, err := unsaved([]byte(scrape)); err == nil {
			t.Errorf("%q was read", scrape)
		}
	}
}

func TestSchemaIsComparedFieldByField(t *testing.T) {
	raw := []byte(
		`{"components":{"schemas":{"dev.mcp-connection.v1alpha1.MCPConnection":{"properties":{"spec":{"properties":{"serverURL":{},"retainFor":{}}}}}}}}`)
	fields, err := specFields(raw)
	if err != nil || !slices.Equal(fields, []string{"retainFor", "serverURL"}) {
		t.Fatal(fields, err)
	}
	known := jsonFields(reflect.TypeFor[v1alpha1.MCPConnectionSpec]())
	if got := missing(fields, known); !slices.Equal(got, []string{"retainFor"}) {
		t.Error(got)
	}
	if got := missing(known, fields); !slices.Contains(got, "scopes") || slices.Contains(got, "serverURL") {
		t.Error(got)
	}
	if _, err := specFields([]byte(`{}`)); err == nil {
		t.Error("a document without MCPConnection was read")
	}
}

// TestRightsAreThoseOfTheManifests reads config/rbac, so that a right that is added there is asked for here.
func TestRightsAreThoseOfTheManifests(t *testing.T) {
	for _, rule := range manifestRules(t, "../../../config/rbac/role.yaml",
		"../../../config/rbac/leader_election_role.yaml") {
		for _, group := range rule.APIGroups {
			if slices.Contains([]string{"authentication.k8s.io", "authorization.k8s.io"}, group) {
				continue // of the pages and metrics of the operator, not of a connection
			}
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if !asked(group, resource, verb) && (group != "" || resource != "events") { // the leader's own events
						t.Errorf("nobody asks whether the operator may %s %s of %q", verb, resource, group)
					}
				}
			}
		}
	}
}

func asked(group, resource, verb string) bool {
	return slices.ContainsFunc(rights, func(r right) bool {
		name := r.resource
		if r.subresource != "" {
			name += "/" + r.subresource
		}
		return r.group == group && name == resource && slices.Contains(r.verbs, verb)
	})
}

func manifestRules(t *testing.T, files ...string) []rbacv1.PolicyRule {
	t.Helper()
	var rules []rbacv1.PolicyRule
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
			var role rbacv1.ClusterRole
			if err := yaml.Unmarshal(document, &role); err != nil {
				t.Fatal(err)
			}
			rules = append(rules, role.Rules...)
		}
	}
	if len(rules) == 0 {
		t.Fatal("the manifests hold no rules")
	}
	return rules
}

func TestFlagsAreReadInAllSpellings(t *testing.T) {
	got := flagsOf(corev1.Container{Command: []string{"/manager"},
		Args: []string{"--leader-elect", "--external-url=https://a.test/x=y", "--watch-namespaces", "a,b", "-log-format=json",
			"--allow-insecure-http"}})
	for name, value := range map[string]string{"leader-elect": "true", "external-url": "https://a.test/x=y",
		"watch-namespaces": "a,b", "log-format": "json", "allow-insecure-http": "true"} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

func TestPortsOfNetworkPoliciesAreRead(t *testing.T) {
	raw, err := os.ReadFile("../../../config/network-policy/allow-egress-traffic.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var policy networkingv1.NetworkPolicy
	if err := yaml.Unmarshal(raw, &policy); err != nil {
		t.Fatal(err)
	}
	for port, open := range map[int]bool{443: true, 6443: true, 8080: false, 53: true} {
		if opens(&policy, port) != open {
			t.Errorf("port %d: open is %v, want %v", port, !open, open)
		}
	}
}

func TestStatusIsToldWithoutTheLink(t *testing.T) {
	link := "https://connect.example.test/connect/" + planted
	conn := &v1alpha1.MCPConnection{}
	conn.Status = v1alpha1.MCPConnectionStatus{AuthorizationURL: link,
		UnknownAnnotations: []string{"mcp-connection.dev/refersh"}}
	want(t, statusFinding(conn), Failure, "has not looked")
	conn.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonConsentRequired, Message: "Open " + link + " to consent."}}
	f := statusFinding(conn)
	want(t, f, Warning, "Open (link) to consent.")
	want(t, f, Warning, "mcp-connection.dev/refersh")
	if strings.Contains(text(f), planted) {
		t.Error("the finding shows the link")
	}
}

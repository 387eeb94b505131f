package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var epoch = time.Unix(1_700_000_000, 0)

func at(after time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(epoch.Add(after))) }

func is(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: *at(0)}
}

// everything is a connection that has a value for each metric.
func everything() *v1alpha1.MCPConnection {
	return &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "files"},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: "https://MCP.example.com:8443/secret/path?key=1",
			Suspend: ptr.To(true)},
		Status: v1alpha1.MCPConnectionStatus{
			AuthorizationURL:    "https://connect.example.com/connect/ticket",
			AuthorizationServer: &v1alpha1.AuthorizationServerStatus{Issuer: "https://as.example.com/tenant"},
			Client:              &v1alpha1.ClientStatus{Registration: v1alpha1.RegistrationDynamic},
			Token: &v1alpha1.TokenStatus{IssuedAt: at(time.Second), ExpiresAt: at(time.Hour),
				RefreshAt: at(time.Minute), GrantExpiresAt: at(24 * time.Hour)},
			Failure:       &v1alpha1.Failure{Step: "refresh", Reason: v1alpha1.ReasonTokenRequestFailing, Attempts: 3},
			OtherFailures: []v1alpha1.Failure{{Step: "probe", Reason: v1alpha1.ReasonServerUnreachable, Attempts: 2}},
			Conditions: []metav1.Condition{
				is(v1alpha1.ConditionAuthorized, metav1.ConditionFalse, v1alpha1.ReasonRefreshRejected),
				is(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonRefreshRejected),
			},
		},
	}
}

// served is what a scrape of these objects shows, without help texts.
func served(t *testing.T, change func(*Objects), objects ...client.Object) []string {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	o := &Objects{Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(),
		Leading: func() bool { return true }, PerObject: true}
	if change != nil {
		change(o)
	}
	return scrape(t, o)
}

func scrape(t *testing.T, o *Objects) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(o)
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Error(err)
		}
	}
	lines := slices.DeleteFunc(strings.Split(text.String(), "\n"),
		func(line string) bool { return line == "" || strings.HasPrefix(line, "#") })
	slices.Sort(lines)
	return lines
}

func TestEverythingThatIsKnownOfAConnectionIsExported(t *testing.T) {
	want := strings.Split(`mcp_connection_condition{name="files",namespace="team",reason="RefreshRejected",status="False",type="Authorized"} 1
mcp_connection_condition{name="files",namespace="team",reason="RefreshRejected",status="True",type="Ready"} 1
mcp_connection_connections{reason="RefreshRejected",status="False",type="Authorized"} 1
mcp_connection_connections{reason="RefreshRejected",status="True",type="Ready"} 1
mcp_connection_consent_required_timestamp_seconds{name="files",namespace="team"} 1.7e+09
mcp_connection_failure_attempts{name="files",namespace="team",reason="ServerUnreachable",step="probe"} 2
mcp_connection_failure_attempts{name="files",namespace="team",reason="TokenRequestFailing",step="refresh"} 3
mcp_connection_grant_expiration_timestamp_seconds{name="files",namespace="team"} 1.7000864e+09
mcp_connection_info{grant_type="AuthorizationCode",issuer_host="as.example.com",name="files",namespace="team",registration="Dynamic",server_host="mcp.example.com:8443"} 1
mcp_connection_suspended{name="files",namespace="team"} 1
mcp_connection_token_expiration_timestamp_seconds{name="files",namespace="team"} 1.7000036e+09
mcp_connection_token_issued_timestamp_seconds{name="files",namespace="team"} 1.700000001e+09
mcp_connection_token_refresh_timestamp_seconds{name="files",namespace="team"} 1.70000006e+09`, "\n")
	if got := served(t, nil, everything()); !slices.Equal(got, want) {
		t.Errorf("served is\n%s", strings.Join(got, "\n"))
	}
}

func TestCountsAreLeftWithoutMetricsOfSingleConnections(t *testing.T) {
	other := everything()
	other.Name = "more"
	want := []string{`mcp_connection_connections{reason="RefreshRejected",status="False",type="Authorized"} 2`,
		`mcp_connection_connections{reason="RefreshRejected",status="True",type="Ready"} 2`}
	if got := served(t, func(o *Objects) { o.PerObject = false }, everything(), other); !slices.Equal(got, want) {
		t.Errorf("served is\n%s", strings.Join(got, "\n"))
	}
}

func TestOnlyTheLeaderExports(t *testing.T) {
	if got := served(t, func(o *Objects) { o.Leading = func() bool { return false } }, everything()); len(got) > 0 {
		t.Errorf("served is\n%s", strings.Join(got, "\n"))
	}
}

// TestWhateverIsWrittenIntoStatusBreaksNoScrape: who may patch status must not blind everybody.
func TestWhateverIsWrittenIntoStatusBreaksNoScrape(t *testing.T) {
	c := everything()
	c.Spec.ServerURL = "https://%zz"
	c.Status.AuthorizationServer.Issuer = "https://\"quoted\"\n.example.com/"
	c.Status.Failure = &v1alpha1.Failure{Step: "a step\nof \"mine\"", Reason: "Mine", Attempts: 1}
	c.Status.OtherFailures = []v1alpha1.Failure{{Step: "another step", Reason: "Yours", Attempts: 7},
		{Step: "refresh", Reason: v1alpha1.ReasonRefreshFailing, Attempts: 1}}
	c.Status.Conditions = []metav1.Condition{is("Mine", "True", "Mine"), is("Yours", "True", "Yours"),
		is(v1alpha1.ConditionReady, "True", strings.Repeat("x", 1000))}
	got := strings.Join(served(t, nil, c), "\n")
	for _, want := range []string{
		`condition{name="files",namespace="team",reason="Other",status="True",type="Other"} 1`,
		`condition{name="files",namespace="team",reason="Other",status="True",type="Ready"} 1`,
		`failure_attempts{name="files",namespace="team",reason="Other",step="Other"} 7`,
		`failure_attempts{name="files",namespace="team",reason="RefreshFailing",step="refresh"} 1`,
		`issuer_host="",name="files",namespace="team",registration="Dynamic",server_host=""`,
	} {
		if !strings.Contains(got, "mcp_connection_"+want) && !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "ticket") || strings.Contains(got, "ours") {
		t.Errorf("too much is shown:\n%s", got)
	}
}

func TestAScrapeBeforeTheCacheIsFilledIsOneLineOfTheLog(t *testing.T) {
	var logged []string
	answer := errors.New("the cache is not filled")
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	o := &Objects{PerObject: true, Leading: func() bool { return true },
		Log: funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{}),
		Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(everything()).WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if answer != nil {
					return answer
				}
				return c.List(ctx, list, opts...)
			},
		}).Build()}
	var scrapers sync.WaitGroup
	for range 3 { // two servers of Prometheus may come at once
		scrapers.Go(func() {
			if got := scrape(t, o); len(got) > 0 {
				t.Errorf("served is\n%s", strings.Join(got, "\n"))
			}
		})
	}
	scrapers.Wait()
	if len(logged) != 1 || !strings.Contains(logged[0], "the cache is not filled") {
		t.Errorf("the log is %q", logged)
	}
	if answer = nil; len(scrape(t, o)) == 0 {
		t.Error("nothing is served once the cache is filled")
	}
}

func TestSinceWhenAPersonIsWaitedFor(t *testing.T) {
	link := "https://connect.example.com/connect/x"
	for name, test := range map[string]struct {
		status v1alpha1.MCPConnectionStatus
		want   *metav1.Time
	}{
		"nobody has looked": {v1alpha1.MCPConnectionStatus{}, nil},
		"there is no grant": {v1alpha1.MCPConnectionStatus{AuthorizationURL: link,
			Conditions: []metav1.Condition{is("Authorized", "False", v1alpha1.ReasonConsentRequired)}}, at(0)},
		"there is no link, for want of an external URL": {
			v1alpha1.MCPConnectionStatus{Conditions: []metav1.Condition{is("Authorized", "False",
				v1alpha1.ReasonConsentUnavailable)}}, at(0)},
		"something else is wrong": {v1alpha1.MCPConnectionStatus{
			Conditions: []metav1.Condition{is("Authorized", "False", v1alpha1.ReasonTokenRequestFailing)}}, nil},
		"the server demands more scopes": {v1alpha1.MCPConnectionStatus{AuthorizationURL: link,
			Conditions: []metav1.Condition{
				is("Authorized", "True", v1alpha1.ReasonSucceeded), is("Probed", "False", v1alpha1.ReasonInsufficientScope)}},
			at(0)},
		"no refresh token came": {v1alpha1.MCPConnectionStatus{AuthorizationURL: link,
			Token: &v1alpha1.TokenStatus{IssuedAt: at(0), ExpiresAt: at(time.Hour)}, Conditions: []metav1.Condition{
				is("Authorized", "True", v1alpha1.ReasonNoRefreshToken)}}, at(40 * time.Minute)},
		"a link is open beside a token that is refreshed": {v1alpha1.MCPConnectionStatus{AuthorizationURL: link,
			Token:      &v1alpha1.TokenStatus{IssuedAt: at(0), ExpiresAt: at(time.Hour), RefreshAt: at(time.Minute)},
			Conditions: []metav1.Condition{is("Authorized", "True", v1alpha1.ReasonSucceeded)}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := consentSince(&test.status); !got.Equal(test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// TestTenThousandConnectionsAreAsManySeriesAsTheReferenceSays counts those of connections that are well.
func TestTenThousandConnectionsAreAsManySeriesAsTheReferenceSays(t *testing.T) {
	var all []client.Object
	for i := range 10_000 {
		c := everything()
		c.Name, c.Spec.Suspend = fmt.Sprint("files-", i), nil
		c.Status.AuthorizationURL, c.Status.Failure, c.Status.OtherFailures, c.Status.Token.GrantExpiresAt = "", nil, nil, nil
		c.Status.Conditions = nil
		for _, kind := range []string{v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered,
			v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed, v1alpha1.ConditionReady} {
			c.Status.Conditions = append(c.Status.Conditions, is(kind, metav1.ConditionTrue, v1alpha1.ReasonSucceeded))
		}
		all = append(all, c)
	}
	if got := len(served(t, nil, all...)); got != 90_005 {
		t.Errorf("%d series", got)
	}
	if got := len(served(t, func(o *Objects) { o.PerObject = false }, all...)); got != 5 {
		t.Errorf("%d series without those of single connections", got)
	}
}

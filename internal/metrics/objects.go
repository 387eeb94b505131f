// Package metrics exports the state of MCPConnections for Prometheus, read from the informer cache at each scrape: a
// deleted connection vanishes with its series, and no reconcile does anything for them.
package metrics

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/reasons"
)

// scrapeWithin bounds how long a scrape waits for the cache.
const scrapeWithin = 5 * time.Second

// Objects collects what MCPConnections say of themselves. It exports nothing unless Leading: two replicas would say the
// same twice.
type Objects struct {
	// Reader reads from a cache.
	Reader client.Reader
	// Leading reports whether this process is the one that exports.
	Leading func() bool
	// PerObject exports series of single connections. Without it only counts are.
	PerObject bool
	// Log gets one line when connections cannot be listed, and none again before they can.
	Log logr.Logger

	failing atomic.Bool
}

// Series of single connections. No label holds more of a URL than its host.
var (
	info = describe("info", "Which server a connection is for, and how it gets its tokens.", "server_host",
		"issuer_host", "grant_type", "registration")
	condition = describe("condition", "Conditions of a connection: 1 for the status and the reason that each type has.",
		"type", "status", "reason")
	issued    = describe("token_issued_timestamp_seconds", "When the published token was received.")
	expires   = describe("token_expiration_timestamp_seconds", "When the published token expires.")
	refreshes = describe("token_refresh_timestamp_seconds", "When the published token will be refreshed.")
	grantEnds = describe("grant_expiration_timestamp_seconds", "When the refresh token expires by itself.")
	consent   = describe("consent_required_timestamp_seconds", "Since when a person's consent is waited for.")
	attempts  = describe("failure_attempts", "How often in a row a step failed.", "step", "reason")
	suspended = describe("suspended", "1 for a connection that is suspended.")
	perObject = []*prometheus.Desc{info, condition, issued, expires, refreshes, grantEnds, consent, attempts, suspended}
	counts    = prometheus.NewDesc(prefix+"connections", "Connections by the status and the reason of each condition.",
		[]string{"type", "status", "reason"}, nil)
)

const prefix = "mcp_connection_"

// describe makes a metric of a single connection.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, append([]string{"namespace", "name"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (o *Objects) Describe(out chan<- *prometheus.Desc) {
	out <- counts
	if o.PerObject {
		for _, d := range perObject {
			out <- d
		}
	}
}

// Collect implements prometheus.Collector. While the cache cannot be read the series are missing, and the log says why.
func (o *Objects) Collect(out chan<- prometheus.Metric) {
	if !o.Leading() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	all := &v1alpha1.MCPConnectionList{}
	if err := o.Reader.List(ctx, all, client.UnsafeDisableDeepCopy); err != nil { // nothing is changed
		if !o.failing.Swap(true) {
			o.Log.Info("metrics of connections are left out: they cannot be listed from the cache", "error", err.Error())
		}
		return
	}
	o.failing.Store(false)
	found := map[state]int{}
	for i := range all.Items {
		c := &all.Items[i]
		for _, state := range states(c) {
			found[state]++
		}
		if o.PerObject {
			collect(connection{c, out})
		}
	}
	for s, n := range found {
		out <- prometheus.MustNewConstMetric(counts, prometheus.GaugeValue, float64(n), s.kind, s.status, s.reason)
	}
}

// state is what a condition says.
type state struct{ kind, status, reason string }

// states are without repetition: a series that comes twice would fail the whole scrape, and others may write into
// status.
func states(c *v1alpha1.MCPConnection) []state {
	var out []state
	for _, found := range c.Status.Conditions {
		s := state{known(found.Type, v1alpha1.IsConditionType), string(found.Status), known(found.Reason, reasons.Known)}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// known bounds the values of a label, whoever writes into status: what is no constant of the API is Other.
func known(value string, is func(string) bool) string {
	if is(value) {
		return value
	}
	return "Other"
}

// connection is one whose series go out.
type connection struct {
	*v1alpha1.MCPConnection
	out chan<- prometheus.Metric
}

func (c connection) gauge(d *prometheus.Desc, value float64, labels ...string) {
	c.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value,
		append([]string{c.Namespace, c.Name}, labels...)...)
}

// instant exports a time, if there is one.
func (c connection) instant(d *prometheus.Desc, at *metav1.Time) {
	if at != nil {
		c.gauge(d, float64(at.Unix()))
	}
}

func collect(c connection) {
	issuer, registration := "", ""
	if as := c.Status.AuthorizationServer; as != nil {
		issuer = host(as.Issuer)
	}
	if client := c.Status.Client; client != nil {
		registration = string(client.Registration)
	}
	grantType := c.Spec.GrantType
	if grantType == "" {
		grantType = v1alpha1.GrantTypeAuthorizationCode
	}
	c.gauge(info, 1, host(c.Spec.ServerURL), issuer, string(grantType), registration)
	for _, s := range states(c.MCPConnection) {
		c.gauge(condition, 1, s.kind, s.status, s.reason)
	}
	if t := c.Status.Token; t != nil {
		c.instant(issued, t.IssuedAt)
		c.instant(expires, t.ExpiresAt)
		c.instant(refreshes, t.RefreshAt)
		c.instant(grantEnds, t.GrantExpiresAt)
	}
	c.instant(consent, consentSince(&c.Status))
	for f, n := range failing(&c.Status) {
		c.gauge(attempts, float64(n), f.step, f.reason)
	}
	if ptr.Deref(c.Spec.Suspend, false) {
		c.gauge(suspended, 1)
	}
}

// failure is what a step fails for.
type failure struct{ step, reason string }

// failing counts attempts. It repeats no failure, for the reason that states has.
func failing(status *v1alpha1.MCPConnectionStatus) map[failure]int32 {
	out := map[failure]int32{}
	add := func(f *v1alpha1.Failure) {
		key := failure{known(f.Step, isWord), known(f.Reason, reasons.Known)}
		out[key] = max(out[key], f.Attempts)
	}
	if status.Failure != nil {
		add(status.Failure)
	}
	for i := range status.OtherFailures {
		add(&status.OtherFailures[i])
	}
	return out
}

// isWord reports whether a value may be the name of a step.
func isWord(value string) bool {
	return len(value) <= 32 && strings.Trim(strings.ToLower(value), "abcdefghijklmnopqrstuvwxyz") == ""
}

// host is all that a label shows of a URL.
func host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.ToLower(u.Host), "")
}

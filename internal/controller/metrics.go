package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Outcomes, as labels.
const (
	outcomeSuccess     = "success"
	outcomeFailure     = "failure"
	outcomeRefused     = "refused"
	outcomeUnreachable = "unreachable"
	outcomeUnknown     = "unknown"
	outcomeGranted     = "granted"
	outcomeDenied      = "denied"
	outcomeFailed      = "failed"
	outcomeExpired     = "expired"
)

// What the operator does. Unlike the state of connections, it is counted by whichever replica does it.
var (
	tokenRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_connection_token_requests_total",
		Help: "Requests to token endpoints, by what came of them: success, refused (answered in another way), unreachable " +
			"(not sent), unknown (sent, and not answered).",
	}, []string{"grant_type", "outcome"})
	refreshLateness = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "mcp_connection_refresh_lateness_seconds",
		Help:    "Time between the instant at which a token was to be replaced and the publication of the next one.",
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
	})
	stepDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mcp_connection_step_duration_seconds",
		Help:    "How long the steps of a reconcile took, with the requests that they made.",
		Buckets: []float64{.005, .025, .1, .5, 1, 5, 10, 30, 60},
	}, []string{"step", "outcome"})
	consents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mcp_connection_consents_total",
		Help: "Consents by how they ended: granted, denied (by the person or the server), failed, or expired (the link was " +
			"not followed to the end).",
	}, []string{"outcome"})
	claimsTakenOver = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mcp_connection_claims_taken_over_total",
		Help: "Requests of a process that is gone, whose outcome is unknown and that another process went on from.",
	})
	waitingForSlot = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mcp_connection_waiting_for_slot",
		Help: "Connections that wait until their host, their namespace or a worker is free.",
	})
	egressDenied = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mcp_connection_egress_denied_total",
		Help: "Steps that failed because an address may not be called (--egress-allow-cidrs).",
	})
)

func init() {
	metrics.Registry.MustRegister(tokenRequests, refreshLateness, stepDuration, consents, claimsTakenOver, waitingForSlot,
		egressDenied)
	for _, grantType := range []string{mcpoauth.GrantTypeAuthorizationCode, mcpoauth.GrantTypeRefreshToken,
		mcpoauth.GrantTypeClientCredentials, mcpoauth.GrantTypeJWTBearer, mcpoauth.GrantTypeTokenExchange} {
		for _, outcome := range []string{outcomeSuccess, outcomeRefused, outcomeUnreachable, outcomeUnknown} {
			tokenRequests.WithLabelValues(grantType, outcome).Add(0)
		}
	}
	for _, outcome := range []string{outcomeGranted, outcomeDenied, outcomeFailed, outcomeExpired} {
		consents.WithLabelValues(outcome).Add(0)
	}
}

// countTokenRequest counts a request to a token endpoint by its error. What kept it from being made at all is no
// request.
func countTokenRequest(grantType string, err error) {
	outcome := outcomeSuccess
	switch e := mcpoauth.AsError(err); {
	case err == nil:
	case e == nil, keptBack(err):
		return
	case e.Outcome == mcpoauth.NotSent:
		outcome = outcomeUnreachable
	case e.Outcome == mcpoauth.Unknown:
		outcome = outcomeUnknown
	default:
		outcome = outcomeRefused
	}
	tokenRequests.WithLabelValues(grantType, outcome).Inc()
}

// countConsent counts a consent that ended without a token.
func countConsent(reason string) {
	outcome := outcomeFailed
	if reason == v1alpha1.ReasonAccessDenied {
		outcome = outcomeDenied
	}
	consents.WithLabelValues(outcome).Inc()
}

// measureStep notes how long a step took, and whether it failed. before is its failure until then.
func (w *work) measureStep(step lifecycle.Step, before *v1alpha1.Failure, err error, took time.Duration) {
	outcome, f := outcomeSuccess, w.Failures.Find(step)
	if err != nil || (f != nil && (before == nil || f.Attempts > before.Attempts)) {
		outcome = outcomeFailure
		if f != nil && f.Reason == v1alpha1.ReasonEgressDenied {
			egressDenied.Inc()
		}
	}
	stepDuration.WithLabelValues(string(step), outcome).Observe(took.Seconds())
}

// measureLateness notes how long after its instant a token is replaced by the one that was just published. Status tells
// when that was to be, for it speaks of the one before still.
func (w *work) measureLateness(g *credential.Grant, now time.Time) {
	t := w.Conn.Status.Token
	if g == nil || t == nil || t.RefreshAt == nil || t.IssuedAt == nil ||
		!g.IssuedAt.Truncate(time.Second).After(t.IssuedAt.Time) {
		return
	}
	if late := now.Sub(lifecycle.RefreshMoment(w.Conn.UID, t.RefreshAt.Time)); late > 0 { // else somebody asked for it
		refreshLateness.Observe(late.Seconds())
	}
}

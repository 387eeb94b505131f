package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	kindStatus = "patch mcpconnections/status"
	kindToken  = "update token secret"
)

// steady is a constant rate of refreshes. Its answers have all tokens fall due at one instant, for the storm.
func (b *bench) steady(ctx context.Context) error {
	length := time.Duration(b.n) * time.Second / time.Duration(b.rate)
	due := b.report.Refresh.steadyFrom.Add(length + refreshLead + 15*time.Second)
	b.server.setExpiry(func(int, time.Time) time.Time { return due.Add(refreshLead) })
	harness.Stderr("steady refreshes from %s, for %s", b.report.Refresh.steadyFrom.Format("15:04:05"), length)
	b.report.Refresh.stormAt = due
	figures, err := b.refreshes(ctx, b.report.Refresh.steadyFrom, length+time.Minute)
	if err != nil {
		return err
	}
	b.report.Refresh.Steady = *figures
	b.report.Refresh.Rate = b.rate
	return nil
}

// storm has all tokens fall due at one instant.
func (b *bench) storm(ctx context.Context) error {
	harness.Stderr("all refreshes fall due at %s", b.report.Refresh.stormAt.Format("15:04:05"))
	b.server.expireAfter(time.Hour)
	figures, err := b.refreshes(ctx, b.report.Refresh.stormAt, 5*time.Minute)
	if err != nil {
		return err
	}
	b.report.Refresh.Storm = *figures
	return b.checkTokens(ctx)
}

// refreshes watches one refresh of every connection, the first of which is due at from.
func (b *bench) refreshes(ctx context.Context, from time.Time, limit time.Duration) (*phaseFigures, error) {
	planned, err := b.connections(ctx)
	if err != nil {
		return nil, err
	}
	asked := b.server.tokenRequests()
	begin := from.Add(-2 * time.Second)
	if time.Now().After(begin) {
		return nil, fmt.Errorf("the phase should have begun %s ago: this machine is too slow for the plan",
			time.Since(begin).Round(time.Second))
	}
	if err := harness.Pause(ctx, time.Until(begin)); err != nil {
		return nil, err
	}
	before := b.usage()
	if err := b.untilRefreshed(ctx, begin, asked+b.n, from.Add(limit)); err != nil {
		return nil, err
	}
	after := b.usage()
	if err := harness.Pause(ctx, 3*time.Second); err != nil { // the operator's own events come back to it
		return nil, err
	}
	seen, err := b.cluster.audit.between(begin, time.Now())
	if err != nil {
		return nil, err
	}
	figures := &phaseFigures{Seconds: seen.span().Seconds(), PerSecond: float64(b.n) / seen.span().Seconds(),
		CPU: after.since(before, b.n), Traffic: seen.traffic(b.n)}
	return figures, b.punctuality(figures, planned, seen)
}

// untilRefreshed waits for a number of token requests, and then until the last connection says in status what came of
// it.
func (b *bench) untilRefreshed(ctx context.Context, begin time.Time, tokenRequests int, deadline time.Time) error {
	for time.Now().Before(deadline) {
		if err := harness.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		if b.server.tokenRequests() < tokenRequests {
			continue // the audit log is not read meanwhile: that would take CPU time from the operator
		}
		seen, err := b.cluster.audit.between(begin, time.Now())
		if err != nil {
			return err
		}
		if len(seen.lastDone(kindStatus)) == b.n {
			return nil
		}
	}
	seen, err := b.cluster.audit.between(begin, time.Now())
	if err != nil {
		return err
	}
	return fmt.Errorf("%d token requests are missing, and the status writes of %d connections; the operator says:\n%s",
		tokenRequests-b.server.tokenRequests(), b.n-len(seen.lastDone(kindStatus)), b.operator.LogTail(10))
}

// punctuality compares when tokens were asked for and published with when that was due.
func (b *bench) punctuality(f *phaseFigures, planned []v1alpha1.MCPConnection, seen requests) error {
	if reused := b.server.reused.Load(); reused > 0 {
		return fmt.Errorf("%d token requests were refused: a single-use secret was sent twice", reused)
	}
	grants := b.server.snapshot()
	published := seen.lastDone(kindToken)
	var late []time.Duration
	var last time.Duration
	for i := range planned {
		conn := &planned[i]
		number, err := numberOf(conn.Name)
		if err != nil {
			return err
		}
		late = append(late, grants[number].asked.Sub(lifecycle.RefreshMoment(conn.UID, conn.Status.Token.RefreshAt.Time)))
		at := published[conn.Status.Token.SecretName]
		if at.IsZero() || at.After(conn.Status.Token.ExpiresAt.Time) {
			f.Expired++
		}
		last = max(last, at.Sub(conn.Status.Token.RefreshAt.Time))
	}
	f.LatenessMilliseconds, f.LastPublishedSeconds = spreadOf(late), last.Seconds()
	return nil
}

// checkTokens holds every token Secret against what the authorization server issued last.
func (b *bench) checkTokens(ctx context.Context) error {
	list := &corev1.SecretList{}
	if err := b.cluster.api.List(ctx, list, client.MatchingLabels{
		v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}); err != nil {
		return err
	}
	grants := b.server.snapshot()
	current := 0
	for i := range list.Items {
		if number, err := numberOf(list.Items[i].Name); err == nil &&
			string(list.Items[i].Data[v1alpha1.KeyAccessToken]) == grants[number].access {
			current++
		}
	}
	if current != b.n {
		return fmt.Errorf("%d of %d token Secrets hold the newest token; the operator says:\n%s", current, b.n,
			b.operator.LogTail(10))
	}
	return nil
}

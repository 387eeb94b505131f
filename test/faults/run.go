package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// play runs the faults until there were enough refreshes, each of them at least once.
func (w *world) play(ctx context.Context) error {
	go w.people.run(ctx)
	go (&consumer{w: w}).run(ctx)
	if err := w.create(ctx); err != nil {
		return err
	}
	if err := w.becomeReady(ctx, time.Now(), 2*time.Minute); err != nil {
		return fmt.Errorf("before any fault: %w", err)
	}
	w.server.weather.Store(true)
	w.server.harsh.Store(true)
	for round := 0; round == 0 || w.ledger.count() < w.refreshes; round++ {
		if err := w.round(ctx); err != nil {
			return err
		}
	}
	w.server.weather.Store(false)
	harness.Stderr("the faults are over; waiting until all connections are well")
	if err := w.becomeReady(ctx, time.Now(), 3*time.Minute); err != nil {
		harness.Stderr("%v", err)
	}
	return w.settle(ctx)
}

// round plays every disaster once, in an order that the seed gives.
func (w *world) round(ctx context.Context) error {
	alone := w.alone()
	if w.quick {
		w.meanwhile = w.anywhere()
	} else {
		alone = append(alone, w.anywhere()...)
	}
	if err := w.each(ctx, alone); err != nil {
		return err
	}
	other := w.fleet.pods[1]
	w.fleet.run(ctx, other)
	harness.Stderr("a second replica starts")
	if err := w.answers(ctx, other.health); err != nil {
		return err
	}
	disasters := w.together()
	if w.quick {
		disasters = slices.DeleteFunc(disasters, func(d disaster) bool { return !strings.HasSuffix(d.name, "after-send") })
	}
	if err := w.each(ctx, disasters); err != nil {
		return err
	}
	if err := other.stop(60 * time.Second); err != nil {
		w.table.broken(&w.table.unclean, "%v", err)
	}
	return nil
}

// answers waits until a pod is ready.
func (w *world) answers(ctx context.Context, address string) error {
	for range 300 {
		if harness.IsReady(ctx, address) {
			return nil
		}
		if err := harness.Pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the operator is not ready within a minute")
}

func (w *world) each(ctx context.Context, disasters []disaster) error {
	w.rng.Shuffle(len(disasters), func(a, b int) { disasters[a], disasters[b] = disasters[b], disasters[a] })
	for _, d := range disasters {
		if err := w.strike(ctx, d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

// strike plays one disaster, and sees that refreshes go on after it and no bound was broken. While it lasts, no answers
// are lost to servers with a grace of time: no more than one thing goes wrong for a grant at once.
func (w *world) strike(ctx context.Context, d disaster) error {
	defer w.server.harsh.Store(w.server.harsh.Swap(false))
	if err := harness.Pause(ctx, 2*time.Second+w.random(2*time.Second)); err != nil {
		return err
	}
	r, broken, begun := w.table.row(d.name), w.table.failures(), time.Now()
	if err := d.strike(ctx); err != nil {
		return err
	}
	w.table.count(&r.injected)
	before := w.ledger.count()
	deadline := time.Now().Add(90 * time.Second)
	for w.ledger.count() < before+3 {
		if time.Now().After(deadline) {
			return fmt.Errorf("no refresh for 90 s after it")
		}
		if err := harness.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if w.table.failures() == broken {
		w.table.count(&r.survived)
	}
	harness.Stderr("%-44s %4.0f s, %d refreshes so far", d.name, time.Since(begun).Seconds(), w.ledger.count())
	return nil
}

// becomeReady waits until every connection is Ready with a valid token that was issued after a time.
func (w *world) becomeReady(ctx context.Context, since time.Time, within time.Duration) error {
	deadline := time.Now().Add(within)
	for {
		missing, err := w.notReady(ctx, since)
		switch {
		case err == nil && len(missing) == 0:
			return nil
		case time.Now().After(deadline) && err == nil:
			return fmt.Errorf("%d connections are not Ready within %s, such as %s: %s", len(missing), within, missing[0].Name,
				harness.Describe(missing[0]))
		case time.Now().After(deadline):
			return errors.Join(fmt.Errorf("%d connections are not Ready within %s", len(missing), within), err)
		}
		if err := harness.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// notReady are the connections that are not Ready, or whose token is not valid at the server, or older than a time.
func (w *world) notReady(ctx context.Context, since time.Time) ([]*v1alpha1.MCPConnection, error) {
	all, err := w.connections(ctx)
	if err != nil {
		return nil, err
	}
	var out []*v1alpha1.MCPConnection
	for i := range all {
		ready := meta.IsStatusConditionTrue(all[i].Status.Conditions, v1alpha1.ConditionReady)
		if !ready || !w.ledger.fresh(numberOf(&all[i]), since) {
			out = append(out, &all[i])
		}
	}
	return out, nil
}

// fresh reports whether the newest token of a connection is valid and was issued after a time.
func (l *ledger) fresh(connection int, since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.families[connection]
	if f == nil || f.revoked {
		return false
	}
	issued := f.newest.expires.Add(-lifetimeOf(connection))
	return l.now().Before(f.newest.expires) && issued.After(since)
}

// settle draws up the account of what is left.
func (w *world) settle(ctx context.Context) error {
	missing, err := w.notReady(ctx, time.Time{})
	if err != nil {
		return err
	}
	for _, conn := range missing {
		w.table.broken(&w.table.notReady, "%s\n%s", conn.Name, harness.Describe(conn))
	}
	all, err := w.connections(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if why := w.lostGrant(ctx, &all[i]); why != "" {
			w.table.broken(&w.table.lost, "%s: %s", all[i].Name, why)
		}
	}
	return nil
}

// lostGrant says why a connection's grant is of no use; empty if it is, or if its family was revoked and counted
// already.
func (w *world) lostGrant(ctx context.Context, conn *v1alpha1.MCPConnection) string {
	if w.ledger.over(numberOf(conn)) {
		return ""
	}
	held, err := w.store.Get(ctx, conn.UID)
	if err != nil || held == nil || len(held.Grants) == 0 {
		return fmt.Sprintf("no grant is stored (%v)", err)
	}
	g := held.Grant(conn.Spec.ServerURL, "", held.Grants[0].GrantType)
	switch {
	case g == nil:
		return "no grant is stored for its server"
	case g.SetAside != nil:
		return "its grant was set aside: " + g.SetAside.Reason
	case !w.ledger.holds(numberOf(conn), g.RefreshToken):
		return "its refresh token is none that the server would take"
	}
	if c := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionAuthorized); c == nil ||
		c.Status == metav1.ConditionUnknown {
		return "Authorized says nothing"
	}
	return ""
}

// holds reports whether a refresh token is of the connection's current family and would be taken.
func (l *ledger) holds(connection int, refresh string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.refresh[refresh]
	return i != nil && i.family == l.families[connection] && !i.family.revoked &&
		(i.rotated.IsZero() || l.tolerated(i, l.now()))
}

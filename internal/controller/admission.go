package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// Every request to a stranger takes slots. What is claimed, or asked of one known URL, takes them beforehand
// (withSlot); a chain of requests whose URLs show on the way takes them one by one (admitting), and holds those of one
// host at a time: a slow MCP server holds no slot of the authorization server that it names.

// withSlot runs a request if the host and the namespace have a free slot, else has it tried again soon.
func (r *Reconciler) withSlot(w *work, url string, request func() error) error {
	if w.pass == nil { // not in a reconcile
		w.pass = r.slots.Pass(client.ObjectKeyFromObject(w.Conn))
		defer func() { w.pass.Release(); w.pass = nil }()
	}
	u := lifecycle.Urgency(r.Clock.Now(), w.State)
	if !r.mayAsk(w, url, u) {
		return nil
	}
	if u.Reserved() {
		defer w.pass.Spend(url)()
	}
	return request()
}

// withProbeSlot is withSlot for a probe.
func (r *Reconciler) withProbeSlot(w *work, url string, request func() error) error {
	if w.pass != nil && !w.pass.TakeProbe(url) {
		w.Busy = lifecycle.OrdinarySlotRetry
		return nil
	}
	return request()
}

// mayAsk takes slots, or notes that there are none.
func (r *Reconciler) mayAsk(w *work, url string, u slots.Urgency) bool {
	if w.pass.Take(url, u, r.Clock.Now()) {
		return true
	}
	w.Busy = patience(u)
	return false
}

// admitting is a context whose requests take slots as they are made.
func (r *Reconciler) admitting(ctx context.Context, w *work, u slots.Urgency) context.Context {
	if w.pass == nil {
		return ctx
	}
	return mcpoauth.WithAdmission(ctx, func(url string) bool {
		w.pass.MoveTo(url, r.Clock.Now())
		return r.mayAsk(w, url, u)
	})
}

// keptBack reports whether a request was not made for want of a slot. It is no failure: it is made when its turn has
// come.
func keptBack(err error) bool {
	e := mcpoauth.AsError(err)
	return e != nil && e.Code == mcpoauth.Busy
}

// patience is how long a connection waits for a slot if nobody wakes it.
func patience(u slots.Urgency) time.Duration {
	if u.Reserved() {
		return lifecycle.UrgentSlotRetry
	}
	return lifecycle.OrdinarySlotRetry
}

// waitsForSlot takes a worker, and the slots of the request that will probably be made, before anything is read live.
// When many are due at once, those that have to wait so cost the API server nothing. It is true if there are none, and
// tells when to look again.
func waitsForSlot(now time.Time, conn *v1alpha1.MCPConnection, seen *lifecycle.Cached,
	p *slots.Pass) (time.Time, bool) {
	u := lifecycle.ExpectedUrgency(now, conn, &seen.Held)
	url := lifecycle.ExpectedCall(now, conn, seen, u)
	if p.Enter(u) && (url == "" || p.Granted() || p.Take(url, u, now)) {
		return time.Time{}, false
	}
	tasks := []lifecycle.Task{{At: now.Add(patience(u))}}
	if t := conn.Status.Token; t != nil {
		if t.ExpiresAt != nil {
			tasks = append(tasks, lifecycle.Task{At: t.ExpiresAt.Time})
		}
		if t.RefreshAt != nil { // it becomes urgent
			tasks = append(tasks, lifecycle.Task{At: lifecycle.RefreshMoment(conn.UID, t.RefreshAt.Time)})
		}
	}
	next, _ := lifecycle.Earliest(now, tasks)
	return next.At, true
}

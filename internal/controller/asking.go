package controller

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// Every request to a stranger takes slots. What is claimed, or asked of one known URL, takes them beforehand (withSlot); a
// chain of requests whose URLs show on the way takes them one by one (admitting), and holds those of one host at a time: a slow MCP
// server holds no slot of the authorization server that it names.

// withSlot runs a request if the host and the namespace have a free slot, else has it tried again soon.
func (r *Reconciler) withSlot(o *work, url string, request func() error) error {
	if o.pass == nil { // not in a reconcile
		o.pass = r.slots.Pass(client.ObjectKeyFromObject(o.conn))
		defer func() { o.pass.Release(); o.pass = nil }()
	}
	u := urgency(r.Clock.Now(), o.observed)
	if !r.mayAsk(o, url, u) {
		return nil
	}
	if u.Reserved() {
		defer o.pass.Spend(url)()
	}
	return request()
}

// withProbeSlot is withSlot for a probe.
func (r *Reconciler) withProbeSlot(o *work, url string, request func() error) error {
	if o.pass != nil && !o.pass.TakeProbe(url) {
		o.busy = crowdedRetry
		return nil
	}
	return request()
}

// mayAsk takes slots, or notes that there are none.
func (r *Reconciler) mayAsk(o *work, url string, u slots.Urgency) bool {
	if o.pass.Take(url, u, r.Clock.Now()) {
		return true
	}
	o.busy = patience(u)
	return false
}

// admitting is a context whose requests take slots as they are made.
func (r *Reconciler) admitting(ctx context.Context, o *work, u slots.Urgency) context.Context {
	if o.pass == nil {
		return ctx
	}
	return mcpoauth.WithAdmission(ctx, func(url string) bool {
		o.pass.MoveTo(url, r.Clock.Now())
		return r.mayAsk(o, url, u)
	})
}

// keptBack reports whether a request was not made for want of a slot. It is no failure: it is made when its turn has come.
func keptBack(err error) bool {
	e := mcpoauth.AsError(err)
	return e != nil && e.Code == mcpoauth.Busy
}

// patience is how long a connection waits for a slot if nobody wakes it.
func patience(u slots.Urgency) time.Duration {
	if u.Reserved() {
		return busyRetry
	}
	return crowdedRetry
}

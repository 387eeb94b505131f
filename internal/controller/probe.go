package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// probe tries the published token at the MCP server, as a workload would.
func (r *Reconciler) probe(ctx context.Context, w *work) error {
	return r.withProbeSlot(w, w.Conn.Spec.ServerURL, func() error {
		if err := r.noteProbe(ctx, w); err != nil {
			return err
		}
		g := w.Grant()
		info, err := r.OAuth.For(g.ServerURL).ProbeServer(ctx, lifecycle.ServerProbe(g))
		now, refusal := r.Clock.Now().Truncate(time.Second), lifecycle.RefusalIn(err)
		switch {
		case err == nil:
			w.Failures.Clear(lifecycle.StepProbe)
			return r.saveProbe(ctx, w, lifecycle.AcceptedProbe(g, info, now))
		case refusal == nil || (refusal.Code == mcpoauth.InsufficientScope && w.Refused()): // that changes nothing
			r.probeFailed(w, err)
			return nil
		}
		w.Discovery = nil // a new one may be wanted
		again := w.Refused()
		if err := r.saveProbe(ctx, w, lifecycle.RejectedProbe(g, refusal)); err != nil {
			return err
		}
		if !again {
			w.Failures.Clear(lifecycle.StepProbe) // it was of another token
		}
		if refusal.Code == mcpoauth.ProbeUnauthorized {
			r.probeFailed(w, refusal)
		}
		return nil
	})
}

// probeFailed has the server tried again. A refused token is not hurried, whatever its server answers now.
func (r *Reconciler) probeFailed(w *work, err error) {
	reason := v1alpha1.ReasonServerUnreachable
	if e := lifecycle.RefusalIn(err); e != nil {
		reason = string(e.Code)
	}
	if !w.Refused() {
		w.FailWith(r.Clock.Now(), lifecycle.StepProbe, err, reason)
		return
	}
	slow := &mcpoauth.Error{Kind: mcpoauth.Misconfigured}
	if e := mcpoauth.AsError(err); e != nil {
		slow.RetryAfter = e.RetryAfter
	}
	w.FailAs(r.Clock.Now(), lifecycle.StepProbe, slow, reason, "The published token is refused, and trying it again "+
		"leads to nothing else: "+err.Error())
}

// noteProbe keeps that the server is being tried. If the process dies of the answer, the next one reads so and waits.
func (r *Reconciler) noteProbe(ctx context.Context, w *work) error {
	return r.update(ctx, w, func(c *credential.Credential) error {
		c.ProbedAt = r.Clock.Now().Truncate(time.Second)
		return nil
	})
}

// saveProbe keeps a result with the grant if it is another than before.
func (r *Reconciler) saveProbe(ctx context.Context, w *work, found credential.Probe) error {
	g := w.Grant()
	if g.Probe != nil && *g.Probe == found && !lifecycle.Untried(g) && (!g.RefusedBefore || found.Reason != "") {
		return nil
	}
	tried, generation := g.Binding, g.Generation
	return r.update(ctx, w, func(c *credential.Credential) error {
		g := c.Grant(tried.ServerURL, tried.Issuer, tried.GrantType)
		if g == nil || g.Generation != generation {
			return claims.ErrLost
		}
		g.Probe = &found
		if g.SetAside != nil {
			g.SetAside.Tried = true
		}
		if found.Reason == "" {
			g.RefusedBefore = false
		}
		return nil
	})
}

package controller

import (
	"context"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// discoverTimeout bounds a whole discovery, which is a chain of requests with a time-out each.
const discoverTimeout = time.Minute

// discover finds the authorization server. Endpoints that moved at the same issuer are adopted.
func (r *Reconciler) discover(ctx context.Context, w *work) error {
	return r.withSlot(w, w.Conn.Spec.ServerURL, func() error {
		ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
		defer cancel()
		found, err := r.OAuth.For(w.Conn.Spec.ServerURL).Discover(
			r.admitting(ctx, w, lifecycle.Urgency(r.Clock.Now(), w.State)), lifecycle.DiscoveryRequest(w.State))
		if keptBack(err) {
			return nil
		}
		w.Rediscover = false
		if err != nil {
			w.FailWith(r.Clock.Now(), lifecycle.StepDiscover, err, "")
			return nil
		}
		if !found.AuthorizationRequired {
			w.Failures.Clear(lifecycle.StepDiscover)
			return r.savePublic(ctx, w)
		}
		return r.discovered(ctx, w, found)
	})
}

// savePublic notes that the server needs no authorization.
func (r *Reconciler) savePublic(ctx context.Context, w *work) error {
	public := credential.Grant{Public: true, IssuedAt: r.Clock.Now(),
		Binding: credential.Binding{ServerURL: w.Conn.Spec.ServerURL}}
	if old := w.Grant(); old != nil && old.Public && old.Probe != nil { // what the last probe asked for was done
		public.Probe = ptr.To(*old.Probe)
		public.Probe.Wants = credential.WantsNothing
	}
	err := r.update(ctx, w, func(c *credential.Credential) error {
		c.DropNamedIssuer(w.Conn.Spec.ServerURL)
		c.PutGrant(public)
		c.Authorization.Withdraw()
		w.Keep(c, v1alpha1.AnnotationReauthorize)
		w.Keep(c, v1alpha1.AnnotationChallenge)
		return nil
	})
	if err == nil {
		w.Handled.Reauthorize, w.Handled.Challenge = lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationReauthorize),
			lifecycle.ChallengeID(w.Conn)
	}
	return err
}

// discovered takes over what was found. Where no link could work, nobody is registered and no link is offered.
func (r *Reconciler) discovered(ctx context.Context, w *work, found *mcpoauth.Discovery) error {
	w.Discovery = found
	trouble := lifecycle.LinkTrouble(w.State, r.Clock.Now())
	if trouble == nil {
		w.Failures.Clear(lifecycle.StepDiscover)
		return r.adopt(ctx, w)
	}
	w.FailWith(r.Clock.Now(), lifecycle.StepDiscover, trouble, "")
	err := r.adopt(ctx, w)
	w.Discovery = nil
	return err
}

package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// startAuthorization offers a link. Everything that a later request needs is fixed and saved with it.
func (r *Reconciler) startAuthorization(ctx context.Context, w *work) error {
	now := r.Clock.Now()
	request := lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationReauthorize)
	if w.IssuerChanged() {
		w.StopAtChangedIssuer(now, lifecycle.StepStartAuthorization)
		return nil
	}
	if w.ExternalURL == "" {
		w.Handled.Reauthorize = request
		w.RecordFailure(lifecycle.StepStartAuthorization, v1alpha1.ReasonConsentUnavailable,
			"A person's consent is needed, but the operator has no address for the callback: start it with --external-url.", now,
			func(int32) time.Time { return time.Time{} })
		return nil
	}
	b := lifecycle.Binding(w.State)
	// A link that cannot work is not offered.
	if err := mcpoauth.CheckAuthorizationEndpoint(b.AuthorizationRequest("", "")); err != nil {
		w.FailWith(r.Clock.Now(), lifecycle.StepStartAuthorization, err, "")
		return nil
	}
	expired := w.Offer() != nil && !now.Before(w.Offer().ExpiresAt)
	offer := credential.Offer{
		Ticket: credential.NewTicket(w.Conn.UID), ExpiresAt: lifecycle.LinkExpiry(w.Registered, now),
		SpecHash: lifecycle.BindingHash(w.Spec()), Reauthorize: lifecycle.ReauthorizeFor(w.State), Binding: b,
	}
	if err := r.update(ctx, w, func(c *credential.Credential) error {
		lifecycle.CountExpired(c, now)
		c.Authorization.Replace(offer)
		w.Keep(c, v1alpha1.AnnotationReauthorize)
		return nil
	}); err != nil {
		return fmt.Errorf("saving the offer of consent: %w", err)
	}
	if expired {
		consents.WithLabelValues(outcomeExpired).Inc()
	}
	w.Failures.Clear(lifecycle.StepStartAuthorization)
	w.Handled.Reauthorize = request
	return nil
}

// endAuthorization withdraws a link that nobody needs any more.
func (r *Reconciler) endAuthorization(ctx context.Context, w *work) error {
	return r.update(ctx, w, func(c *credential.Credential) error {
		c.Authorization.Withdraw()
		return nil
	})
}

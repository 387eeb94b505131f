package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// unregisterWithin bounds how long one look at a deleted connection deletes its registrations.
const unregisterWithin = 30 * time.Second

// unregister deletes a registration that nothing needs any more (RFC 7592). After a few failures it is left to the
// server.
func (r *Reconciler) unregister(ctx context.Context, w *work) error {
	retired := w.Unused()[0]
	return r.withSlot(w, retired.Client.RegistrationClientURI, func() error {
		err := r.deleteRegistration(ctx, w, &retired)
		if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
			if f := w.Failures.Find(lifecycle.StepUnregister); f == nil || f.Attempts < lifecycle.MaxRevokeAttempts {
				w.FailAs(r.Clock.Now(), lifecycle.StepUnregister, e, string(e.Code),
					"Deleting a client that is not used any more fails and is retried: "+e.Message)
				return nil
			}
		}
		if err != nil {
			w.Notes = append(w.Notes, lifecycle.NotUnregistered(err))
		}
		w.Failures.Clear(lifecycle.StepUnregister)
		return r.update(ctx, w, func(c *credential.Credential) error {
			c.ForgetRetired(retired.Issuer, retired.Client.ClientID)
			return nil
		})
	})
}

// deleteRegistration asks the server that a registration is from, and no other.
func (r *Reconciler) deleteRegistration(ctx context.Context, w *work, registration *credential.Registration) error {
	serverURL := w.Conn.Spec.ServerURL
	for i := range w.Held.Grants {
		if g := &w.Held.Grants[i]; g.Issuer == registration.Issuer {
			serverURL = g.ServerURL
		}
	}
	ctx, cancel := context.WithTimeout(ctx, claims.SendBy)
	defer cancel()
	return r.OAuth.For(serverURL).DeleteRegistration(ctx, &registration.Client)
}

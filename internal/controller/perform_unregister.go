package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// unregisterWithin bounds how long one look at a deleted connection deletes its registrations.
const unregisterWithin = 30 * time.Second

// unregister deletes a registration that nothing needs any more (RFC 7592). After a few failures it is left to the server.
func (r *Reconciler) unregister(ctx context.Context, o *work) error {
	retired := o.unused()[0]
	return r.withSlot(o, retired.Client.RegistrationClientURI, func() error {
		err := r.deleteRegistration(ctx, o, &retired)
		if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
			if f := o.failures.find(stepUnregister); f == nil || f.Attempts < maxRevokeAttempts {
				o.failAs(r.Clock.Now(), stepUnregister, e, string(e.Code), "Deleting a client that is not used any more fails and is retried: "+e.Message)
				return nil
			}
		}
		if err != nil {
			o.notes = append(o.notes, notUnregistered(err))
		}
		o.failures.clear(stepUnregister)
		return r.update(ctx, o, func(c *credential.Credential) error {
			c.ForgetRetired(retired.Issuer, retired.Client.ClientID)
			return nil
		})
	})
}

func notUnregistered(err error) note {
	return note{warning: true, reason: "UnregistrationFailed", message: "A client could not be deleted; delete it at the authorization server: " + err.Error()}
}

// deleteRegistration asks the server that a registration is from, and no other.
func (r *Reconciler) deleteRegistration(ctx context.Context, o *work, registration *credential.Registration) error {
	serverURL := o.conn.Spec.ServerURL
	for i := range o.held.Grants {
		if g := &o.held.Grants[i]; g.Issuer == registration.Issuer {
			serverURL = g.ServerURL
		}
	}
	ctx, cancel := context.WithTimeout(ctx, claims.SendBy)
	defer cancel()
	return r.OAuth.For(serverURL).DeleteRegistration(ctx, &registration.Client)
}

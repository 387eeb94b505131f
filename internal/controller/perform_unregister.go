package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// unregisterWithin bounds how long one look at a connection deletes its registrations.
const unregisterWithin = 30 * time.Second

// unregister deletes a registration that nothing needs any more (RFC 7592). After a few failures it is left to the server.
func (r *Reconciler) unregister(ctx context.Context, o *observed) error {
	retired := o.unused()[0]
	return r.withSlot(o, retired.Client.RegistrationClientURI, func() error {
		err := r.deleteRegistration(ctx, o, &retired)
		if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
			if f := o.failures.find(stepUnregister); f == nil || f.Attempts < maxRevokeAttempts {
				r.failAs(o, stepUnregister, e, string(e.Code), "Deleting a client that is not used any more fails and is retried: "+e.Message)
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
func (r *Reconciler) deleteRegistration(ctx context.Context, o *observed, registration *credential.Registration) error {
	serverURL := o.conn.Spec.ServerURL
	for i := range o.held.Grants {
		if g := &o.held.Grants[i]; g.Issuer == registration.Issuer {
			serverURL = g.ServerURL
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sendBy)
	defer cancel()
	return r.OAuth.For(serverURL).DeleteRegistration(ctx, &registration.Client)
}

// undeleted is a registration that could not be deleted, and why.
type undeleted struct {
	registration credential.Registration
	err          error
}

// mayHeal says whether deleting it again may help.
func (u undeleted) mayHeal() bool {
	e := mcpoauth.AsError(u.err)
	return e != nil && e.Kind == mcpoauth.Transient
}

// deleteRegistrations deletes each whatever becomes of the others, and returns those that are left.
func (r *Reconciler) deleteRegistrations(ctx context.Context, o *observed, all []credential.Registration) []undeleted {
	ctx, cancel := context.WithTimeout(ctx, unregisterWithin)
	defer cancel()
	var left []undeleted
	for i := range all {
		if err := r.deleteRegistration(ctx, o, &all[i]); err != nil {
			left = append(left, undeleted{all[i], err})
		}
	}
	return left
}

// unregisterAll deletes all registrations, after the grants were revoked. It says whether there is nothing more to do: it
// waits for what may heal, but not for ever. What was done is not done again: a client that is gone can revoke nothing.
func (r *Reconciler) unregisterAll(ctx context.Context, o *observed) (done bool, err error) {
	waits := r.Clock.Now().Sub(o.conn.DeletionTimestamp.Time) < finalizeWithin
	var again []credential.Registration
	var last *mcpoauth.Error
	for _, left := range r.deleteRegistrations(ctx, o, o.held.Managed()) {
		if waits && left.mayHeal() {
			again, last = append(again, left.registration), mcpoauth.AsError(left.err)
			continue
		}
		o.notes = append(o.notes, notUnregistered(left.err))
	}
	if last == nil {
		return true, nil
	}
	err = r.update(ctx, o, func(c *credential.Credential) error {
		c.EndAll(again)
		return nil
	})
	if err != nil {
		return false, err
	}
	r.failAs(o, stepFinalize, last, v1alpha1.ReasonTokenRequestFailing, "Deleting the client fails and is retried: "+last.Message)
	return false, nil
}

package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
)

// writer changes the credential Secret of a connection and remembers what was written: update, or save.
type writer func(context.Context, *work, func(*credential.Credential) error) error

// update changes the credential Secret, and makes it if there is none.
func (r *Reconciler) update(ctx context.Context, o *work, mutate func(*credential.Credential) error) error {
	var held *credential.Held
	var err error
	mutate = o.keeping(mutate)
	if o.held == nil {
		held, err = r.Store.Create(ctx, credential.Connection{UID: o.conn.UID, Namespace: o.conn.Namespace, Name: o.conn.Name}, func(c *credential.Credential) error {
			c.Deletion.Policy = notedPolicy(o.spec())
			return mutate(c)
		})
	} else {
		held, err = r.Store.Update(ctx, o.held, mutate)
	}
	if err != nil {
		return err
	}
	o.held = held
	return nil
}

// save is update for an answer of a server, which should not be lost: it goes on until the API server takes it.
func (r *Reconciler) save(ctx context.Context, o *work, mutate func(*credential.Credential) error) error {
	if o.held == nil {
		return r.update(ctx, o, mutate)
	}
	unsavedAnswers.Inc()
	defer unsavedAnswers.Dec()
	held, err := r.Store.Save(ctx, o.held, o.keeping(mutate), func(err error, pause time.Duration) { r.unsaveable(ctx, o, err, pause) })
	if err == nil {
		o.held = held
	}
	return err
}

// onGrant changes the grant that counts now, and what else the credential holds.
func onGrant(ctx context.Context, o *work, write writer, mutate func(*credential.Credential, *credential.Grant) error) error {
	b := o.grant().Binding
	return write(ctx, o, func(c *credential.Credential) error {
		g := c.Grant(b.ServerURL, b.Issuer, b.GrantType)
		if g == nil {
			return claims.ErrLost
		}
		return mutate(c, g)
	})
}

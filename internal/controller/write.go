package controller

import (
	"context"
	"time"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// writer changes the credential Secret of a connection and remembers what was written: update, or save.
type writer func(context.Context, *work, func(*credential.Credential) error) error

// update changes the credential Secret, and makes it if there is none.
func (r *Reconciler) update(ctx context.Context, w *work, mutate func(*credential.Credential) error) error {
	var held *credential.Held
	var err error
	mutate = w.Keeping(mutate)
	if w.Held == nil {
		held, err = r.Store.Create(ctx, credential.Connection{UID: w.Conn.UID, Namespace: w.Conn.Namespace,
			Name: w.Conn.Name}, func(c *credential.Credential) error {
			c.Deletion.Policy = lifecycle.NotedPolicy(w.Spec())
			return mutate(c)
		})
	} else {
		held, err = r.Store.Update(ctx, w.Held, mutate)
	}
	if err != nil {
		return err
	}
	w.Held = held
	return nil
}

// save is update for an answer of a server, which should not be lost: it goes on until the API server takes it.
func (r *Reconciler) save(ctx context.Context, w *work, mutate func(*credential.Credential) error) error {
	if w.Held == nil {
		return r.update(ctx, w, mutate)
	}
	unsavedAnswers.Inc()
	defer unsavedAnswers.Dec()
	held, err := r.Store.Save(ctx, w.Held, w.Keeping(mutate),
		func(err error, pause time.Duration) { r.unsaveable(ctx, w, err, pause) })
	if err == nil {
		w.Held = held
	}
	return err
}

// onGrant changes the grant that counts now, and what else the credential holds.
func onGrant(ctx context.Context, w *work, write writer,
	mutate func(*credential.Credential, *credential.Grant) error) error {
	b := w.Grant().Binding
	return write(ctx, w, func(c *credential.Credential) error {
		g := c.Grant(b.ServerURL, b.Issuer, b.GrantType)
		if g == nil {
			return claims.ErrLost
		}
		return mutate(c, g)
	})
}

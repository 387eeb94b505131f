package controller

import (
	"context"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// takeChallenge writes down what a challenge calls for. A refused token is refreshed once, then the server is
// discovered; missing scopes want a consent, if another one may bring them.
func (r *Reconciler) takeChallenge(ctx context.Context, w *work) error {
	id, g := lifecycle.ChallengeID(w.Conn), w.Grant()
	if g == nil || g.Revoke != "" { // a consent is on its way, or nothing would help
		w.Handled.Challenge = id
		return nil
	}
	taken := lifecycle.NewChallenge(w.Conn.Annotations[v1alpha1.AnnotationChallenge], g)
	done := taken.Wants == credential.WantsNothing || taken.Wants == credential.WantsConsent
	if !done {
		w.Discovery = nil
	}
	err := onGrant(ctx, w, r.update, func(c *credential.Credential, g *credential.Grant) error {
		if g.Challenge = taken; done {
			w.Keep(c, v1alpha1.AnnotationChallenge)
		}
		return nil
	})
	if err == nil && done {
		w.Handled.Challenge = id
	}
	return err
}

// forgetChallenge forgets a challenge that was taken off.
func (r *Reconciler) forgetChallenge(ctx context.Context, w *work) error {
	w.Handled.Challenge = ""
	return r.update(ctx, w, func(c *credential.Credential) error {
		c.Handled.Challenge = ""
		return nil
	})
}

package controller

import (
	"context"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// adopt takes over what a discovery found: endpoints that moved at the same issuer, or that the issuer is another one.
// Whatever was stored for one issuer stays with it.
func (r *Reconciler) adopt(ctx context.Context, w *work) error {
	if w.Held == nil {
		return nil
	}
	g, as := w.Grant(), &w.Discovery.AuthorizationServer
	named := lifecycle.NamedIssuer(w.State, w.Discovery)
	moves := w.MayMove(g, as)
	hasMoved := moves && lifecycle.MovedEndpoints(g, as)
	w.NoteMoves(named, hasMoved)
	challenged, probed := w.Pending() == credential.WantsDiscovery, w.ProbePending() == credential.WantsDiscovery
	err := r.update(ctx, w, func(c *credential.Credential) error {
		if named != nil {
			c.PutNamedIssuer(*named)
		}
		if g != nil {
			lifecycle.AdoptInto(c, g, w.Discovery, moves, challenged, probed, named != nil && named.Pinned != "")
			if challenged && !lifecycle.WantsRefresh(c.Grant(g.ServerURL, g.Issuer, g.GrantType)) {
				w.Keep(c, v1alpha1.AnnotationChallenge)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if hasMoved {
		w.Failures.Clear(lifecycle.StepRefresh)
	}
	w.Adopted(g)
	// A key that tokens have to be bound to from now on wants one more refresh.
	if challenged && !lifecycle.WantsRefresh(w.Grant()) {
		w.Handled.Challenge = lifecycle.ChallengeID(w.Conn)
	}
	return nil
}

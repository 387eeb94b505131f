package controller

import (
	"context"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
)

// takeOver releases a claim on the refresh token whose process is gone. That one may have sent the token, so its
// outcome is unknown, and Decide says whether it may be sent once more.
func (r *Reconciler) takeOver(ctx context.Context, w *work) error {
	left := w.Grant().Claim
	if wait := r.Claims.Wait(w.Conn.UID, left, r.Clock.Now()); wait > 0 {
		w.Busy = min(wait, claims.Margin)
		return nil
	}
	r.Claims.Forget(w.Conn.UID)
	claimsTakenOver.Inc()
	return onGrant(ctx, w, r.update, func(_ *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != left.ID {
			return claims.ErrLost
		}
		g.Claim = nil
		g.UnknownOutcomes++
		return nil
	})
}

package controller

import (
	"context"
	"errors"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// refresh spends the refresh token: claim, send, save.
func (r *Reconciler) refresh(ctx context.Context, w *work) error {
	g := w.Grant()
	if w.Client != nil && w.Client.Missing != "" && g.Client.Method == mcpoauth.Preregistered {
		w.NoteMissingClient(r.Clock.Now(), lifecycle.StepRefresh)
		return nil
	}
	if g.Claim != nil {
		return r.takeOver(ctx, w)
	}
	return r.withSlot(w, g.TokenEndpoint, func() error {
		return r.spend(ctx, w, func(ctx context.Context) error { return r.spendRefreshToken(ctx, w) })
	})
}

func (r *Reconciler) spendRefreshToken(ctx context.Context, w *work) error {
	g := w.Grant()
	claim, deadline := r.Claims.New(), r.Clock.Now().Add(claims.SendBy)
	generation := g.Generation
	crashpoint.Hit(crashpoint.BeforeClaim)
	err := onGrant(ctx, w, r.update, func(c *credential.Credential, g *credential.Grant) error {
		if g.Generation != generation || g.Claim != nil {
			return claims.ErrLost
		}
		g.Claim = claim
		w.Keep(c, v1alpha1.AnnotationRefresh)
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.AfterClaim)
	w.Handled.Refresh = lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationRefresh)
	g = w.Grant()
	request := mcpoauth.RefreshRequest{TokenEndpoint: lifecycle.TokenEndpoint(w.State, &g.Binding, deadline),
		RefreshToken: g.RefreshToken}
	if ptr.Deref(lifecycle.Compatibility(w.Spec()).ScopeOnRefresh, false) {
		request.Scopes = g.GrantedScopes
	}
	w.pass.Sending(r.Clock.Now())
	answer, err := r.OAuth.For(g.ServerURL).Refresh(crashpoint.WithAfterSend(ctx), request)
	w.pass.Answered(r.Clock.Now())
	crashpoint.Hit(crashpoint.AfterAnswer)
	countTokenRequest(mcpoauth.GrantTypeRefreshToken, err)
	if err != nil {
		return r.refreshFailed(ctx, w, claim, answer, err)
	}
	err = onGrant(ctx, w, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return claims.ErrLost
		}
		lifecycle.StoreAnswer(w.State, g, answer)
		c.Authorization.ClientRefusals = 0
		g.StepUps = 0
		lifecycle.Refreshed(g)
		return nil
	})
	if errors.Is(err, credential.ErrTooLarge) {
		return r.refreshTooLarge(ctx, w, claim, answer)
	}
	if err != nil {
		return r.notSaved(ctx, w, &g.Binding, answer, err)
	}
	crashpoint.Hit(crashpoint.AfterSave)
	w.Failures.Clear(lifecycle.StepRefresh)
	w.Discovery = nil // a challenge wants a new one
	return nil
}

func claimID(c *credential.Claim) string {
	if c == nil {
		return ""
	}
	return c.ID
}

// refreshFailed releases the claim and says what the failure means for the grant. A token that is still valid stays,
// and a refresh token that came without a usable access token takes the place of the one that was spent for it.
func (r *Reconciler) refreshFailed(ctx context.Context, w *work, claim *credential.Claim,
	answer *mcpoauth.TokenResponse, err error) error {
	e := mcpoauth.AsError(err)
	switch {
	case e == nil:
		e = &mcpoauth.Error{Outcome: mcpoauth.Unknown, Code: mcpoauth.TokenRequestFailing,
			Message: "The token endpoint could not be asked."}
	case answer != nil: // what the server did is known
		answered := *e
		answered.Outcome, e = mcpoauth.Answered, &answered
	}
	method := w.Grant().Client.Method
	saveErr := onGrant(ctx, w, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return claims.ErrLost
		}
		lifecycle.Blame(r.Clock.Now(), c, g, e)
		if answer != nil {
			g.RefreshToken, g.UnknownOutcomes = answer.RefreshToken, 0
			lifecycle.StoreEnd(g, answer)
		}
		return nil
	})
	if saveErr != nil {
		return saveErr
	}
	if !lifecycle.Refreshable(w.Grant()) {
		w.Failures.Clear(lifecycle.StepRefresh)
		return nil
	}
	w.NoteRefreshFailure(r.Clock.Now(), e, method)
	if e.Moved() {
		w.Rediscover = true
	}
	return nil
}

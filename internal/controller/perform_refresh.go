package controller

import (
	"context"
	"errors"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// refresh spends the refresh token: claim, send, save.
func (r *Reconciler) refresh(ctx context.Context, o *work) error {
	g := o.grant()
	if o.client != nil && o.client.missing != "" && g.Client.Method == mcpoauth.Preregistered {
		o.missing(r.Clock.Now(), stepRefresh)
		return nil
	}
	if g.Claim != nil {
		return r.takeOver(ctx, o)
	}
	return r.withSlot(o, g.TokenEndpoint, func() error {
		return r.spend(ctx, o, func(ctx context.Context) error { return r.spendRefreshToken(ctx, o) })
	})
}

func (r *Reconciler) spendRefreshToken(ctx context.Context, o *work) error {
	g := o.grant()
	claim, deadline := r.Claims.New(), r.Clock.Now().Add(claims.SendBy)
	generation := g.Generation
	crashpoint.Hit(crashpoint.BeforeClaim)
	err := onGrant(ctx, o, r.update, func(c *credential.Credential, g *credential.Grant) error {
		if g.Generation != generation || g.Claim != nil {
			return claims.ErrLost
		}
		g.Claim = claim
		o.keep(c, v1alpha1.AnnotationRefresh)
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.AfterClaim)
	o.handled.Refresh = requestOf(o.conn, v1alpha1.AnnotationRefresh)
	g = o.grant()
	request := mcpoauth.RefreshRequest{TokenEndpoint: tokenEndpoint(o.observed, &g.Binding, deadline), RefreshToken: g.RefreshToken}
	if ptr.Deref(compatibility(o.spec()).ScopeOnRefresh, false) {
		request.Scopes = g.GrantedScopes
	}
	o.pass.Sending(r.Clock.Now())
	answer, err := r.OAuth.For(g.ServerURL).Refresh(crashpoint.WithAfterSend(ctx), request)
	o.pass.Answered(r.Clock.Now())
	crashpoint.Hit(crashpoint.AfterAnswer)
	countTokenRequest(mcpoauth.GrantTypeRefreshToken, err)
	if err != nil {
		return r.refreshFailed(ctx, o, claim, answer, err)
	}
	err = onGrant(ctx, o, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return claims.ErrLost
		}
		store(o.observed, g, answer)
		c.Authorization.ClientRefusals = 0
		g.StepUps = 0
		refreshed(g)
		return nil
	})
	if errors.Is(err, credential.ErrTooLarge) {
		return r.refreshTooLarge(ctx, o, claim, answer)
	}
	if err != nil {
		return r.notSaved(ctx, o, &g.Binding, answer, err)
	}
	crashpoint.Hit(crashpoint.AfterSave)
	o.failures.clear(stepRefresh)
	o.discovery = nil // a challenge wants a new one
	return nil
}

func claimID(c *credential.Claim) string {
	if c == nil {
		return ""
	}
	return c.ID
}

// refreshFailed releases the claim and says what the failure means for the grant. A token that is still valid stays, and a
// refresh token that came without a usable access token takes the place of the one that was spent for it.
func (r *Reconciler) refreshFailed(ctx context.Context, o *work, claim *credential.Claim, answer *mcpoauth.TokenResponse, err error) error {
	e := mcpoauth.AsError(err)
	switch {
	case e == nil:
		e = &mcpoauth.Error{Outcome: mcpoauth.Unknown, Code: mcpoauth.TokenRequestFailing, Message: "The token endpoint could not be asked."}
	case answer != nil: // what the server did is known
		answered := *e
		answered.Outcome, e = mcpoauth.Answered, &answered
	}
	method := o.grant().Client.Method
	saveErr := onGrant(ctx, o, r.save, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return claims.ErrLost
		}
		blame(r.Clock.Now(), c, g, e)
		if answer != nil {
			g.RefreshToken, g.UnknownOutcomes = answer.RefreshToken, 0
			storeEnd(g, answer)
		}
		return nil
	})
	if saveErr != nil {
		return saveErr
	}
	if !refreshable(o.grant()) {
		o.failures.clear(stepRefresh)
		return nil
	}
	o.noteRefreshFailure(r.Clock.Now(), e, method)
	if e.Moved() {
		o.rediscover = true
	}
	return nil
}

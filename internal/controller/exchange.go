package controller

import (
	"context"
	"errors"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// exchangeCode spends an authorization code, once, or puts a refusal on record.
func (r *Reconciler) exchangeCode(ctx context.Context, w *work) error {
	response, now := w.Response(), r.Clock.Now()
	switch {
	case response.Code == "":
		return r.finish(ctx, w, response.Reason, response.Message)
	case response.Request.Binding.ServerURL != w.Conn.Spec.ServerURL:
		return r.finish(ctx, w, v1alpha1.ReasonConsentRequired, "spec.serverURL was edited during the consent; the answer "+
			"was for another server.")
	case response.Request.Binding.GrantType != lifecycle.GrantTypeOf(w.Spec()):
		return r.finish(ctx, w, v1alpha1.ReasonConsentRequired, "spec.grantType was edited during the consent; the answer "+
			"is not needed any more.")
	case response.Claim != nil:
		return r.abandonCode(ctx, w, response.Claim)
	case now.Sub(response.ReceivedAt) > lifecycle.CodeLifetime:
		return r.finish(ctx, w, v1alpha1.ReasonTokenRequestFailing, "The token endpoint could not be reached while the "+
			"authorization code was valid.")
	}
	return r.withSlot(w, response.Request.Binding.TokenEndpoint, func() error {
		return r.spend(ctx, w, func(ctx context.Context) error { return r.spendCode(ctx, w) })
	})
}

// abandonCode gives up a code that another process claimed and did not finish: it may have been sent, and is never sent
// again.
func (r *Reconciler) abandonCode(ctx context.Context, w *work, claim *credential.Claim) error {
	if wait := r.Claims.Wait(w.Conn.UID, claim, r.Clock.Now()); wait > 0 {
		w.Busy = min(wait, claims.Margin)
		return nil
	}
	r.Claims.Forget(w.Conn.UID)
	claimsTakenOver.Inc()
	return r.finish(ctx, w, v1alpha1.ReasonTokenRequestFailing, "The operator was stopped while it exchanged the "+
		"authorization code.")
}

func (r *Reconciler) spendCode(ctx context.Context, w *work) error {
	claim, deadline := r.Claims.New(), r.Clock.Now().Add(claims.SendBy)
	state := w.Response().Request.State
	crashpoint.Hit(crashpoint.BeforeClaim)
	err := r.update(ctx, w, func(c *credential.Credential) error {
		response := c.Authorization.Response
		if response == nil || response.Request.State != state || response.Claim != nil {
			return claims.ErrLost
		}
		response.Claim = claim
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.AfterClaim)
	response := w.Response()
	b := &response.Request.Binding
	w.pass.Sending(r.Clock.Now())
	answer, err := r.OAuth.For(b.ServerURL).Exchange(crashpoint.WithAfterSend(ctx), mcpoauth.CodeRequest{
		TokenEndpoint: lifecycle.TokenEndpoint(w.State, b, deadline), Code: response.Code,
		CodeVerifier: response.Request.CodeVerifier, RedirectURI: b.RedirectURI,
	})
	w.pass.Answered(r.Clock.Now())
	crashpoint.Hit(crashpoint.AfterAnswer)
	countTokenRequest(mcpoauth.GrantTypeAuthorizationCode, err)
	if err != nil {
		return r.codeFailed(ctx, w, claim, err)
	}
	withdrawn, err := r.saveGrant(ctx, w, claim, answer)
	if errors.Is(err, credential.ErrTooLarge) {
		return r.codeTooLarge(ctx, w, claim, answer)
	}
	if err != nil {
		return r.notSaved(ctx, w, b, answer, err)
	}
	crashpoint.Hit(crashpoint.AfterSave)
	w.Failures = nil
	r.revokeReplaced(ctx, w, withdrawn)
	return nil
}

// codeFailed puts on record why a code led to no token. Only a code that was certainly not sent is kept.
func (r *Reconciler) codeFailed(ctx context.Context, w *work, claim *credential.Claim, err error) error {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Outcome: mcpoauth.Unknown, Code: mcpoauth.TokenRequestFailing,
			Message: "The token endpoint could not be asked"}
	}
	saveErr := r.save(ctx, w, func(c *credential.Credential) error {
		response := c.Authorization.Response
		if response == nil || response.Claim == nil || response.Claim.ID != claim.ID {
			return claims.ErrLost
		}
		if e.Outcome == mcpoauth.NotSent {
			response.Claim = nil
			return nil
		}
		lifecycle.FinishFailed(c, e, r.Clock.Now())
		return nil
	})
	if saveErr != nil {
		return saveErr
	}
	if e.Outcome == mcpoauth.NotSent {
		w.FailAs(r.Clock.Now(), lifecycle.StepExchangeCode, e, v1alpha1.ReasonTokenRequestFailing, e.Message)
		return nil
	}
	consents.WithLabelValues(outcomeFailed).Inc()
	w.Failures.Clear(lifecycle.StepExchangeCode)
	return nil
}

// finish puts the outcome of a response on record and forgets its code.
func (r *Reconciler) finish(ctx context.Context, w *work, reason, message string) error {
	state := w.Response().Request.State
	err := r.update(ctx, w, func(c *credential.Credential) error {
		if response := c.Authorization.Response; response == nil || response.Request.State != state {
			return claims.ErrLost
		}
		c.Authorization.Finish(reason, message, r.Clock.Now())
		return nil
	})
	if err == nil {
		countConsent(reason)
	}
	w.Failures.Clear(lifecycle.StepExchangeCode)
	return err
}

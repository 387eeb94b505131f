package controller

import (
	"context"
	"errors"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// requestToken asks for a token without a person: the first, or the next before the last one expires.
func (r *Reconciler) requestToken(ctx context.Context, w *work) error {
	if w.Discovery != nil && w.IssuerChanged() {
		w.StopAtChangedIssuer(r.Clock.Now(), lifecycle.StepRequestToken)
		return nil
	}
	b, anew := w.RequestBinding()
	if w.Client != nil && w.Client.Missing != "" {
		w.NoteMissingClient(r.Clock.Now(), lifecycle.StepRequestToken)
		return nil
	}
	if err := w.ClientMayGo(lifecycle.Destination{Endpoint: b.TokenEndpoint, Issuer: b.Issuer, Documented: b.Documented},
		lifecycle.Destination{Endpoint: b.RevocationEndpoint, Issuer: b.Issuer, Documented: b.Documented}); err != nil {
		return r.requestFailed(ctx, w, anew, err)
	}
	return r.withSlot(w, b.TokenEndpoint, func() error {
		return r.withSlot(w, identityURL(w.Spec(), b.TokenEndpoint), func() error {
			return r.spend(ctx, w, func(ctx context.Context) error { return r.spendRequest(ctx, w, b, anew) })
		})
	})
}

func (r *Reconciler) spendRequest(ctx context.Context, w *work, b credential.Binding, anew bool) error {
	answer, err := r.askForToken(r.admitting(ctx, w, lifecycle.Urgency(r.Clock.Now(), w.State)), w, &b)
	w.pass.Answered(r.Clock.Now())
	if err != nil {
		return r.requestFailed(ctx, w, anew, err)
	}
	err = r.save(ctx, w, func(c *credential.Credential) error {
		g := w.NewGrant(b, answer)
		g.SpecHash = lifecycle.BindingHash(w.Spec())
		if old := c.Grant(b.ServerURL, b.Issuer, b.GrantType); old != nil {
			if !anew {
				g.SpecHash, g.Probe = old.SpecHash, lifecycle.ProbeOf(old)
			}
			g.Generation += old.Generation
			lifecycle.SucceedNonInteractive(&g, old)
		}
		c.PutGrant(g)
		c.Spent.Assertion = ""
		w.Keep(c, v1alpha1.AnnotationRefresh)
		if anew {
			w.Keep(c, v1alpha1.AnnotationReauthorize)
		}
		return nil
	})
	if errors.Is(err, credential.ErrTooLarge) {
		r.revokeReceived(ctx, w, &b, answer)
		return r.requestFailed(ctx, w, anew, tooLargeAnswer())
	}
	if err != nil {
		return r.notSaved(ctx, w, &b, answer, err)
	}
	w.Failures.Clear(lifecycle.StepRequestToken)
	w.Handled.Refresh = lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationRefresh)
	if anew {
		w.Handled.Reauthorize = lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationReauthorize)
	} else {
		w.Discovery = nil // a challenge wants a new one
	}
	return nil
}

// askForToken makes one request, as the grant type says. Another one is never tried in its place.
func (r *Reconciler) askForToken(ctx context.Context, w *work, b *credential.Binding) (*mcpoauth.TokenResponse, error) {
	oauth := r.OAuth.For(b.ServerURL)
	if w.Spec().GrantType == v1alpha1.GrantTypeClientCredentials {
		endpoint := lifecycle.TokenEndpoint(w.State, b, r.Clock.Now().Add(claims.SendBy))
		answer, err := oauth.ClientCredentials(ctx, mcpoauth.ClientCredentialsRequest{TokenEndpoint: endpoint,
			Scopes: b.Scopes})
		countTokenRequest(mcpoauth.GrantTypeClientCredentials, err)
		return answer, err
	}
	assertion, err := r.assertionFor(ctx, w, b)
	if err != nil {
		return nil, err
	}
	// After what the API server and the identity provider took.
	endpoint := lifecycle.TokenEndpoint(w.State, b, r.Clock.Now().Add(claims.SendBy))
	answer, err := oauth.JWTBearer(ctx, mcpoauth.JWTBearerRequest{TokenEndpoint: endpoint, Assertion: assertion,
		Scopes: b.Scopes})
	countTokenRequest(mcpoauth.GrantTypeJWTBearer, err)
	if e := mcpoauth.AsError(err); e != nil && e.OAuthError == "invalid_grant" {
		return nil, refusedAssertion{error: e, assertion: assertion}
	}
	return answer, err
}

// refusedAssertion is an assertion or subject token that a server does not accept. It is not sent again.
type refusedAssertion struct {
	error
	assertion string
}

func (e refusedAssertion) Unwrap() error { return e.error }

// requestFailed says why there is no token. One that is still valid stays.
func (r *Reconciler) requestFailed(ctx context.Context, w *work, anew bool, err error) error {
	e := mcpoauth.AsError(err)
	var u lifecycle.Unmet
	switch {
	case errors.As(err, &u):
		w.NotePrecondition(r.Clock.Now(), lifecycle.StepRequestToken, u)
		// An earlier version did not note whether the issuer's metadata name the endpoint.
		w.Rediscover = !anew && !w.Grant().Documented && lifecycle.AuthorizationServer(w.Spec()).TokenEndpoint == ""
		return nil
	case e == nil:
		return err // of the API server
	case keptBack(err):
		return nil
	}
	if saveErr := r.noteRefusal(ctx, w, anew, err); saveErr != nil {
		return saveErr
	}
	w.NoteRequestFailure(r.Clock.Now(), anew, e, errors.As(err, &identityFailure{}))
	return nil
}

// noteRefusal puts on record what is not to be tried again: a refused assertion, and what a challenge wanted.
func (r *Reconciler) noteRefusal(ctx context.Context, w *work, anew bool, err error) error {
	var refused refusedAssertion
	fromSecret := errors.As(err, &refused) && w.Spec().Assertion != nil && w.Spec().Assertion.SecretRef != nil
	g := w.Grant()
	if !fromSecret && !w.RefusalPending() {
		return nil
	}
	rejected := mcpoauth.AsError(err).OAuthError != ""
	return r.save(ctx, w, func(c *credential.Credential) error {
		if fromSecret {
			c.Spent.Assertion = credential.Hash(refused.assertion)
		}
		if g == nil {
			return nil
		}
		if g := c.Grant(g.ServerURL, g.Issuer, g.GrantType); g != nil {
			lifecycle.Refreshed(g)
			if anew && rejected && lifecycle.WantsConsent(g) {
				g.Challenge.Wants = credential.WantsNothing
			}
		}
		return nil
	})
}

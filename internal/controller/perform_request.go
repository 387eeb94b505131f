package controller

import (
	"context"
	"errors"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// requestToken asks for a token without a person: the first, or the next before the last one expires.
func (r *Reconciler) requestToken(ctx context.Context, o *work) error {
	if o.discovery != nil && o.issuerChanged() {
		o.stopAtChangedIssuer(r.Clock.Now(), stepRequestToken)
		return nil
	}
	b, anew := o.requestBinding()
	if o.client != nil && o.client.missing != "" {
		o.missing(r.Clock.Now(), stepRequestToken)
		return nil
	}
	if err := o.clientMayGo(destination{b.TokenEndpoint, b.Issuer, b.Documented}, destination{b.RevocationEndpoint, b.Issuer, b.Documented}); err != nil {
		return r.requestFailed(ctx, o, anew, err)
	}
	return r.withSlot(o, b.TokenEndpoint, func() error {
		return r.withSlot(o, identityURL(o.spec(), b.TokenEndpoint), func() error {
			return r.spend(ctx, o, func(ctx context.Context) error { return r.spendRequest(ctx, o, b, anew) })
		})
	})
}

// requestBinding says how to ask: as was just discovered, or as last time.
func (o *observed) requestBinding() (b credential.Binding, anew bool) {
	if o.discovery != nil && o.registered != nil {
		return binding(o), true
	}
	return o.grant().Binding, false
}

func (r *Reconciler) spendRequest(ctx context.Context, o *work, b credential.Binding, anew bool) error {
	answer, err := r.askForToken(r.admitting(ctx, o, urgency(r.Clock.Now(), o.observed)), o, &b)
	o.pass.Answered(r.Clock.Now())
	if err != nil {
		return r.requestFailed(ctx, o, anew, err)
	}
	err = r.save(ctx, o, func(c *credential.Credential) error {
		g := o.newGrant(b, answer)
		g.SpecHash = bindingHash(o.spec())
		if old := c.Grant(b.ServerURL, b.Issuer, b.GrantType); old != nil {
			if !anew {
				g.SpecHash, g.Probe = old.SpecHash, probeOf(old)
			}
			g.Generation += old.Generation
			succeedUnattended(&g, old)
		}
		c.PutGrant(g)
		c.Spent.Assertion = ""
		o.keep(c, v1alpha1.AnnotationRefresh)
		if anew {
			o.keep(c, v1alpha1.AnnotationReauthorize)
		}
		return nil
	})
	if errors.Is(err, credential.ErrTooLarge) {
		r.revokeReceived(ctx, o, &b, answer)
		return r.requestFailed(ctx, o, anew, tooLargeAnswer())
	}
	if err != nil {
		return r.notSaved(ctx, o, &b, answer, err)
	}
	o.failures.clear(stepRequestToken)
	o.handled.Refresh = requestOf(o.conn, v1alpha1.AnnotationRefresh)
	if anew {
		o.handled.Reauthorize = requestOf(o.conn, v1alpha1.AnnotationReauthorize)
	} else {
		o.discovery = nil // a challenge wants a new one
	}
	return nil
}

// succeedUnattended carries a challenge over to the next token, as refresh and consent do.
func succeedUnattended(g, old *credential.Grant) {
	succeed(g, old)
	if c := old.Challenge; c != nil && !c.Insufficient {
		kept := *c
		g.Challenge = &kept
		refreshed(g)
	}
}

// askForToken makes one request, as the grant type says. Another one is never tried in its place.
func (r *Reconciler) askForToken(ctx context.Context, o *work, b *credential.Binding) (*mcpoauth.TokenResponse, error) {
	oauth := r.OAuth.For(b.ServerURL)
	if o.spec().GrantType == v1alpha1.GrantTypeClientCredentials {
		endpoint := tokenEndpoint(o.observed, b, r.Clock.Now().Add(claims.SendBy))
		answer, err := oauth.ClientCredentials(ctx, mcpoauth.ClientCredentialsRequest{TokenEndpoint: endpoint, Scopes: b.Scopes})
		countTokenRequest(mcpoauth.GrantTypeClientCredentials, err)
		return answer, err
	}
	assertion, err := r.assertionFor(ctx, o, b)
	if err != nil {
		return nil, err
	}
	endpoint := tokenEndpoint(o.observed, b, r.Clock.Now().Add(claims.SendBy)) // after what the API server and the identity provider took
	answer, err := oauth.JWTBearer(ctx, mcpoauth.JWTBearerRequest{TokenEndpoint: endpoint, Assertion: assertion, Scopes: b.Scopes})
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
func (r *Reconciler) requestFailed(ctx context.Context, o *work, anew bool, err error) error {
	e := mcpoauth.AsError(err)
	var u unmet
	switch {
	case errors.As(err, &u):
		o.unmet(r.Clock.Now(), stepRequestToken, u)
		// An earlier version did not note whether the issuer's metadata name the endpoint.
		o.rediscover = !anew && !o.grant().Documented && authorizationServer(o.spec()).TokenEndpoint == ""
		return nil
	case e == nil:
		return err // of the API server
	case keptBack(err):
		return nil
	}
	if saveErr := r.noteRefusal(ctx, o, anew, err); saveErr != nil {
		return saveErr
	}
	o.noteRequestFailure(r.Clock.Now(), anew, e, errors.As(err, &identityFailure{}))
	return nil
}

// noteRefusal puts on record what is not to be tried again: a refused assertion, and what a challenge wanted.
func (r *Reconciler) noteRefusal(ctx context.Context, o *work, anew bool, err error) error {
	var refused refusedAssertion
	fromSecret := errors.As(err, &refused) && o.spec().Assertion != nil && o.spec().Assertion.SecretRef != nil
	g := o.grant()
	if !fromSecret && !o.refusalPending() {
		return nil
	}
	rejected := mcpoauth.AsError(err).OAuthError != ""
	return r.save(ctx, o, func(c *credential.Credential) error {
		if fromSecret {
			c.Spent.Assertion = credential.Hash(refused.assertion)
		}
		if g == nil {
			return nil
		}
		if g := c.Grant(g.ServerURL, g.Issuer, g.GrantType); g != nil {
			refreshed(g)
			if anew && rejected && wantsConsent(g) {
				g.Challenge.Wants = credential.WantsNothing
			}
		}
		return nil
	})
}

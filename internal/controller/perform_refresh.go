package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// refresh spends the refresh token: claim, send, save.
func (r *Reconciler) refresh(ctx context.Context, o *observed) error {
	g := o.grant()
	if o.client != nil && o.client.missing != "" && g.Client.Method == mcpoauth.Preregistered {
		r.missing(o, stepRefresh)
		return nil
	}
	if g.Claim != nil {
		return r.takeOver(ctx, o)
	}
	return r.withSlot(o, g.TokenEndpoint, func() error {
		return r.spend(ctx, o, func(ctx context.Context) error { return r.spendRefreshToken(ctx, o) })
	})
}

func (r *Reconciler) spendRefreshToken(ctx context.Context, o *observed) error {
	g := o.grant()
	claim, deadline := r.newClaim(), r.Clock.Now().Add(sendBy)
	generation := g.Generation
	crashpoint.Hit(crashpoint.BeforeClaim)
	err := r.onGrant(ctx, o, o.handling(v1alpha1.AnnotationRefresh, r.Store.Update), func(g *credential.Grant) error {
		if g.Generation != generation || g.Claim != nil {
			return errClaimLost
		}
		g.Claim = claim
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.AfterClaim)
	o.handled.Refresh = requestOf(o.conn, v1alpha1.AnnotationRefresh)
	g = o.grant()
	request := mcpoauth.RefreshRequest{TokenEndpoint: tokenEndpoint(o, &g.Binding, deadline), RefreshToken: g.RefreshToken}
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
	err = r.onCredential(ctx, o, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return errClaimLost
		}
		store(o, g, answer)
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

type writer func(context.Context, *credential.Held, func(*credential.Credential) error) (*credential.Held, error)

// onGrant changes the current grant in the credential Secret, by Update or Save.
func (r *Reconciler) onGrant(ctx context.Context, o *observed, write writer, mutate func(*credential.Grant) error) error {
	b := o.grant().Binding
	held, err := write(ctx, o.held, o.keeping(func(c *credential.Credential) error {
		g := c.Grant(b.ServerURL, b.Issuer, b.GrantType)
		if g == nil {
			return errClaimLost
		}
		return mutate(g)
	}))
	if err == nil {
		o.held = held
	}
	return err
}

// refreshFailed releases the claim and says what the failure means for the grant. A token that is still valid stays, and a
// refresh token that came without a usable access token takes the place of the one that was spent for it.
func (r *Reconciler) refreshFailed(ctx context.Context, o *observed, claim *credential.Claim, answer *mcpoauth.TokenResponse, err error) error {
	e := mcpoauth.AsError(err)
	switch {
	case e == nil:
		e = &mcpoauth.Error{Outcome: mcpoauth.Unknown, Code: mcpoauth.TokenRequestFailing, Message: "The token endpoint could not be asked."}
	case answer != nil: // what the server did is known
		answered := *e
		answered.Outcome, e = mcpoauth.Answered, &answered
	}
	method := o.grant().Client.Method
	saveErr := r.onCredential(ctx, o, func(c *credential.Credential, g *credential.Grant) error {
		if claimID(g.Claim) != claim.ID {
			return errClaimLost
		}
		r.blame(c, g, e)
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
	r.noteRefreshFailure(o, e, method)
	if e.Moved() {
		o.rediscover = true
	}
	return nil
}

// blame releases the claim of a grant whose refresh failed, and counts what may end it.
func (r *Reconciler) blame(c *credential.Credential, g *credential.Grant, e *mcpoauth.Error) {
	g.Claim = nil
	refreshed(g)
	if e.Outcome == mcpoauth.Unknown {
		g.UnknownOutcomes++
	}
	countRefusal(g, e, r.Clock.Now())
	if clientRejected(e) && g.Client.Method == mcpoauth.Dynamic {
		g.SetAside = r.setAsideClient(e, g, refuseClient(c, &g.Binding))
		return
	}
	if over := r.setAside(e, g); over != nil && (g.SetAside == nil || g.SetAside.Reason != over.Reason) {
		g.SetAside = over
	}
}

// setAsideClient says what a refused client that registered itself means for its grant.
func (r *Reconciler) setAsideClient(e *mcpoauth.Error, g *credential.Grant, next remedy) *credential.SetAside {
	over := &credential.SetAside{Reason: v1alpha1.ReasonRefreshRejected, At: r.Clock.Now()}
	switch next {
	case sendsSecret:
		return g.SetAside
	case wantsPerson:
		over.Message = refusedAgainText(e)
	case registersAnew:
		over.Message = "The authorization server no longer knows this client, so it is registered anew. " + openLink
	}
	return over
}

// countRefusal counts what ends a grant, or makes a consent worth offering, only if it lasts.
func countRefusal(g *credential.Grant, e *mcpoauth.Error, now time.Time) {
	switch {
	case e.OAuthError == "invalid_grant", clientRejected(e):
	case e.Kind == mcpoauth.Rejected && e.OAuthError == g.Rejected:
		g.Rejections++
	case e.Kind == mcpoauth.Rejected:
		g.Rejections, g.Rejected, g.RejectedSince = 1, e.OAuthError, now
	case e.Kind == mcpoauth.Transient && e.Status >= 400 && e.Status <= 499 && e.Outcome == mcpoauth.Answered && !e.Moved():
		g.Refusals++
	}
}

// setAside says whether the grant is over: the server ended it, or refused it for too long.
func (r *Reconciler) setAside(e *mcpoauth.Error, g *credential.Grant) *credential.SetAside {
	at := r.Clock.Now()
	switch {
	case e.OAuthError == "invalid_grant":
		return &credential.SetAside{Reason: v1alpha1.ReasonRefreshRejected, At: at,
			Message: "The authorization server ended the grant (" + e.Message + "). " + openLink}
	case g.Rejections >= maxRejections && at.Sub(g.RejectedSince) >= rejectedFor:
		return &credential.SetAside{Reason: v1alpha1.ReasonTokenRequestRejected, At: at, Retried: publishable(g),
			Message: fmt.Sprintf("The token endpoint has refused %d refreshes since %s with the same error (%s), and is still asked now and then. Check spec.compatibility. If that does not help: %s",
				g.Rejections, g.RejectedSince.UTC().Format(time.RFC3339), e.Message, openLink)}
	}
	return nil
}

func (r *Reconciler) noteRefreshFailure(o *observed, e *mcpoauth.Error, method mcpoauth.RegistrationMethod) {
	reason, message := string(e.Code), e.Message
	switch {
	case clientRejected(e) && method == mcpoauth.Dynamic: // else the grant was set aside
		reason, message, e = v1alpha1.ReasonTokenRequestRejected, secretDemanded, &mcpoauth.Error{RetryAfter: e.RetryAfter}
	case clientRejected(e):
		reason, message = clientReason(e, method)
	}
	if e.Kind == mcpoauth.Rejected {
		e = &mcpoauth.Error{Kind: mcpoauth.Misconfigured, RetryAfter: e.RetryAfter}
	}
	g, now := o.grant(), r.Clock.Now()
	r.failAs(o, stepRefresh, e, reason, message)
	if e.Outcome == mcpoauth.Unknown && g.UnknownOutcomes == 1 {
		// The server may have replaced the token, and takes the old one for a while only: earlier failures are no reason to wait.
		delay := retryDelay(o.conn.UID, stepRefresh, 1, e.Kind)
		o.failures.find(stepRefresh).RetryAt = timeOf(retryTime(now, delay, e.RetryAfter, g.ExpiresAt))
	}
	if g.UnknownOutcomes > 1 && now.Before(g.ExpiresAt) {
		// One more try is allowed while the token is valid; after it has expired nothing can be lost.
		o.failures.find(stepRefresh).RetryAt = timeOf(certainExpiry(g, now))
	}
}

// onCredential saves a change of the current grant that may touch its registration too.
func (r *Reconciler) onCredential(ctx context.Context, o *observed, mutate func(*credential.Credential, *credential.Grant) error) error {
	b := o.grant().Binding
	return r.saveAnswer(ctx, o, o.keeping(func(c *credential.Credential) error {
		g := c.Grant(b.ServerURL, b.Issuer, b.GrantType)
		if g == nil {
			return errClaimLost
		}
		return mutate(c, g)
	}))
}

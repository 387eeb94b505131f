package controller

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// codeLifetime is how long an authorization code is worth trying: RFC 6749, section 4.1.2, recommends ten minutes at most.
	codeLifetime = 5 * time.Minute
	// maxRejections is how often, and rejectedFor how long, a token endpoint may refuse to refresh with the same error other than
	// invalid_grant, before the grant is set aside.
	maxRejections = 10
	rejectedFor   = 3 * time.Hour
	// minRefusals is how many answers that are no OAuth error make a consent worth offering once the token has expired.
	minRefusals = 3
	// endMoves is how much later a refresh has to make a grant end, to have prolonged it.
	endMoves = time.Minute
)

// tokenEndpoint says where a grant or code is spent, and as whom. A pre-registered client's secret or key is that of the
// referenced Secret now, if it still names the same client at the same issuer and may be sent there.
func tokenEndpoint(o *observed, b *credential.Binding, sendBy time.Time) mcpoauth.TokenEndpoint {
	endpoint := mcpoauth.TokenEndpoint{
		URL: b.TokenEndpoint, Client: b.Client, Issuer: b.Issuer, Resource: b.Resource,
		Parameters: texts(compatibility(o.spec()).TokenParameters), DPoP: b.DPoPKey(), SendBy: sendBy,
	}
	if signs(&b.Client) {
		endpoint.Key = o.signingKey
	}
	if o.mayAuthenticate(b) {
		endpoint.Client = o.client.authenticate(b.Client, mcpoauth.AuthMethod(clientSpec(o.spec()).AuthMethod))
		endpoint.Key = o.client.key
	}
	return endpoint
}

// exchangeCode spends an authorization code, once, or puts a refusal on record.
func (r *Reconciler) exchangeCode(ctx context.Context, o *work) error {
	response, now := o.response(), r.Clock.Now()
	switch {
	case response.Code == "":
		return r.finish(ctx, o, response.Reason, response.Message)
	case response.Request.Binding.ServerURL != o.conn.Spec.ServerURL:
		return r.finish(ctx, o, v1alpha1.ReasonConsentRequired, "spec.serverURL was edited during the consent; the answer was for another server.")
	case response.Request.Binding.GrantType != grantTypeOf(o.spec()):
		return r.finish(ctx, o, v1alpha1.ReasonConsentRequired, "spec.grantType was edited during the consent; the answer is not needed any more.")
	case response.Claim != nil:
		return r.abandonCode(ctx, o, response.Claim)
	case now.Sub(response.ReceivedAt) > codeLifetime:
		return r.finish(ctx, o, v1alpha1.ReasonTokenRequestFailing, "The token endpoint could not be reached while the authorization code was valid.")
	}
	return r.withSlot(o, response.Request.Binding.TokenEndpoint, func() error {
		return r.spend(ctx, o, func(ctx context.Context) error { return r.spendCode(ctx, o) })
	})
}

// abandonCode gives up a code that another process claimed and did not finish: it may have been sent, and is never sent again.
func (r *Reconciler) abandonCode(ctx context.Context, o *work, claim *credential.Claim) error {
	if wait := r.Claims.Wait(o.conn.UID, claim, r.Clock.Now()); wait > 0 {
		o.busy = min(wait, claims.Margin)
		return nil
	}
	r.Claims.Forget(o.conn.UID)
	claimsTakenOver.Inc()
	return r.finish(ctx, o, v1alpha1.ReasonTokenRequestFailing, "The operator was stopped while it exchanged the authorization code.")
}

func (r *Reconciler) spendCode(ctx context.Context, o *work) error {
	claim, deadline := r.Claims.New(), r.Clock.Now().Add(claims.SendBy)
	state := o.response().Request.State
	crashpoint.Hit(crashpoint.BeforeClaim)
	err := r.update(ctx, o, func(c *credential.Credential) error {
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
	response := o.response()
	b := &response.Request.Binding
	o.pass.Sending(r.Clock.Now())
	answer, err := r.OAuth.For(b.ServerURL).Exchange(crashpoint.WithAfterSend(ctx), mcpoauth.CodeRequest{
		TokenEndpoint: tokenEndpoint(o.observed, b, deadline), Code: response.Code,
		CodeVerifier: response.Request.CodeVerifier, RedirectURI: b.RedirectURI,
	})
	o.pass.Answered(r.Clock.Now())
	crashpoint.Hit(crashpoint.AfterAnswer)
	countTokenRequest(mcpoauth.GrantTypeAuthorizationCode, err)
	if err != nil {
		return r.codeFailed(ctx, o, claim, err)
	}
	withdrawn, err := r.saveGrant(ctx, o, claim, answer)
	if errors.Is(err, credential.ErrTooLarge) {
		return r.codeTooLarge(ctx, o, claim, answer)
	}
	if err != nil {
		return r.notSaved(ctx, o, b, answer, err)
	}
	crashpoint.Hit(crashpoint.AfterSave)
	o.failures = nil
	r.revokeReplaced(ctx, o, withdrawn)
	return nil
}

// codeFailed puts on record why a code led to no token. Only a code that was certainly not sent is kept.
func (r *Reconciler) codeFailed(ctx context.Context, o *work, claim *credential.Claim, err error) error {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Outcome: mcpoauth.Unknown, Code: mcpoauth.TokenRequestFailing, Message: "The token endpoint could not be asked"}
	}
	saveErr := r.save(ctx, o, func(c *credential.Credential) error {
		response := c.Authorization.Response
		if response == nil || response.Claim == nil || response.Claim.ID != claim.ID {
			return claims.ErrLost
		}
		if e.Outcome == mcpoauth.NotSent {
			response.Claim = nil
			return nil
		}
		finishFailed(c, e, r.Clock.Now())
		return nil
	})
	if saveErr != nil {
		return saveErr
	}
	if e.Outcome == mcpoauth.NotSent {
		o.failAs(r.Clock.Now(), stepExchangeCode, e, v1alpha1.ReasonTokenRequestFailing, e.Message)
		return nil
	}
	consents.WithLabelValues(outcomeFailed).Inc()
	o.failures.clear(stepExchangeCode)
	return nil
}

// finishFailed puts the outcome of a refused code on record. Where another client or its secret may help, a new link follows at
// once; the same code is never sent again.
func finishFailed(c *credential.Credential, e *mcpoauth.Error, now time.Time) {
	b := &c.Authorization.Response.Request.Binding
	reason, message := codeReason(e, b.Client.Method)
	if !clientRejected(e) || b.Client.Method != mcpoauth.Dynamic {
		c.Authorization.Finish(reason, message, now)
		return
	}
	switch refuseClient(c, b) {
	case wantsPerson:
		c.Authorization.Finish(reason, refusedAgainText(e), now)
		return
	case sendsSecret:
		c.Authorization.Finish(v1alpha1.ReasonConsentRequired, secretDemanded, now)
	case registersAnew:
		c.Authorization.Finish(v1alpha1.ReasonConsentRequired, "The server no longer knows this client; it is registered anew", now)
	}
	c.Authorization.Withdraw()
}

// codeReason says why a code led to no token, and what to do.
func codeReason(e *mcpoauth.Error, method mcpoauth.RegistrationMethod) (reason, message string) {
	switch {
	case e.OAuthError == "invalid_grant":
		return v1alpha1.ReasonCodeRejected, e.Message
	case clientRejected(e):
		return clientReason(e, method)
	case e.OAuthError != "":
		return v1alpha1.ReasonTokenRequestRejected, e.Message
	}
	return v1alpha1.ReasonTokenRequestFailing, e.Message
}

// clientReason says what to do about a client that the authorization server does not accept.
func clientReason(e *mcpoauth.Error, method mcpoauth.RegistrationMethod) (reason, message string) {
	if method == mcpoauth.MetadataDocument {
		return v1alpha1.ReasonRegistrationRefused,
			"The authorization server does not accept the client (" + e.Message + "). It must be able to fetch the client metadata document."
	}
	return v1alpha1.ReasonCredentialsRejected,
		"The authorization server does not accept the client credentials (" + e.Message + "). Check the Secret named by spec.client.credentialsSecretRef."
}

// clientRejected says whether the authorization server does not accept the client (RFC 6749, section 5.2).
func clientRejected(e *mcpoauth.Error) bool {
	return e.OAuthError == "invalid_client" || e.OAuthError == "unauthorized_client"
}

// finish puts the outcome of a response on record and forgets its code.
func (r *Reconciler) finish(ctx context.Context, o *work, reason, message string) error {
	state := o.response().Request.State
	err := r.update(ctx, o, func(c *credential.Credential) error {
		if response := c.Authorization.Response; response == nil || response.Request.State != state {
			return claims.ErrLost
		}
		c.Authorization.Finish(reason, message, r.Clock.Now())
		return nil
	})
	if err == nil {
		countConsent(reason)
	}
	o.failures.clear(stepExchangeCode)
	return err
}

// store puts an answer of the token endpoint into a grant and chooses when to refresh it.
func store(o *observed, g *credential.Grant, answer *mcpoauth.TokenResponse) {
	g.AccessToken, g.TokenType = answer.AccessToken, answer.TokenType
	if answer.RefreshToken != "" && g.GrantType == "" { // the other grants ask anew (RFC 6749, section 4.4.3)
		g.RefreshToken = answer.RefreshToken
	}
	if answer.Scopes != nil {
		g.GrantedScopes = answer.Scopes
	}
	g.IssuedAt, g.ExpiresAt, g.RefreshAt = answer.ReceivedAt, answer.ExpiresAt, time.Time{}
	storeEnd(g, answer)
	if renewable(g) {
		g.RefreshAt = plannedRefresh(o, g)
	}
	g.Generation++
	g.Claim, g.UnknownOutcomes, g.SetAside = nil, 0, nil
	g.Rejections, g.Rejected, g.RejectedSince, g.Refusals = 0, "", time.Time{}, 0
}

// plannedRefresh is when a token that was just stored is to be refreshed.
func plannedRefresh(o *observed, g *credential.Grant) time.Time {
	expiry := g.ExpiresAt
	if expiry.IsZero() {
		expiry = mcpoauth.JWTExpiry(g.AccessToken) // for the schedule only
		if !expiry.After(g.IssuedAt) {
			expiry = time.Time{}
		}
	}
	planned := refreshTime(o.conn.UID, g.IssuedAt, expiry, refreshBefore(o.spec()))
	if g.EndsAt.After(g.IssuedAt) { // one that has passed was not true: the server refreshes all the same
		if at := refreshTime(o.conn.UID, g.IssuedAt, g.EndsAt, refreshBefore(o.spec())); at.Before(planned) {
			planned = at
		}
	}
	if alive := keepAlive(o.spec()); alive > 0 && planned.After(g.IssuedAt.Add(alive)) {
		planned = g.IssuedAt.Add(alive).Truncate(time.Second)
	}
	return planned
}

// storeEnd keeps when the refresh token expires by itself. A new refresh token without such a time has none that is known; an
// answer that says nothing and leaves the old one leaves its end too.
func storeEnd(g *credential.Grant, answer *mcpoauth.TokenResponse) {
	end := answer.RefreshExpiresAt
	switch {
	case g.RefreshToken == "":
	case !end.IsZero() && !g.EndsAt.IsZero() && end.Sub(g.EndsAt) < endMoves:
		g.EndsAt, g.EndStays = end, true
	case !end.IsZero():
		g.EndsAt, g.EndNamedAt, g.EndStays = end, answer.ReceivedAt, false
	case answer.RefreshExpiryNamed || answer.RefreshToken != "":
		g.EndsAt, g.EndNamedAt, g.EndStays = time.Time{}, time.Time{}, false
	default:
		g.EndStays = !g.EndsAt.IsZero()
	}
}

func refreshBefore(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Refresh == nil || spec.Refresh.Before == nil {
		return 0
	}
	return spec.Refresh.Before.Duration
}

func keepAlive(spec *v1alpha1.MCPConnectionSpec) time.Duration {
	if spec.Refresh == nil || spec.Refresh.KeepAlive == nil {
		return 0
	}
	return spec.Refresh.KeepAlive.Duration
}

// newGrant is the grant that an answer to a code amounts to.
func (o *observed) newGrant(b credential.Binding, answer *mcpoauth.TokenResponse) credential.Grant {
	g := credential.Grant{Binding: b, GrantedScopes: slices.Clone(b.Scopes)}
	store(o, &g, answer)
	return g
}

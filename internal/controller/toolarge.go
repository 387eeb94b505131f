package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// giveBackWithin bounds how long it may take to give back what cannot be stored.
const giveBackWithin = 10 * time.Second

// tooLargeAnswer is an answer of a token endpoint that can never be stored.
func tooLargeAnswer() *mcpoauth.Error {
	return &mcpoauth.Error{
		Kind: mcpoauth.Transient, Code: mcpoauth.TokenRequestFailing, Outcome: mcpoauth.Answered,
		Message: "the token endpoint answered with tokens that are too large to be stored; ask whoever runs the " +
			"authorization server for shorter ones",
	}
}

// tooLargeClient is a registration that can never be stored.
func tooLargeClient() *mcpoauth.Error {
	return &mcpoauth.Error{
		Kind: mcpoauth.Misconfigured, Code: mcpoauth.RegistrationRefused, Outcome: mcpoauth.Answered,
		Message: "the authorization server registered the client with credentials that are too large to be stored; " +
			"register a client by hand and set spec.client.credentialsSecretRef",
	}
}

// refreshTooLarge keeps of an answer that can never be stored its refresh token, which took the place of the one that
// was spent. If not even that fits, the grant is lost, and what was received is given back. An answer without one
// leaves the grant as it was.
func (r *Reconciler) refreshTooLarge(ctx context.Context, w *work, claim *credential.Claim,
	answer *mcpoauth.TokenResponse) error {
	if answer.RefreshToken != "" {
		err := r.refreshFailed(ctx, w, claim, answer, tooLargeAnswer())
		if !errors.Is(err, credential.ErrTooLarge) {
			return err
		}
		r.revokeReceived(ctx, w, &w.Grant().Binding, answer)
	}
	return r.refreshFailed(ctx, w, claim, nil, tooLargeAnswer())
}

// codeTooLarge is refreshTooLarge for an answer to a code: a refresh token that fits is a grant without an access
// token, which is refreshed next.
func (r *Reconciler) codeTooLarge(ctx context.Context, w *work, claim *credential.Claim,
	answer *mcpoauth.TokenResponse) error {
	e := tooLargeAnswer()
	if answer.RefreshToken != "" {
		kept := *answer
		kept.AccessToken, kept.TokenType, kept.ExpiresAt = "", "", time.Time{}
		withdrawn, err := r.saveGrant(ctx, w, claim, &kept)
		switch {
		case err == nil:
			w.Failures = nil
			w.FailAs(r.Clock.Now(), lifecycle.StepRefresh, e, v1alpha1.ReasonTokenRequestFailing, e.Message)
			r.revokeReplaced(ctx, w, withdrawn)
			return nil
		case !errors.Is(err, credential.ErrTooLarge):
			return fmt.Errorf("saving the grant: %w", err)
		}
	}
	r.revokeReceived(ctx, w, &w.Response().Request.Binding, answer)
	return r.codeFailed(ctx, w, claim, e)
}

// saveGrant stores what a code brought in place of the code, and returns the grant that it took the place of if that is
// still to be revoked.
func (r *Reconciler) saveGrant(ctx context.Context, w *work, claim *credential.Claim,
	answer *mcpoauth.TokenResponse) (withdrawn *credential.Grant, err error) {
	err = r.save(ctx, w, func(c *credential.Credential) error {
		response := c.Authorization.Response
		if response == nil || response.Claim == nil || response.Claim.ID != claim.ID {
			return claims.ErrLost
		}
		b := &response.Request.Binding
		g := w.NewGrant(*b, answer)
		g.AuthorizedBy = response.Request.User
		if g.AccessToken == "" {
			g.RefreshAt = g.IssuedAt.Truncate(time.Second)
		}
		old := c.Grant(g.ServerURL, g.Issuer, g.GrantType)
		withdrawn = lifecycle.IfWithdrawn(old)
		lifecycle.Succeed(&g, old)
		c.PutGrant(g)
		if known := c.Registration(b.Issuer, b.RedirectURI); known != nil {
			known.ExpiredConsents, known.Completed, known.Renewals = 0, true, 0
		}
		if g.RefreshToken == "" { // else the refresh will tell
			c.Authorization.ClientRefusals = 0
		}
		c.Authorization.Finish("", "", r.Clock.Now())
		return nil
	})
	if err == nil {
		consents.WithLabelValues(outcomeGranted).Inc()
	}
	return withdrawn, err
}

// revokeReceived gives back tokens that are in memory only and are dropped now, whatever becomes of that.
func (r *Reconciler) revokeReceived(ctx context.Context, w *work, b *credential.Binding,
	answer *mcpoauth.TokenResponse) {
	ctx, cancel := context.WithTimeout(ctx, giveBackWithin)
	defer cancel()
	received := credential.Grant{Binding: *b, AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken}
	if err := r.revokeGrant(ctx, w, &received); err != nil {
		w.Notes = append(w.Notes, lifecycle.NotRevoked(err))
	}
}

// registrationTooLarge says why a client that was just registered is not used, and has its server forget it if it can.
func (r *Reconciler) registrationTooLarge(ctx context.Context, w *work, token lifecycle.InitialAccessToken,
	client *mcpoauth.ClientRegistration) {
	ctx, cancel := context.WithTimeout(ctx, giveBackWithin)
	defer cancel()
	w.Registered = nil
	if client.Managed() {
		if err := r.OAuth.For(w.Conn.Spec.ServerURL).DeleteRegistration(ctx, client); err != nil {
			w.Notes = append(w.Notes, lifecycle.Note{Warning: true, Reason: "UnregistrationFailed",
				Message: "The client " + mcpoauth.Sanitize(client.ClientID, 64) + " is too large to be stored and could not be " +
					"deleted at the authorization server: " + err.Error()})
		}
	}
	w.RegistrationFailed(r.Clock.Now(), token, tooLargeClient())
}

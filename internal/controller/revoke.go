package controller

import (
	"context"
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// withdrawToken marks all grants as to be revoked; from then on no token is published. The token Secret may have shown
// tokens of each of them: of an issuer that the server names no more, of an earlier serverURL.
func (r *Reconciler) withdrawToken(ctx context.Context, w *work) error {
	value := lifecycle.RequestOf(w.Conn, v1alpha1.AnnotationRevoke)
	if w.Held != nil && slices.ContainsFunc(w.Held.Grants, func(g credential.Grant) bool { return !g.Public }) {
		if err := r.update(ctx, w, func(c *credential.Credential) error {
			for i := range c.Grants {
				if !c.Grants[i].Public {
					c.Grants[i].Revoke = value
				}
			}
			w.Keep(c, v1alpha1.AnnotationRevoke)
			return nil
		}); err != nil {
			return err
		}
	}
	w.Handled.Revoke = value
	return nil
}

// revoke ends a withdrawn grant at the authorization server, then forgets it.
func (r *Reconciler) revoke(ctx context.Context, w *work) error {
	g := *w.Withdrawn()
	err := r.revokeGrant(r.admitting(ctx, w, lifecycle.Urgency(r.Clock.Now(), w.State)), w, &g)
	if keptBack(err) {
		return nil
	}
	if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
		if f := w.Failures.Find(lifecycle.StepRevoke); f == nil || f.Attempts < lifecycle.MaxRevokeAttempts {
			w.FailAs(r.Clock.Now(), lifecycle.StepRevoke, e, v1alpha1.ReasonTokenRequestFailing,
				"The token is no longer published, but revoking it at the server fails and is retried: "+e.Message)
			return nil
		}
	}
	if err != nil {
		w.Notes = append(w.Notes, lifecycle.NotRevoked(err))
	}
	w.Failures.Clear(lifecycle.StepRevoke)
	shown := w.ShowsWithdrawn() && w.Grant() != nil && w.Grant().Revoke != ""
	return r.update(ctx, w, func(c *credential.Credential) error {
		// It says that what the Secret shows is withdrawn.
		if kept := c.Grant(g.ServerURL, g.Issuer, g.GrantType); shown && kept != nil {
			kept.AccessToken, kept.RefreshToken = "", ""
			return nil
		}
		c.DropGrant(&g.Binding)
		return nil
	})
}

// revokeReplaced revokes a grant whose place a new one took, while revoking it failed and was to be tried again: once
// more.
func (r *Reconciler) revokeReplaced(ctx context.Context, w *work, g *credential.Grant) {
	if g == nil {
		return
	}
	if err := r.revokeGrant(r.admitting(ctx, w, slots.DueExchange), w, g); err != nil { // as it would have before the code
		w.Notes = append(w.Notes, lifecycle.NotRevoked(err))
	}
}

// revokeGrant revokes the refresh token, then the access token (RFC 7009). Each is tried whatever becomes of the other.
func (r *Reconciler) revokeGrant(ctx context.Context, w *work, g *credential.Grant) error {
	var failed error
	for _, t := range lifecycle.TokensOf(g) {
		ctx, cancel := context.WithTimeout(ctx, claims.SendBy)
		err := r.revokeToken(ctx, w, g, t)
		cancel()
		if err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// revokeToken revokes one token of a grant (RFC 7009).
func (r *Reconciler) revokeToken(ctx context.Context, w *work, g *credential.Grant, t lifecycle.HeldToken) error {
	if g.RevocationEndpoint == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the authorization server " + g.Issuer +
			" has no revocation endpoint."}
	}
	if g.Client.ClientID == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the token was issued to no client, so nobody can " +
			"revoke it before it expires."}
	}
	endpoint := lifecycle.TokenEndpoint(w.State, &g.Binding, time.Time{})
	endpoint.URL, endpoint.Resource, endpoint.Parameters = g.RevocationEndpoint, "", nil
	err := r.OAuth.For(g.ServerURL).Revoke(ctx, mcpoauth.RevocationRequest{TokenEndpoint: endpoint, Token: t.Value,
		TokenTypeHint: t.Hint})
	// Servers that refuse to revoke access tokens have revoked the grant with the refresh token.
	if e := mcpoauth.AsError(err); e != nil && e.OAuthError == "unsupported_token_type" && t.Hint == "access_token" {
		return nil
	}
	return err
}

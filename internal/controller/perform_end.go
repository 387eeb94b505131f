package controller

import (
	"context"
	"slices"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// maxRevokeAttempts bounds how often a revocation that may heal is tried.
const maxRevokeAttempts = 5

// withdrawToken marks all grants as to be revoked; from then on no token is published. The token Secret may have shown tokens
// of each of them: of an issuer that the server names no more, of an earlier serverURL.
func (r *Reconciler) withdrawToken(ctx context.Context, o *work) error {
	value := requestOf(o.conn, v1alpha1.AnnotationRevoke)
	if o.held != nil && slices.ContainsFunc(o.held.Grants, func(g credential.Grant) bool { return !g.Public }) {
		if err := r.update(ctx, o, func(c *credential.Credential) error {
			for i := range c.Grants {
				if !c.Grants[i].Public {
					c.Grants[i].Revoke = value
				}
			}
			o.keep(c, v1alpha1.AnnotationRevoke)
			return nil
		}); err != nil {
			return err
		}
	}
	o.handled.Revoke = value
	return nil
}

// revoke ends a withdrawn grant at the authorization server, then forgets it.
func (r *Reconciler) revoke(ctx context.Context, o *work) error {
	g := *o.withdrawn()
	err := r.revokeGrant(r.admitting(ctx, o, urgency(r.Clock.Now(), o.observed)), o, &g)
	if keptBack(err) {
		return nil
	}
	if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
		if f := o.failures.find(stepRevoke); f == nil || f.Attempts < maxRevokeAttempts {
			o.failAs(r.Clock.Now(), stepRevoke, e, v1alpha1.ReasonTokenRequestFailing, "The token is no longer published, but revoking it at the server fails and is retried: "+e.Message)
			return nil
		}
	}
	if err != nil {
		o.notes = append(o.notes, notRevoked(err))
	}
	o.failures.clear(stepRevoke)
	shown := o.showsWithdrawn() && o.grant() != nil && o.grant().Revoke != ""
	return r.update(ctx, o, func(c *credential.Credential) error {
		if kept := c.Grant(g.ServerURL, g.Issuer, g.GrantType); shown && kept != nil { // it says that what the Secret shows is withdrawn
			kept.AccessToken, kept.RefreshToken = "", ""
			return nil
		}
		c.DropGrant(&g.Binding)
		return nil
	})
}

// ifWithdrawn is a copy of a grant that is still to be revoked; nil of any other.
func ifWithdrawn(g *credential.Grant) *credential.Grant {
	if g == nil || g.Revoke == "" {
		return nil
	}
	return ptr.To(*g)
}

// revokeReplaced revokes a grant whose place a new one took, while revoking it failed and was to be tried again: once more.
func (r *Reconciler) revokeReplaced(ctx context.Context, o *work, g *credential.Grant) {
	if g == nil {
		return
	}
	if err := r.revokeGrant(r.admitting(ctx, o, slots.DueExchange), o, g); err != nil { // as it would have before the code
		o.notes = append(o.notes, notRevoked(err))
	}
}

// revocationFailed is the reason of the event that says so.
const revocationFailed = "RevocationFailed"

func notRevoked(err error) note {
	return note{warning: true, reason: revocationFailed, message: "The grant could not be revoked; revoke it at the authorization server: " + err.Error()}
}

// revokeGrant revokes the refresh token, then the access token (RFC 7009). Each is tried whatever becomes of the other.
func (r *Reconciler) revokeGrant(ctx context.Context, o *work, g *credential.Grant) error {
	var failed error
	for _, t := range tokensOf(g) {
		ctx, cancel := context.WithTimeout(ctx, claims.SendBy)
		err := r.revokeToken(ctx, o, g, t)
		cancel()
		if err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// heldToken is one that can be revoked.
type heldToken struct{ hint, value string }

// tokensOf are the tokens of a grant, in the order in which they are revoked.
func tokensOf(g *credential.Grant) []heldToken {
	if g.Public {
		return nil
	}
	return slices.DeleteFunc([]heldToken{{"refresh_token", g.RefreshToken}, {"access_token", g.AccessToken}}, func(t heldToken) bool { return t.value == "" })
}

// revokeToken revokes one token of a grant (RFC 7009).
func (r *Reconciler) revokeToken(ctx context.Context, o *work, g *credential.Grant, t heldToken) error {
	if g.RevocationEndpoint == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the authorization server " + g.Issuer + " has no revocation endpoint."}
	}
	if g.Client.ClientID == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the token was issued to no client, so nobody can revoke it before it expires."}
	}
	endpoint := tokenEndpoint(o.observed, &g.Binding, time.Time{})
	endpoint.URL, endpoint.Resource, endpoint.Parameters = g.RevocationEndpoint, "", nil
	err := r.OAuth.For(g.ServerURL).Revoke(ctx, mcpoauth.RevocationRequest{TokenEndpoint: endpoint, Token: t.value, TokenTypeHint: t.hint})
	// Servers that refuse to revoke access tokens have revoked the grant with the refresh token.
	if e := mcpoauth.AsError(err); e != nil && e.OAuthError == "unsupported_token_type" && t.hint == "access_token" {
		return nil
	}
	return err
}

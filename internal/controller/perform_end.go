package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// maxRevokeAttempts bounds how often a revocation that may heal is tried.
	maxRevokeAttempts = 5
	// finalizeWithin bounds how long a deletion waits for revocation.
	finalizeWithin = 2 * time.Minute
)

// withdrawToken marks all grants as to be revoked; from then on no token is published. The token Secret may have shown tokens
// of each of them: of an issuer that the server names no more, of an earlier serverURL.
func (r *Reconciler) withdrawToken(ctx context.Context, o *observed) error {
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
func (r *Reconciler) revoke(ctx context.Context, o *observed) error {
	g := *o.withdrawn()
	err := r.revokeGrant(ctx, o, &g)
	if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient {
		if f := o.failures.find(stepRevoke); f == nil || f.Attempts < maxRevokeAttempts {
			r.failAs(o, stepRevoke, e, v1alpha1.ReasonTokenRequestFailing, "The token is no longer published, but revoking it at the server fails and is retried: "+e.Message)
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
func (r *Reconciler) revokeReplaced(ctx context.Context, o *observed, g *credential.Grant) {
	if g == nil {
		return
	}
	if err := r.revokeGrant(ctx, o, g); err != nil {
		o.notes = append(o.notes, notRevoked(err))
	}
}

// revocationFailed is the reason of the event that says so.
const revocationFailed = "RevocationFailed"

func notRevoked(err error) note {
	return note{warning: true, reason: revocationFailed, message: "The grant could not be revoked; revoke it at the authorization server: " + err.Error()}
}

// revokeGrant revokes the refresh token, then the access token (RFC 7009). Each is tried whatever becomes of the other.
func (r *Reconciler) revokeGrant(ctx context.Context, o *observed, g *credential.Grant) error {
	if g.Public || (g.RefreshToken == "" && g.AccessToken == "") {
		return nil
	}
	if g.RevocationEndpoint == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the authorization server " + g.Issuer + " has no revocation endpoint."}
	}
	if g.Client.ClientID == "" {
		return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Message: "the token was issued to no client, so nobody can revoke it before it expires."}
	}
	endpoint := tokenEndpoint(o, &g.Binding, time.Time{})
	endpoint.URL, endpoint.Resource, endpoint.Parameters = g.RevocationEndpoint, "", nil
	var failed error
	for _, token := range []struct{ hint, value string }{{"refresh_token", g.RefreshToken}, {"access_token", g.AccessToken}} {
		if token.value == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, sendBy)
		err := r.OAuth.For(g.ServerURL).Revoke(ctx, mcpoauth.RevocationRequest{TokenEndpoint: endpoint, Token: token.value, TokenTypeHint: token.hint})
		cancel()
		// Servers that refuse to revoke access tokens have revoked the grant with the refresh token.
		if e := mcpoauth.AsError(err); e != nil && e.OAuthError == "unsupported_token_type" && token.hint == "access_token" {
			err = nil
		}
		if err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// finalize ends all grants at their servers, removes both Secrets and lets the object go. It never waits for ever.
func (r *Reconciler) finalize(ctx context.Context, o *observed) error {
	revokes := o.conn.Spec.DeletionPolicy != v1alpha1.DeletionPolicyOrphan
	if revokes && o.unusable != nil {
		o.notes = append(o.notes, notRevoked(o.unusable))
	}
	if revokes && o.held != nil {
		if !r.revokeAll(ctx, o) {
			return nil
		}
		if done, err := r.unregisterAll(ctx, o); !done || err != nil {
			return err
		}
	}
	return r.letGo(ctx, o)
}

// revokeAll revokes all grants, and says whether there is nothing more to do: it waits for what may heal, but not for ever.
func (r *Reconciler) revokeAll(ctx context.Context, o *observed) (done bool) {
	waits := r.Clock.Now().Sub(o.conn.DeletionTimestamp.Time) < finalizeWithin
	for i := range o.held.Grants {
		err := r.revokeGrant(ctx, o, &o.held.Grants[i])
		if err == nil {
			continue
		}
		if e := mcpoauth.AsError(err); e != nil && e.Kind == mcpoauth.Transient && waits {
			r.failAs(o, stepFinalize, e, v1alpha1.ReasonTokenRequestFailing, "Revoking the grant fails and is retried: "+e.Message)
			return false
		}
		o.notes = append(o.notes, notRevoked(err))
	}
	return true
}

func (r *Reconciler) letGo(ctx context.Context, o *observed) error {
	names := []string{tokenSecretName(o.conn)}
	if t := o.conn.Status.Token; t != nil && t.SecretName != names[0] {
		names = append(names, t.SecretName)
	}
	for _, name := range names {
		if err := r.deleteTokenSecret(ctx, o.conn, name); err != nil {
			return err
		}
	}
	if err := r.deleteCredential(ctx, o); err != nil {
		return err
	}
	r.claims.forget(o.conn.UID)
	if o.held != nil && o.conn.Spec.DeletionPolicy != v1alpha1.DeletionPolicyOrphan && slices.ContainsFunc(o.held.Grants, func(g credential.Grant) bool { return !g.Public }) {
		logChanges(ctx, []change{ended(o.notes)})
	}
	r.edits.forget(o.conn.UID)
	r.emit(o)
	remaining := slices.DeleteFunc(slices.Clone(o.conn.Finalizers), func(f string) bool { return f == v1alpha1.Finalizer })
	if err := r.patchFinalizers(ctx, o.conn, remaining); err != nil {
		return client.IgnoreNotFound(err)
	}
	o.conn = nil
	return nil
}

func (r *Reconciler) deleteCredential(ctx context.Context, o *observed) error {
	switch {
	case o.held != nil:
		return r.Store.Delete(ctx, o.held)
	case o.unusable != nil:
		return r.deleteUnusable(ctx, o.conn.UID)
	}
	return nil
}

// deleteUnusable deletes a credential Secret that is corrupt. One of somebody else, or of a newer operator, stays.
func (r *Reconciler) deleteUnusable(ctx context.Context, uid types.UID) error {
	err := r.Store.DeleteCorrupt(ctx, uid)
	if unusable(err) {
		log.FromContext(ctx).Info("A credential Secret stays, though its connection is gone", "secret", credential.SecretName(uid), "reason", err.Error())
		return nil
	}
	return err
}

// deleteTokenSecret deletes a token Secret of this connection; one of somebody else stays.
func (r *Reconciler) deleteTokenSecret(ctx context.Context, conn *v1alpha1.MCPConnection, name string) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: conn.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) || (err == nil && ownerOf(secret, conn, false) != ownedByUs) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret %s: %w", name, err)
	}
	err = r.Secrets.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	return credential.NewWriteError("delete", secret, client.IgnoreNotFound(err))
}

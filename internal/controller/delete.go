package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// deleteTokenSecrets deletes the token Secret, and that of an earlier name.
func (r *Reconciler) deleteTokenSecrets(ctx context.Context, w *work, e *ending) error {
	names := []string{lifecycle.TokenSecretName(w.Conn)}
	if t := w.Conn.Status.Token; t != nil && t.SecretName != names[0] {
		names = append(names, t.SecretName)
	}
	for _, name := range names {
		err := r.deleteTokenSecret(ctx, w.Conn, name)
		if err != nil && !e.refused(name, err) {
			return err
		}
		if err == nil && w.Secret != nil && w.Secret.Name == name {
			w.Secret = nil
		}
	}
	return nil
}

func (r *Reconciler) deleteCredential(ctx context.Context, w *work, e *ending) error {
	var err error
	switch {
	case w.Held != nil:
		err = r.Store.Delete(ctx, w.Held)
	case w.Unusable != nil:
		err = r.deleteUnusable(ctx, w.Conn.UID)
	}
	if err != nil && !e.refused(credential.SecretName(w.Conn.UID), err) {
		return err
	}
	return nil
}

// deleteUnusable deletes a credential Secret that is corrupt. One of somebody else, or of a newer operator, stays.
func (r *Reconciler) deleteUnusable(ctx context.Context, uid types.UID) error {
	err := r.Store.DeleteCorrupt(ctx, uid)
	if unusable(err) {
		log.FromContext(ctx).Info("A credential Secret stays, though its connection is gone", "secret",
			credential.SecretName(uid), "reason", err.Error())
		return nil
	}
	return err
}

// deleteTokenSecret deletes a token Secret of this connection; one of somebody else stays.
func (r *Reconciler) deleteTokenSecret(ctx context.Context, conn *v1alpha1.MCPConnection, name string) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: conn.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) || (err == nil && lifecycle.OwnerOf(secret, conn, false) != lifecycle.OwnedByUs) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret %s: %w", name, err)
	}
	err = r.Secrets.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	return credential.NewWriteError("delete", secret, client.IgnoreNotFound(err))
}

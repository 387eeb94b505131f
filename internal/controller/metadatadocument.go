package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// useMetadataDocument takes the client that a document describes. If it signs, there is a key from now on: it is
// published while a person still reads the consent.
func (r *Reconciler) useMetadataDocument(ctx context.Context, w *work, documentURL string) error {
	client := &mcpoauth.ClientRegistration{Method: mcpoauth.MetadataDocument, ClientID: documentURL,
		AuthMethod: mcpoauth.AuthMethodNone}
	if lifecycle.WantsToSign(w.Spec()) {
		client.AuthMethod = mcpoauth.AuthMethodPrivateKeyJWT
		if _, err := r.Store.SigningKey(ctx, r.Clock.Now()); unusable(err) {
			w.NotePrecondition(r.Clock.Now(), lifecycle.StepRegister, lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing,
				Message: fmt.Sprintf(
					"The Secret %s in the operator's namespace, which holds the key for private_key_jwt, cannot be used: %s. "+
						"Whoever runs the operator has to remove it, or to upgrade the operator.", credential.SigningKeySecret, err)})
			return nil
		} else if err != nil {
			return err
		}
	}
	w.Registered = client
	return nil
}

// observeSigningKey reads the operator's own key, if something stored needs it. Without a key that can be used the
// token requests say so; everything else goes on.
func (r *Reconciler) observeSigningKey(ctx context.Context, w *work) error {
	if !w.NeedsSigningKey() {
		return nil
	}
	key, err := r.Store.SigningKey(ctx, r.Clock.Now())
	if unusable(err) {
		log.FromContext(ctx).Error(err, "The key for private_key_jwt cannot be used")
		return nil
	}
	w.SigningKey = key
	return err
}

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// observe reads all that decide needs. It decides nothing.
func (r *Reconciler) observe(ctx context.Context, conn *v1alpha1.MCPConnection) (*work, error) {
	w := &work{State: &lifecycle.State{Conn: conn, ExternalURL: r.ExternalURL, Since: r.since()}}
	if t := conn.Status.Token; t != nil {
		w.PublishedName = t.SecretName
	}
	if conn.Status.LastHandled != nil {
		w.Handled = *conn.Status.LastHandled
	}
	w.Failures = lifecycle.RememberedFailures(conn, r.ExternalURL)
	w.noteSave(r.saves.of(conn.UID)) // before anything is read: what is saved later is no harm
	if w.Deleted() {
		return w, r.observeEnd(ctx, w)
	}
	if err := r.readCredential(ctx, w); err != nil {
		return nil, err
	}
	if err := r.observeTokenSecret(ctx, w); err != nil {
		return nil, err
	}
	w.Failures.Clear(lifecycle.StepObserve)
	w.Failures.Outlived(w.Grant(), r.Clock.Now())
	w.RetryPublish(r.Clock.Now())
	if offer := w.Offer(); offer != nil && offer.Reauthorize != "" &&
		offer.Reauthorize == lifecycle.RequestOf(conn, v1alpha1.AnnotationReauthorize) {
		w.Handled.Reauthorize = offer.Reauthorize // the status write after the offer was lost
	}
	w.RecallChallenge()
	w.RefuseLongRequests()
	var err error
	if w.Client, err = r.referencedClient(ctx, w); err != nil {
		return nil, err
	}
	if w.Imported, err = r.referencedGrant(ctx, w); err != nil {
		return nil, err
	}
	if err = r.retryWithNewInputs(ctx, w); err != nil {
		return nil, err
	}
	w.DeclineRefresh()
	if err := r.observeSigningKey(ctx, w); err != nil {
		return nil, err
	}
	return w, nil
}

// readCredential reads the credential Secret, or notes why it must not be used.
func (r *Reconciler) readCredential(ctx context.Context, w *work) error {
	held, err := r.Store.Get(ctx, w.Conn.UID)
	switch {
	case unusable(err):
		w.Held, w.Unusable = nil, err
	case err != nil:
		return err
	default:
		w.Held, w.Unusable = held, nil
		if held != nil {
			w.RecallHandled()
		}
	}
	return nil
}

// observeTokenSecret finds the token Secret, live unless its metadata leave no doubt about what it holds.
func (r *Reconciler) observeTokenSecret(ctx context.Context, w *work) error {
	m := credential.SecretMetadata()
	err := r.Metadata.Get(ctx, types.NamespacedName{Namespace: w.Conn.Namespace, Name: lifecycle.TokenSecretName(w.Conn)},
		m)
	switch {
	case apierrors.IsNotFound(err) && w.Conn.Status.Token == nil:
		return r.findStranger(ctx, w)
	case err == nil && w.Untouched(m):
		w.Secret = w.AsPublished(m)
		return nil
	}
	return r.readTokenSecret(ctx, w)
}

// findStranger looks for a Secret of somebody else, before a person consents to what cannot be published. The cache
// knows only Secrets with the operator's label.
func (r *Reconciler) findStranger(ctx context.Context, w *work) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: w.Conn.Namespace, Name: lifecycle.TokenSecretName(w.Conn)},
		secret)
	if apierrors.IsNotFound(err) {
		w.Secret = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret: %w", err)
	}
	return r.takeSecret(ctx, w, secret)
}

// readTokenSecret reads the token Secret live, and after it the credential: a process that was frozen between the two
// would otherwise take its own old token for newer than what another has published meanwhile. What is published after
// that read makes the write a conflict.
func (r *Reconciler) readTokenSecret(ctx context.Context, w *work) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: w.Conn.Namespace, Name: lifecycle.TokenSecretName(w.Conn)},
		secret)
	if apierrors.IsNotFound(err) {
		w.Secret = nil
		return r.readCredential(ctx, w)
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret: %w", err)
	}
	return r.takeSecret(ctx, w, secret)
}

func (r *Reconciler) takeSecret(ctx context.Context, w *work, secret *corev1.Secret) error {
	var err error
	w.Secret = secret
	if w.OwnerGone, err = r.ownerGone(ctx, secret); err != nil {
		return err
	}
	return r.readCredential(ctx, w)
}

// ownerGone reports whether the connection that a Secret names as its owner is gone.
func (r *Reconciler) ownerGone(ctx context.Context, secret *corev1.Secret) (bool, error) {
	owner := metav1.GetControllerOf(secret)
	if owner == nil || owner.Kind != "MCPConnection" || !strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+
		"/") {
		return false, nil
	}
	conn := &v1alpha1.MCPConnection{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: secret.Namespace, Name: owner.Name}, conn)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && conn.UID != owner.UID, err
}

// unusable reports whether an error says that a credential Secret must not be touched.
func unusable(err error) bool {
	return errors.Is(err, credential.ErrForeign) || errors.Is(err, credential.ErrNewerFormat) ||
		errors.Is(err, credential.ErrCorrupt)
}

// cachedSecrets reads metadata from the cache. A restart with ten thousand connections at rest so reads no Secret
// contents.
func (r *Reconciler) cachedSecrets(ctx context.Context, conn *v1alpha1.MCPConnection) *lifecycle.Cached {
	seen := &lifecycle.Cached{}
	known := true
	for key, m := range map[types.NamespacedName]*metav1.PartialObjectMetadata{
		{Namespace: r.Store.Namespace(), Name: credential.SecretName(conn.UID)}: &seen.Held,
		{Namespace: conn.Namespace, Name: lifecycle.TokenSecretName(conn)}:      &seen.Token,
	} {
		*m = *credential.SecretMetadata()
		if err := r.Metadata.Get(ctx, key, m); err != nil {
			known = known && apierrors.IsNotFound(err)
		}
	}
	if known {
		seen.Basis = lifecycle.BasisOf(conn, r.ExternalURL, &seen.Token, credential.StampOf(&seen.Held))
	}
	return seen
}

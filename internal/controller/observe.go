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
)

// observe reads all that decide needs. It decides nothing.
func (r *Reconciler) observe(ctx context.Context, conn *v1alpha1.MCPConnection) (*work, error) {
	o := &work{observed: &observed{conn: conn, externalURL: r.ExternalURL, since: r.since()}}
	if t := conn.Status.Token; t != nil {
		o.publishedName = t.SecretName
	}
	if conn.Status.LastHandled != nil {
		o.handled = *conn.Status.LastHandled
	}
	o.failures = rememberedFailures(conn, r.ExternalURL)
	o.noteSave(r.saves.of(conn.UID)) // before anything is read: what is saved later is no harm
	if o.deleted() {
		return o, r.observeEnd(ctx, o)
	}
	if err := r.readCredential(ctx, o); err != nil {
		return nil, err
	}
	if err := r.observeTokenSecret(ctx, o); err != nil {
		return nil, err
	}
	o.failures.clear(stepObserve)
	o.failures.outlived(o.grant(), r.Clock.Now())
	o.retryPublish(r.Clock.Now())
	if offer := o.offer(); offer != nil && offer.Reauthorize != "" && offer.Reauthorize == requestOf(conn, v1alpha1.AnnotationReauthorize) {
		o.handled.Reauthorize = offer.Reauthorize // the status write after the offer was lost
	}
	o.recallChallenge()
	o.refuseLongRequests()
	var err error
	if o.client, err = r.referencedClient(ctx, o); err != nil {
		return nil, err
	}
	if o.imported, err = r.referencedGrant(ctx, o); err != nil {
		return nil, err
	}
	if err = r.retryMended(ctx, o); err != nil {
		return nil, err
	}
	o.declineRefresh()
	if err := r.observeSigningKey(ctx, o); err != nil {
		return nil, err
	}
	return o, nil
}

// readCredential reads the credential Secret, or notes why it must not be used.
func (r *Reconciler) readCredential(ctx context.Context, o *work) error {
	held, err := r.Store.Get(ctx, o.conn.UID)
	switch {
	case unusable(err):
		o.held, o.unusable = nil, err
	case err != nil:
		return err
	default:
		o.held, o.unusable = held, nil
		if held != nil {
			o.recallHandled()
		}
	}
	return nil
}

// declineRefresh marks a request to refresh as handled where nothing can be refreshed: only another consent would help.
func (o *observed) declineRefresh() {
	value, is := asked(o.conn, v1alpha1.AnnotationRefresh, o.handled.Refresh)
	if !is || o.unattended() || o.deleted() || o.suspended() || o.unusable != nil || refreshable(o.grant()) || o.offerTaken() || o.importWanted() {
		return
	}
	o.handled.Refresh = value
	message := "There is no refresh token, so nothing was refreshed. Set the annotation " + v1alpha1.AnnotationReauthorize + " to ask for a new consent."
	switch g := o.grant(); {
	case o.issuerChanged():
		message = "The server names another authorization server than the spec, so nothing was refreshed."
	case g != nil && g.Public:
		message = "The server wants no authorization, so there is nothing to refresh."
	}
	o.notes = append(o.notes, note{warning: true, reason: "NothingToRefresh", message: message})
}

// rememberedFailures are those of status, unless something calls for a new start.
func rememberedFailures(conn *v1alpha1.MCPConnection, externalURL string) failures {
	remembered := failuresOf(conn)
	if f := remembered.find(stepStartAuthorization); f != nil && f.Reason == v1alpha1.ReasonConsentUnavailable && externalURL != "" {
		remembered.clear(stepStartAuthorization)
	}
	return remembered
}

// observeTokenSecret finds the token Secret, live unless its metadata leave no doubt about what it holds.
func (r *Reconciler) observeTokenSecret(ctx context.Context, o *work) error {
	m := credential.SecretMetadata()
	err := r.Metadata.Get(ctx, types.NamespacedName{Namespace: o.conn.Namespace, Name: tokenSecretName(o.conn)}, m)
	switch {
	case apierrors.IsNotFound(err) && o.conn.Status.Token == nil:
		return r.findStranger(ctx, o)
	case err == nil && o.untouched(m):
		o.secret = o.asPublished(m)
		return nil
	}
	return r.readTokenSecret(ctx, o)
}

// findStranger looks for a Secret of somebody else, before a person consents to what cannot be published. The cache knows only
// Secrets with the operator's label.
func (r *Reconciler) findStranger(ctx context.Context, o *work) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.conn.Namespace, Name: tokenSecretName(o.conn)}, secret)
	if apierrors.IsNotFound(err) {
		o.secret = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret: %w", err)
	}
	return r.takeSecret(ctx, o, secret)
}

// readTokenSecret reads the token Secret live, and after it the credential: a process that was frozen between the two would
// otherwise take its own old token for newer than what another has published meanwhile. What is published after that read
// makes the write a conflict.
func (r *Reconciler) readTokenSecret(ctx context.Context, o *work) error {
	secret := &corev1.Secret{}
	err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.conn.Namespace, Name: tokenSecretName(o.conn)}, secret)
	if apierrors.IsNotFound(err) {
		o.secret = nil
		return r.readCredential(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("reading the token Secret: %w", err)
	}
	return r.takeSecret(ctx, o, secret)
}

func (r *Reconciler) takeSecret(ctx context.Context, o *work, secret *corev1.Secret) error {
	var err error
	o.secret = secret
	if o.ownerGone, err = r.ownerGone(ctx, secret); err != nil {
		return err
	}
	return r.readCredential(ctx, o)
}

// ownerGone says whether the connection that a Secret names as its owner is gone.
func (r *Reconciler) ownerGone(ctx context.Context, secret *corev1.Secret) (bool, error) {
	owner := metav1.GetControllerOf(secret)
	if owner == nil || owner.Kind != "MCPConnection" || !strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/") {
		return false, nil
	}
	conn := &v1alpha1.MCPConnection{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: secret.Namespace, Name: owner.Name}, conn)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && conn.UID != owner.UID, err
}

// unusable says whether a credential Secret must not be touched, and why.
func unusable(err error) bool {
	return errors.Is(err, credential.ErrForeign) || errors.Is(err, credential.ErrNewerFormat) || errors.Is(err, credential.ErrCorrupt)
}

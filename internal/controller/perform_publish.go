package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/crashpoint"
	"github.com/mcp-connection/operator/internal/credential"
)

// publish makes the token Secret what it should be.
func (r *Reconciler) publish(ctx context.Context, o *work) error {
	if o.secretTaken() {
		o.conflict(r.Clock.Now())
		return nil
	}
	desired, _ := o.desiredSecret() // report tells about templates that cannot be rendered
	found := o.secret
	if r.putBackTooOften(o, desired) {
		o.contest(r.Clock.Now(), found, desired)
		return nil
	}
	err := r.writeTokenSecret(ctx, o, desired.DeepCopy())
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.readTokenSecret(ctx, o) // the next decision sees whose it is
	case comesAndGoes(err):
		return err
	case err != nil:
		r.refused(o, stepPublish, err)
		if o.showsWithdrawn() {
			f := o.failures.find(stepPublish)
			f.Message = fmt.Sprintf("The Secret %s still shows a token that was withdrawn. %s", o.secret.Name, f.Message)
		}
		o.rememberSecret(false)
		return nil
	}
	crashpoint.Hit(crashpoint.AfterPublish)
	o.ownerGone = false
	contested := contestedFailure(o.failures.find(stepPublish))
	switch {
	case !sameSecret(o.secret, desired): // a policy changed it on its way
		o.contest(r.Clock.Now(), o.secret, desired)
	case contested: // who changed it before may do so again
		o.contest(r.Clock.Now(), found, desired)
	default:
		o.failures.clear(stepPublish)
		o.measureLateness(o.grant(), r.Clock.Now())
	}
	return r.removeRenamed(ctx, o)
}

// writeTokenSecret creates or updates the token Secret. Where the update of one that shows a token that it must not show is
// refused, it is deleted and made anew.
func (r *Reconciler) writeTokenSecret(ctx context.Context, o *work, desired *corev1.Secret) error {
	switch {
	case o.secret == nil:
		return r.createTokenSecret(ctx, o, desired)
	case sameSecret(o.secret, desired):
		return nil
	}
	found := o.secret
	err := r.Secrets.Update(ctx, desired) // with UID and resourceVersion of what was read
	if err == nil {
		o.secret = desired
		return nil
	}
	err = credential.NewWriteError("update", found, err)
	if comesAndGoes(err) || !o.showsWithdrawn() {
		return err
	}
	if deleted := r.Secrets.Delete(ctx, found, client.Preconditions{UID: &found.UID, ResourceVersion: &found.ResourceVersion}); client.IgnoreNotFound(deleted) != nil {
		return credential.NewWriteError("delete", found, deleted)
	}
	o.secret = nil
	return r.createTokenSecret(ctx, o, &corev1.Secret{Type: desired.Type, Data: desired.Data, ObjectMeta: metav1.ObjectMeta{
		Namespace: desired.Namespace, Name: desired.Name, Labels: desired.Labels, Annotations: desired.Annotations, OwnerReferences: desired.OwnerReferences,
	}})
}

func (r *Reconciler) createTokenSecret(ctx context.Context, o *work, desired *corev1.Secret) error {
	if err := r.Secrets.Create(ctx, desired); err != nil {
		return credential.NewWriteError("create", desired, err)
	}
	o.secret = desired
	return nil
}

// rememberSecret ties the failed publication to the Secret and the token that it failed with.
func (o *observed) rememberSecret(contested bool) {
	o.failures.find(stepPublish).Inputs = o.secretVersion(contested)
}

// removeRenamed deletes the token Secret of an earlier name, now that the new one exists.
func (r *Reconciler) removeRenamed(ctx context.Context, o *work) error {
	if old := o.publishedName; old != "" && old != o.secret.Name {
		if err := r.deleteTokenSecret(ctx, o.conn, old); err != nil {
			return err
		}
	}
	o.publishedName = o.secret.Name
	return nil
}

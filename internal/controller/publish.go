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
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// publish makes the token Secret what it should be.
func (r *Reconciler) publish(ctx context.Context, w *work) error {
	if w.SecretTaken() {
		w.Conflict(r.Clock.Now())
		return nil
	}
	desired, _ := w.DesiredSecret() // report tells about templates that cannot be rendered
	found := w.Secret
	if r.putBackTooOften(w, desired) {
		w.Contest(r.Clock.Now(), found, desired)
		return nil
	}
	err := r.writeTokenSecret(ctx, w, desired.DeepCopy())
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.readTokenSecret(ctx, w) // the next decision sees whose it is
	case settlesByItself(err):
		return err
	case err != nil:
		r.refused(w, lifecycle.StepPublish, err)
		if w.ShowsWithdrawn() {
			f := w.Failures.Find(lifecycle.StepPublish)
			f.Message = fmt.Sprintf("The Secret %s still shows a token that was withdrawn. %s", w.Secret.Name, f.Message)
		}
		w.RememberSecret(false)
		return nil
	}
	crashpoint.Hit(crashpoint.AfterPublish)
	w.OwnerGone = false
	contested := lifecycle.ContestedFailure(w.Failures.Find(lifecycle.StepPublish))
	switch {
	case !lifecycle.SameSecret(w.Secret, desired): // a policy changed it on its way
		w.Contest(r.Clock.Now(), w.Secret, desired)
	case contested: // who changed it before may do so again
		w.Contest(r.Clock.Now(), found, desired)
	default:
		w.Failures.Clear(lifecycle.StepPublish)
		w.measureLateness(w.Grant(), r.Clock.Now())
	}
	return r.removeRenamed(ctx, w)
}

// writeTokenSecret creates or updates the token Secret. Where the update of one that shows a token that it must not
// show is refused, it is deleted and made anew.
func (r *Reconciler) writeTokenSecret(ctx context.Context, w *work, desired *corev1.Secret) error {
	switch {
	case w.Secret == nil:
		return r.createTokenSecret(ctx, w, desired)
	case lifecycle.SameSecret(w.Secret, desired):
		return nil
	}
	found := w.Secret
	err := r.Secrets.Update(ctx, desired) // with UID and resourceVersion of what was read
	if err == nil {
		w.Secret = desired
		return nil
	}
	err = credential.NewWriteError("update", found, err)
	if settlesByItself(err) || !w.ShowsWithdrawn() {
		return err
	}
	if deleted := r.Secrets.Delete(ctx, found, client.Preconditions{UID: &found.UID,
		ResourceVersion: &found.ResourceVersion}); client.IgnoreNotFound(deleted) != nil {
		return credential.NewWriteError("delete", found, deleted)
	}
	w.Secret = nil
	return r.createTokenSecret(ctx, w, &corev1.Secret{Type: desired.Type, Data: desired.Data,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: desired.Namespace, Name: desired.Name, Labels: desired.Labels, Annotations: desired.Annotations,
			OwnerReferences: desired.OwnerReferences,
		}})
}

func (r *Reconciler) createTokenSecret(ctx context.Context, w *work, desired *corev1.Secret) error {
	if err := r.Secrets.Create(ctx, desired); err != nil {
		return credential.NewWriteError("create", desired, err)
	}
	w.Secret = desired
	return nil
}

// removeRenamed deletes the token Secret of an earlier name, now that the new one exists.
func (r *Reconciler) removeRenamed(ctx context.Context, w *work) error {
	if old := w.PublishedName; old != "" && old != w.Secret.Name {
		if err := r.deleteTokenSecret(ctx, w.Conn, old); err != nil {
			return err
		}
	}
	w.PublishedName = w.Secret.Name
	return nil
}

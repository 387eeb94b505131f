package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// perform does one step and notes in o what came of it. A failure of a server is noted as a failure of the step; an
// error is one of the API server.
func (r *Reconciler) perform(ctx context.Context, s step, o *observed) error {
	switch s {
	case stepFinalize:
		return r.finalize(ctx, o)
	case stepAddFinalizer:
		return r.addFinalizer(ctx, o)
	case stepWithdrawToken:
		return r.withdrawToken(ctx, o)
	case stepTakeChallenge:
		return r.takeChallenge(ctx, o)
	case stepForgetChallenge:
		return r.forgetChallenge(ctx, o)
	case stepPublish:
		return r.publish(ctx, o)
	case stepExchangeCode:
		return r.exchangeCode(ctx, o)
	case stepRevoke:
		return r.revoke(ctx, o)
	case stepRefresh:
		return r.refresh(ctx, o)
	case stepDiscover:
		return r.discover(ctx, o)
	case stepRegister:
		return r.register(ctx, o)
	case stepUpdateRegistration:
		return r.updateRegistration(ctx, o)
	case stepUnregister:
		return r.unregister(ctx, o)
	case stepStartAuthorization:
		return r.startAuthorization(ctx, o)
	case stepEndAuthorization:
		return r.endAuthorization(ctx, o)
	case stepRequestToken:
		return r.requestToken(ctx, o)
	case stepImportGrant:
		return r.importGrant(ctx, o)
	case stepProbe:
		return r.probe(ctx, o)
	case stepNone:
	}
	return nil
}

// addFinalizer comes before the first credential write, so that no deletion leaves a grant behind. It touches metadata only.
func (r *Reconciler) addFinalizer(ctx context.Context, o *observed) error {
	return r.patchFinalizers(ctx, o.conn, append(o.conn.Finalizers, v1alpha1.Finalizer))
}

func (r *Reconciler) patchFinalizers(ctx context.Context, conn *v1alpha1.MCPConnection, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": conn.ResourceVersion, "finalizers": finalizers,
	}})
	if err != nil {
		return err
	}
	return r.Client.Patch(ctx, conn, client.RawPatch(types.MergePatchType, patch))
}

// update changes the credential Secret, and makes it if there is none.
func (r *Reconciler) update(ctx context.Context, o *observed, mutate func(*credential.Credential) error) error {
	var held *credential.Held
	var err error
	mutate = o.keeping(mutate)
	if o.held == nil {
		held, err = r.Store.Create(ctx, credential.Connection{UID: o.conn.UID, Namespace: o.conn.Namespace, Name: o.conn.Name}, mutate)
	} else {
		held, err = r.Store.Update(ctx, o.held, mutate)
	}
	if err != nil {
		return err
	}
	o.held = held
	return nil
}

// fail notes that a step failed at a server, and when it is tried again.
func (r *Reconciler) fail(o *observed, s step, err error, reason string) {
	e := mcpoauth.AsError(err)
	if e == nil {
		e = &mcpoauth.Error{Kind: mcpoauth.Transient, Message: err.Error()}
	}
	if reason == "" {
		reason = string(e.Code)
	}
	r.failAs(o, s, e, reason, e.Message)
}

func (r *Reconciler) failAs(o *observed, s step, e *mcpoauth.Error, reason, message string) {
	now := r.Clock.Now()
	var expiresAt time.Time
	switch g := o.grant(); {
	case g != nil && s == stepRefresh && g.SetAside != nil: // nothing hurries any more
		o.recordFailure(s, reason, message, now, func(int32) time.Time { return now.Add(max(retryDelay(o.conn.UID, s, longAgo, e.Kind), e.RetryAfter)) })
		return
	case g != nil && (s == stepRefresh || s == stepRequestToken):
		expiresAt = g.ExpiresAt
		if g.EndsAt.After(now) && (expiresAt.IsZero() || g.EndsAt.Before(expiresAt)) {
			expiresAt = g.EndsAt
		}
	case g != nil && s == stepUpdateRegistration:
		expiresAt = g.Client.SecretExpiresAt
	}
	o.recordFailure(s, reason, message, now, func(attempts int32) time.Time {
		return retryTime(now, retryDelay(o.conn.UID, s, attempts, e.Kind), e.RetryAfter, expiresAt)
	})
}

// withSlot runs a request if the host and the namespace have a free slot, else has it tried again soon.
func (r *Reconciler) withSlot(o *observed, url string, request func() error) error {
	if o.pass == nil { // not in a reconcile
		o.pass = r.slots.pass(client.ObjectKeyFromObject(o.conn))
		defer func() { o.pass.release(); o.pass = nil }()
	}
	if !o.pass.take(url) {
		o.busy = busyRetry
		return nil
	}
	return request()
}

// publish makes the token Secret what it should be.
func (r *Reconciler) publish(ctx context.Context, o *observed) error {
	now := r.Clock.Now()
	desired, _ := o.desiredSecret() // report tells about templates that cannot be rendered
	var err error
	if o.secret != nil && ownerOf(o.secret, o.conn, o.ownerGone) == ownedByOthers {
		r.conflict(o, now)
		return nil
	}
	switch {
	case o.secret == nil:
		err = r.Secrets.Create(ctx, desired)
	case !sameSecret(o.secret, desired):
		err = r.Secrets.Update(ctx, desired) // desired holds UID and resourceVersion of what was read
	}
	if apierrors.IsAlreadyExists(err) {
		return r.readTokenSecret(ctx, o) // the next decision sees whose it is
	}
	if err != nil {
		return fmt.Errorf("writing the token Secret: %w", err)
	}
	reached(afterPublish)
	o.secret, o.ownerGone = desired, false
	o.failures.clear(stepPublish)
	return r.removeRenamed(ctx, o)
}

func (r *Reconciler) conflict(o *observed, now time.Time) {
	name := tokenSecretName(o.conn)
	o.recordFailure(stepPublish, v1alpha1.ReasonSecretConflict,
		fmt.Sprintf("The Secret %s exists and does not belong to this connection, so it is left alone. Delete it, or choose another name in spec.tokenSecret.name.", name),
		now, func(attempts int32) time.Time {
			return now.Add(retryDelay(o.conn.UID, stepPublish, attempts, mcpoauth.Transient))
		})
}

// removeRenamed deletes the token Secret of an earlier name, now that the new one exists.
func (r *Reconciler) removeRenamed(ctx context.Context, o *observed) error {
	if old := o.publishedName; old != "" && old != o.secret.Name {
		if err := r.deleteTokenSecret(ctx, o.conn, old); err != nil {
			return err
		}
	}
	o.publishedName = o.secret.Name
	return nil
}

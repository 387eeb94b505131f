package controller

import (
	"context"
	"encoding/json"
	"time"

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
	case stepCreateCredential:
		return r.createCredential(ctx, o)
	case stepNotePolicy:
		return r.notePolicy(ctx, o)
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
	case stepNone, stepObserve, stepSave:
	}
	return nil
}

// createCredential makes the place to save things in, which proves that there is one, before anything is registered or asked.
func (r *Reconciler) createCredential(ctx context.Context, o *observed) error {
	return r.update(ctx, o, func(c *credential.Credential) error {
		c.Deletion.Policy = notedPolicy(o.spec())
		return nil
	})
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
		held, err = r.Store.Create(ctx, credential.Connection{UID: o.conn.UID, Namespace: o.conn.Namespace, Name: o.conn.Name}, func(c *credential.Credential) error {
			c.Deletion.Policy = notedPolicy(o.spec())
			return mutate(c)
		})
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

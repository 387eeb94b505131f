package controller

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// perform does one step and notes in o what came of it. A failure of a server is noted as a failure of the step; an
// error is one of the API server.
func (r *Reconciler) perform(ctx context.Context, s step, o *work) error {
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
func (r *Reconciler) createCredential(ctx context.Context, o *work) error {
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

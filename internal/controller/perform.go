package controller

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// perform does one step and notes in w what came of it. A failure of a server is noted as a failure of the step; an
// error is one of the API server.
func (r *Reconciler) perform(ctx context.Context, step lifecycle.Step, w *work) error {
	switch step {
	case lifecycle.StepFinalize:
		return r.finalize(ctx, w)
	case lifecycle.StepAddFinalizer:
		return r.addFinalizer(ctx, w)
	case lifecycle.StepCreateCredential:
		return r.createCredential(ctx, w)
	case lifecycle.StepNotePolicy:
		return r.notePolicy(ctx, w)
	case lifecycle.StepWithdrawToken:
		return r.withdrawToken(ctx, w)
	case lifecycle.StepTakeChallenge:
		return r.takeChallenge(ctx, w)
	case lifecycle.StepForgetChallenge:
		return r.forgetChallenge(ctx, w)
	case lifecycle.StepPublish:
		return r.publish(ctx, w)
	case lifecycle.StepExchangeCode:
		return r.exchangeCode(ctx, w)
	case lifecycle.StepRevoke:
		return r.revoke(ctx, w)
	case lifecycle.StepRefresh:
		return r.refresh(ctx, w)
	case lifecycle.StepDiscover:
		return r.discover(ctx, w)
	case lifecycle.StepRegister:
		return r.register(ctx, w)
	case lifecycle.StepUpdateRegistration:
		return r.updateRegistration(ctx, w)
	case lifecycle.StepUnregister:
		return r.unregister(ctx, w)
	case lifecycle.StepStartAuthorization:
		return r.startAuthorization(ctx, w)
	case lifecycle.StepEndAuthorization:
		return r.endAuthorization(ctx, w)
	case lifecycle.StepRequestToken:
		return r.requestToken(ctx, w)
	case lifecycle.StepImportGrant:
		return r.importGrant(ctx, w)
	case lifecycle.StepProbe:
		return r.probe(ctx, w)
	case lifecycle.StepNone, lifecycle.StepObserve, lifecycle.StepSave:
	}
	return nil
}

// createCredential makes the place to save things in, which proves that there is one, before anything is registered or
// asked.
func (r *Reconciler) createCredential(ctx context.Context, w *work) error {
	return r.update(ctx, w, func(c *credential.Credential) error {
		c.Deletion.Policy = lifecycle.NotedPolicy(w.Spec())
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

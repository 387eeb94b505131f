package imported

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// apply creates both objects, or none. Neither may exist: a connection with a grant would not look at another one.
func apply(ctx context.Context, c client.Client, secret *corev1.Secret, connection *v1alpha1.MCPConnection) error {
	owner := client.FieldOwner(kube.FieldManager)
	for _, object := range []client.Object{connection, secret} {
		rehearsal, ok := object.DeepCopyObject().(client.Object)
		if !ok {
			return errors.New("a copy of an object is no object")
		}
		if err := c.Create(ctx, rehearsal, owner, client.DryRunAll); err != nil {
			return refused(object, err)
		}
	}
	if err := c.Create(ctx, secret, owner); err != nil {
		return refused(secret, err)
	}
	if err := c.Create(ctx, connection, owner); err != nil {
		remove := &client.Preconditions{UID: uid(secret)}
		return errors.Join(refused(connection, err), client.IgnoreNotFound(c.Delete(context.WithoutCancel(ctx), secret, remove)))
	}
	return nil
}

func uid(o client.Object) *types.UID {
	id := o.GetUID()
	return &id
}

func refused(object client.Object, err error) error {
	kind := "Secret"
	if _, is := object.(*v1alpha1.MCPConnection); is {
		kind = "MCPConnection"
	}
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("the %s %s/%s exists already: choose another name, or delete it first", kind, object.GetNamespace(), object.GetName())
	}
	return kube.Explain(fmt.Errorf("create the %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err))
}

package imported

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// cleanupTimeout is how long a Secret without a connection is tried to be deleted.
const cleanupTimeout = 10 * time.Second

// apply creates both objects, or none. Neither may exist: a connection with a grant would not look at another one. With
// an error it says what may be left, if anything is.
func apply(ctx context.Context, c client.Client, secret *corev1.Secret,
	connection *v1alpha1.MCPConnection) (left string, err error) {
	owner := client.FieldOwner(kube.FieldManager)
	for _, object := range []client.Object{connection, secret} {
		rehearsal, ok := object.DeepCopyObject().(client.Object)
		if !ok {
			return "", errors.New("a copy of an object is no object")
		}
		if err := c.Create(ctx, rehearsal, owner, client.DryRunAll); err != nil {
			return "", refused(object, err)
		}
	}
	if err := c.Create(ctx, secret, owner); err != nil {
		if certain(err) {
			return "", refused(secret, err)
		}
		return fmt.Sprintf("It is not known whether the Secret was created. It would hold the refresh token: kubectl -n %s "+
			"delete secret %s", secret.Namespace, secret.Name), refused(secret, err)
	}
	if err := c.Create(ctx, connection, owner); err != nil {
		return withdraw(ctx, c, secret, connection, certain(err)), refused(connection, err)
	}
	return "", nil
}

// certain reports whether the API server refused a request. Otherwise it may be carried out, now or in a moment:
// reading the object again would prove nothing.
func certain(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError
}

// withdraw deletes the Secret of a connection that was refused for certain, else none, for a connection may need it. It
// says what is left.
func withdraw(ctx context.Context, c client.Client, secret *corev1.Secret, connection *v1alpha1.MCPConnection,
	certainly bool) string {
	if !certainly {
		return fmt.Sprintf("The Secret %s is created, and it is not known whether the MCPConnection %s is. If it is not "+
			"there, delete the Secret, which holds the refresh token: kubectl -n %s delete secret %s",
			secret.Name, connection.Name, secret.Namespace, secret.Name)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := c.Delete(ctx, secret, &client.Preconditions{UID: uid(secret)}); client.IgnoreNotFound(err) != nil {
		return fmt.Sprintf("The Secret could not be deleted again (%s). It holds the refresh token: kubectl -n %s "+
			"delete secret %s",
			kube.Explain(err), secret.Namespace, secret.Name)
	}
	return ""
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
		return fmt.Errorf("the %s %s/%s exists already: choose another name, or delete it first", kind, object.GetNamespace(),
			object.GetName())
	}
	return kube.Explain(fmt.Errorf("create the %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err))
}

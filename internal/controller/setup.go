package controller

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// SetupWithManager registers the watches: connections, and the metadata of the Secrets that the operator wrote.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MCPConnection{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, statusLost(), finalizerStripped()))).
		WatchesMetadata(secretMetadata(), handler.EnqueueRequestsFromMapFunc(connectionOf), builder.WithPredicates(secretChanges())).
		WatchesRawSource(source.Func(r.wakeThrough)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles}).
		Complete(r)
}

// wakeThrough has connections that wait for a slot woken through the controller's own queue.
func (r *Reconciler) wakeThrough(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	r.slots.wakeBy(func(conn types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: conn}) })
	return nil
}

// connectionOf maps a Secret to the connection that it belongs to.
func connectionOf(_ context.Context, secret client.Object) []reconcile.Request {
	if secret.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential {
		namespace, name, ok := strings.Cut(secret.GetAnnotations()[credential.AnnotationConnection], "/")
		if !ok {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
	}
	owner := metav1.GetControllerOf(secret)
	if owner == nil || owner.Kind != "MCPConnection" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: secret.GetNamespace(), Name: owner.Name}}}
}

// never lets no event through.
func never[T any](T) bool { return false }

// statusLost lets an update through that took something from status which the operator always leaves there: nobody else would
// have it rebuilt.
func statusLost() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  never[event.CreateEvent],
		DeleteFunc:  never[event.DeleteEvent],
		GenericFunc: never[event.GenericEvent],
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, isConnection := e.ObjectOld.(*v1alpha1.MCPConnection)
			after, isToo := e.ObjectNew.(*v1alpha1.MCPConnection)
			if !isConnection || !isToo {
				return false
			}
			old, now := &before.Status, &after.Status
			return (old.ObservedGeneration > 0 && now.ObservedGeneration <= 0) || (old.LastHandled != nil && now.LastHandled == nil) ||
				(findCondition(old.Conditions, v1alpha1.ConditionReady) != nil && findCondition(now.Conditions, v1alpha1.ConditionReady) == nil)
		},
	}
}

// secretChanges lets through what may call for action: a new authorization response, an edit or a loss. Creations are
// the operator's own, or are covered by the connection's own event at start.
func secretChanges() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  never[event.CreateEvent],
		GenericFunc: never[event.GenericEvent],
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			if e.ObjectNew.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential {
				return e.ObjectNew.GetAnnotations()[credential.AnnotationRevision] != e.ObjectNew.GetAnnotations()[credential.AnnotationHandled]
			}
			return e.ObjectNew.GetResourceVersion() != e.ObjectOld.GetResourceVersion()
		},
	}
}

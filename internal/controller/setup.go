package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/slots"
)

// uncountedWorkers are workers above those that slots count. They find at once whoever cannot begin, and have it wait
// in a queue of the slots: else whoever is first in the work queue, and not whose turn it is, would have the next
// worker.
const uncountedWorkers = 8

// SetupWithManager registers the watches: connections, and the metadata of the Secrets that the operator wrote.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.slots.Workers = r.MaxConcurrentReconciles
	r.slots.SetGauge(waitingForSlot)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.MCPConnection{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, statusLost(), finalizerStripped()))).
		Watches(&v1alpha1.MCPConnection{}, handler.Funcs{CreateFunc: r.enqueueListed}).
		WatchesMetadata(credential.SecretMetadata(), handler.Funcs{CreateFunc: enqueueCreated, UpdateFunc: enqueueChanged,
			DeleteFunc: enqueueDeleted}, builder.WithPredicates(secretChanges())).
		WatchesRawSource(source.Func(r.wakeByWorkQueue)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles + uncountedWorkers}).
		Complete(r)
}

// enqueueListed has what was there before this process reconciled in the order of what is due: by itself
// controller-runtime puts it behind all that is new.
func (r *Reconciler) enqueueListed(_ context.Context, e event.CreateEvent, queue requests) {
	conn, is := e.Object.(*v1alpha1.MCPConnection)
	if !is || conn.Status.Token == nil || conn.Status.Token.RefreshAt == nil {
		return
	}
	at := r.Clock.Now()
	if moment := lifecycle.RefreshMoment(conn.UID, conn.Status.Token.RefreshAt.Time); moment.After(at) {
		at = moment // it may come while this waits for the first look
	}
	if u := lifecycle.ExpectedUrgency(at, conn, credential.SecretMetadata()); u.Reserved() {
		enqueue(queue, u, types.NamespacedName{Namespace: conn.Namespace, Name: conn.Name})
	}
}

func enqueueCreated(_ context.Context, e event.CreateEvent, queue requests) {
	enqueueSecret(e.Object, queue)
}

func enqueueChanged(_ context.Context, e event.UpdateEvent, queue requests) {
	enqueueSecret(e.ObjectNew, queue)
}

func enqueueDeleted(_ context.Context, e event.DeleteEvent, queue requests) {
	enqueueSecret(e.Object, queue)
}

// enqueueSecret has the connection of a Secret reconciled, before all others if a code was recorded for it.
func enqueueSecret(secret client.Object, queue requests) {
	u := slots.Ordinary
	if recordsCode(secret) {
		u = slots.DueExchange
	}
	if conn, ok := connectionOf(secret); ok {
		enqueue(queue, u, conn)
	}
}

// requests is the work queue of the controller.
type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// enqueue has a connection reconciled when its turn has come.
func enqueue(queue requests, u slots.Urgency, conn types.NamespacedName) {
	request := reconcile.Request{NamespacedName: conn}
	if ordered, is := queue.(priorityqueue.PriorityQueue[reconcile.Request]); is {
		ordered.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(int(u))}, request)
		return
	}
	queue.Add(request)
}

// wakeByWorkQueue has connections that wait for a slot woken through the controller's own queue.
func (r *Reconciler) wakeByWorkQueue(_ context.Context, queue requests) error {
	r.slots.SetWake(func(conn types.NamespacedName, u slots.Urgency) { enqueue(queue, u, conn) })
	return nil
}

// connectionOf is the connection that a Secret belongs to; false if there is none.
func connectionOf(secret client.Object) (types.NamespacedName, bool) {
	if secret.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential {
		return credential.ConnectionOf(secret)
	}
	owner := metav1.GetControllerOf(secret)
	if owner == nil || owner.Kind != "MCPConnection" {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: secret.GetNamespace(), Name: owner.Name}, true
}

// recordsCode reports whether a Secret is a credential with an authorization response that waits for the reconciler.
func recordsCode(secret client.Object) bool {
	return secret.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential &&
		secret.GetAnnotations()[credential.AnnotationRevision] != secret.GetAnnotations()[credential.AnnotationHandled]
}

// never lets no event through.
func never[T any](T) bool { return false }

// statusLost lets an update through that took something from status which the operator always leaves there: nobody else
// would have it rebuilt.
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
			return (old.ObservedGeneration > 0 && now.ObservedGeneration <= 0) ||
				(old.LastHandled != nil && now.LastHandled == nil) ||
				(meta.FindStatusCondition(old.Conditions, v1alpha1.ConditionReady) != nil &&
					meta.FindStatusCondition(now.Conditions, v1alpha1.ConditionReady) == nil)
		},
	}
}

// secretChanges lets through what may call for action: a new authorization response, an edit or a loss. Other creations
// are the operator's own, or are covered by the connection's own event at start.
func secretChanges() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return recordsCode(e.Object) },
		GenericFunc: never[event.GenericEvent],
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			if e.ObjectNew.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential {
				return recordsCode(e.ObjectNew)
			}
			return e.ObjectNew.GetResourceVersion() != e.ObjectOld.GetResourceVersion()
		},
	}
}

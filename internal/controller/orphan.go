package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// orphanLifetime is how long a credential Secret outlives a connection that vanished past its finalizer: long enough
// for a backup to be restored.
const orphanLifetime = 24 * time.Hour

// annotationOrphanedSince on a credential Secret is when its connection was first missed (RFC 3339).
const annotationOrphanedSince = v1alpha1.Prefix + "orphaned-since"

// OrphanReconciler revokes and deletes credential Secrets whose connection is gone.
type OrphanReconciler struct {
	*Reconciler
	// Namespaces that are watched; empty: all. Credentials of connections elsewhere are left alone.
	Namespaces []string
}

// SetupWithManager registers a watch of credential Secrets' metadata and of deleted connections.
func (r *OrphanReconciler) SetupWithManager(mgr ctrl.Manager) error {
	credentials := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential && o.GetNamespace() == r.Store.Namespace()
	})
	deletions := predicate.Funcs{}
	deletions.CreateFunc, deletions.UpdateFunc, deletions.GenericFunc = never, never, never
	return ctrl.NewControllerManagedBy(mgr).Named("credential").
		For(secretMetadata(), builder.OnlyMetadata, builder.WithPredicates(credentials, predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.MCPConnection{}, handler.EnqueueRequestsFromMapFunc(r.credentialOf), builder.WithPredicates(deletions)).
		Complete(r)
}

func (r *OrphanReconciler) credentialOf(_ context.Context, conn client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Store.Namespace(), Name: credential.SecretName(conn.GetUID())}}}
}

// Reconcile looks at one credential Secret.
func (r *OrphanReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	held := secretMetadata()
	if err := r.Metadata.Get(ctx, req.NamespacedName, held); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	gone, err := r.connectionGone(ctx, held)
	if err != nil || !gone {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	since, err := time.Parse(time.RFC3339, held.Annotations[annotationOrphanedSince])
	if err != nil {
		return ctrl.Result{RequeueAfter: orphanLifetime}, client.IgnoreNotFound(r.markOrphaned(ctx, held, now))
	}
	if left := since.Add(orphanLifetime).Sub(now); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	return ctrl.Result{}, r.endOrphan(ctx, types.UID(held.Annotations[credential.AnnotationUID]))
}

// connectionGone asks the cache first and the API server before it believes that a connection is gone.
func (r *OrphanReconciler) connectionGone(ctx context.Context, held *metav1.PartialObjectMetadata) (bool, error) {
	namespace, name, ok := strings.Cut(held.Annotations[credential.AnnotationConnection], "/")
	if !ok || held.Name != credential.SecretName(types.UID(held.Annotations[credential.AnnotationUID])) {
		return false, nil // a copy, or of somebody else: nothing is done to it, nor to the one that it is like
	}
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, namespace) {
		return false, nil // nor would the cache know
	}
	for _, reader := range []client.Reader{r.Client, r.Secrets} {
		conn := &v1alpha1.MCPConnection{}
		err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, conn)
		switch {
		case err == nil && string(conn.UID) == held.Annotations[credential.AnnotationUID]:
			return false, nil
		case err == nil, apierrors.IsNotFound(err):
		case apierrors.IsForbidden(err):
			return false, nil // a namespace that this operator does not serve
		default:
			return false, err
		}
	}
	return true, nil
}

func (r *OrphanReconciler) markOrphaned(ctx context.Context, held *metav1.PartialObjectMetadata, now time.Time) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": held.UID, "annotations": map[string]string{annotationOrphanedSince: now.UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return err
	}
	return r.Secrets.Patch(ctx, held, client.RawPatch(types.MergePatchType, patch))
}

// endOnce tries once to end everything at the servers.
func (r *OrphanReconciler) endOnce(ctx context.Context, o *observed) {
	e := &ending{begunAt: r.Clock.Now(), first: true, revokes: true}
	r.revokeAll(ctx, o, e)
	r.unregisterAll(ctx, o, e)
	for _, n := range e.notes {
		log.FromContext(ctx).Info("Something of a connection that is gone stays at its server", "reason", n.message)
	}
	for _, h := range e.holds {
		log.FromContext(ctx).Info("Something of a connection that is gone stays at its server", "reason", h.message)
	}
}

// endOrphan revokes what can be revoked and deletes the Secret.
func (r *OrphanReconciler) endOrphan(ctx context.Context, uid types.UID) error {
	held, err := r.Store.Get(ctx, uid)
	if unusable(err) {
		return r.deleteUnusable(ctx, uid)
	}
	if held == nil || err != nil {
		return err
	}
	o := &observed{conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{UID: uid}}, held: held}
	if err := r.observeSigningKey(ctx, o); err != nil {
		return err
	}
	if held.Deletion.Policy != string(v1alpha1.DeletionPolicyOrphan) {
		r.endOnce(ctx, o)
	}
	if err := r.Store.Delete(ctx, held); err != nil {
		return fmt.Errorf("deleting an orphaned credential Secret: %w", err)
	}
	return nil
}

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/slots"
)

// orphanLifetime is how long a credential Secret outlives a connection that vanished past its finalizer: long enough
// for a backup to be restored.
const orphanLifetime = 24 * time.Hour

// replacedLifetime is the same while another object has the connection's name: probably a restore made it anew, with
// another UID.
const replacedLifetime = 30 * 24 * time.Hour

const (
	// annotationOrphanedSince on a credential Secret is when its connection was first missed (RFC 3339).
	annotationOrphanedSince = v1alpha1.Prefix + "orphaned-since"
	// annotationReplacedBy on a credential Secret is the UID of the object that has the name of its connection now.
	annotationReplacedBy = v1alpha1.Prefix + "replaced-by"
)

// OrphanReconciler ends credential Secrets whose connection is gone.
type OrphanReconciler struct {
	*Reconciler
	// Namespaces that are watched; empty: all. Credentials of connections elsewhere are left alone.
	Namespaces []string
}

// SetupWithManager registers a watch of credential Secrets' metadata, and of connections that come and go.
func (r *OrphanReconciler) SetupWithManager(mgr ctrl.Manager) error {
	credentials := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[v1alpha1.LabelSecretType] == v1alpha1.SecretTypeCredential &&
			o.GetNamespace() == r.Store.Namespace()
	})
	comings := predicate.Funcs{UpdateFunc: never[event.UpdateEvent], GenericFunc: never[event.GenericEvent]} // and goings
	return ctrl.NewControllerManagedBy(mgr).Named("credential").
		For(credential.SecretMetadata(), builder.OnlyMetadata,
			builder.WithPredicates(credentials, predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.MCPConnection{}, handler.EnqueueRequestsFromMapFunc(r.credentialOf),
			builder.WithPredicates(comings)).
		Complete(r)
}

func (r *OrphanReconciler) credentialOf(_ context.Context, conn client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Store.Namespace(),
		Name: credential.SecretName(conn.GetUID())}}}
}

// Reconcile looks at one credential Secret.
func (r *OrphanReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	held := credential.SecretMetadata()
	if err := r.Metadata.Get(ctx, req.NamespacedName, held); err != nil {
		r.orphaned.count(req.Name, "")
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	found, err := r.seekConnection(ctx, held)
	if err != nil || found.unknown {
		return ctrl.Result{}, err
	}
	r.orphaned.count(req.Name, found.state())
	if found.there {
		return ctrl.Result{}, r.unmark(ctx, held)
	}
	now := r.Clock.Now()
	since, err := time.Parse(time.RFC3339, held.Annotations[annotationOrphanedSince])
	before, replaced := held.Annotations[annotationReplacedBy], string(found.replacedBy)
	switch {
	case err != nil, before != "" && replaced == "": // in the second case the day begins now
		return ctrl.Result{RequeueAfter: orphanLifetime}, r.mark(ctx, held, now, replaced)
	case before != replaced:
		return ctrl.Result{RequeueAfter: orphanLifetime}, r.mark(ctx, held, since, replaced)
	case replaced == "":
		if left := since.Add(orphanLifetime).Sub(now); left > 0 {
			return ctrl.Result{RequeueAfter: left}, nil
		}
		return r.endOrphan(ctx, held, true)
	}
	if left := since.Add(replacedLifetime).Sub(now); left > 0 {
		return ctrl.Result{RequeueAfter: min(left, orphanLifetime)}, nil // the name may become free meanwhile
	}
	return r.endOrphan(ctx, held, false)
}

// sought is what became of the connection of a credential Secret.
type sought struct {
	// unknown is set for a Secret that nothing is to be done to.
	unknown bool
	there   bool
	// replacedBy is the UID of another object of that name; empty if there is none.
	replacedBy types.UID
}

func (s sought) state() string {
	switch {
	case s.there:
		return ""
	case s.replacedBy != "":
		return stateReplaced
	}
	return stateGone
}

// seekConnection asks the cache first and the API server before it believes that a connection is gone.
func (r *OrphanReconciler) seekConnection(ctx context.Context, held *metav1.PartialObjectMetadata) (sought, error) {
	key, ok := credential.ConnectionOf(held)
	uid := types.UID(held.Annotations[credential.AnnotationUID])
	if !ok || held.Name != credential.SecretName(uid) {
		// A copy, or of somebody else: nothing is done to it, nor to the one that it is like.
		return sought{unknown: true}, nil
	}
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, key.Namespace) {
		return sought{unknown: true}, nil // nor would the cache know
	}
	var replacedBy types.UID
	for _, reader := range []client.Reader{r.Client, r.Secrets} {
		conn := &v1alpha1.MCPConnection{}
		err := reader.Get(ctx, key, conn)
		switch {
		case err == nil && conn.UID == uid:
			return sought{there: true}, nil
		case err == nil:
			replacedBy = conn.UID
		case apierrors.IsNotFound(err):
			replacedBy = ""
		case apierrors.IsForbidden(err):
			return sought{unknown: true}, nil // a namespace that this operator does not serve
		default:
			return sought{}, err
		}
	}
	return sought{replacedBy: replacedBy}, nil
}

// mark notes since when a credential's connection is missed, and who has its name.
func (r *OrphanReconciler) mark(ctx context.Context, held *metav1.PartialObjectMetadata, since time.Time,
	replacedBy string) error {
	marks := map[string]any{annotationOrphanedSince: since.UTC().Format(time.RFC3339), annotationReplacedBy: nil}
	if replacedBy != "" {
		marks[annotationReplacedBy] = replacedBy
		log.FromContext(ctx).Info("The connection of a credential Secret was made anew under another UID, so its grant is "+
			"not used. It stays at the server.",
			"connection", held.Annotations[credential.AnnotationConnection], "secret", held.Name, "until",
			since.Add(replacedLifetime).UTC().Format(time.RFC3339))
	}
	return client.IgnoreNotFound(r.annotate(ctx, held, marks))
}

// unmark takes the marks off a credential whose connection was seen again.
func (r *OrphanReconciler) unmark(ctx context.Context, held *metav1.PartialObjectMetadata) error {
	if held.Annotations[annotationOrphanedSince] == "" && held.Annotations[annotationReplacedBy] == "" {
		return nil
	}
	return client.IgnoreNotFound(r.annotate(ctx, held,
		map[string]any{annotationOrphanedSince: nil, annotationReplacedBy: nil}))
}

func (r *OrphanReconciler) annotate(ctx context.Context, held *metav1.PartialObjectMetadata,
	annotations map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": held.UID, "annotations": annotations}})
	if err != nil {
		return err
	}
	return r.Secrets.Patch(ctx, held, client.RawPatch(types.MergePatchType, patch))
}

// endOnce tries once to end everything at the servers. It is false if it has to go on later, for want of a slot.
func (r *OrphanReconciler) endOnce(ctx context.Context, w *work) bool {
	e := &ending{begunAt: r.Clock.Now(), first: true, revokes: true}
	r.revokeAll(ctx, w, e)
	r.unregisterAll(ctx, w, e)
	if w.Busy > 0 {
		return false
	}
	for _, n := range e.notes {
		log.FromContext(ctx).Info("Something of a connection that is gone stays at its server", "reason", n.Message)
	}
	for _, h := range e.holds {
		log.FromContext(ctx).Info("Something of a connection that is gone stays at its server", "reason", h.message)
	}
	return true
}

// endOrphan deletes the Secret. What it holds is revoked before that, unless the connection's deletionPolicy or an
// object of its name says otherwise. Its requests wait for slots as all others do.
func (r *OrphanReconciler) endOrphan(ctx context.Context, found *metav1.PartialObjectMetadata,
	revokes bool) (ctrl.Result, error) {
	uid := types.UID(found.Annotations[credential.AnnotationUID])
	held, err := r.Store.Get(ctx, uid)
	if unusable(err) {
		return ctrl.Result{}, r.deleteUnusable(ctx, uid)
	}
	if held == nil || err != nil {
		return ctrl.Result{}, err
	}
	if revokes && held.Deletion.Policy != string(v1alpha1.DeletionPolicyOrphan) {
		w := &work{State: &lifecycle.State{Conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{UID: uid}},
			Held: held}, pass: r.orphanPass(found)}
		defer w.pass.Release()
		if err := r.observeSigningKey(ctx, w); err != nil {
			return ctrl.Result{}, err
		}
		if !r.endOnce(r.admitting(ctx, w, slots.Ordinary), w) {
			return ctrl.Result{RequeueAfter: w.Busy}, nil
		}
	}
	if err := r.Store.Delete(ctx, held); err != nil {
		return ctrl.Result{}, fmt.Errorf("deleting an orphaned credential Secret: %w", err)
	}
	return ctrl.Result{}, nil
}

// orphanPass takes slots of the connection's namespace. Nobody wakes what is no connection.
func (r *OrphanReconciler) orphanPass(found *metav1.PartialObjectMetadata) *slots.Pass {
	key, _ := credential.ConnectionOf(found) // seekConnection saw one
	return r.slots.UnqueuedPass(key)
}

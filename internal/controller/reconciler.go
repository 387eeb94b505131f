package controller

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// Reconciler keeps the tokens of MCPConnections fresh.
type Reconciler struct {
	// Client reads connections from a cache that shows own writes, and writes them.
	Client client.Client
	// Metadata reads Secrets' metadata from a cache; it never holds contents.
	Metadata client.Reader
	// Secrets reads and writes token Secrets and referenced Secrets, live.
	Secrets client.Client
	// Store reads and writes credential Secrets, live.
	Store *credential.Store
	// OAuth talks to MCP servers and authorization servers.
	OAuth *mcpoauth.Client
	// Recorder of events.
	Recorder events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// ExternalURL of the callback server; empty if there is none.
	ExternalURL string
	// Claims of this process on what is spent.
	Claims claims.Process
	// ClusterIssuer issues the tokens of this cluster's ServiceAccounts; empty if that cannot be told, nil if nobody can
	// be asked.
	ClusterIssuer func(context.Context) string
	// MaxConcurrentReconciles is the number of workers.
	MaxConcurrentReconciles int

	// firstReconcile is when that of this process began; since sets it.
	firstReconcile time.Time
	reconciled     sync.Once

	slots   slots.Slots
	unsaved inFlight
	saves   saves
	edits   edits
	begun   beginnings
	hung    hungHosts
	strips  strips
	// orphaned are credential Secrets, which the OrphanReconciler looks at.
	orphaned orphanCount
}

// +kubebuilder:rbac:groups=mcp-connection.dev,resources=mcpconnections,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=mcp-connection.dev,resources=mcpconnections/status,verbs=patch
// +kubebuilder:rbac:groups=mcp-connection.dev,resources=mcpconnections/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=secrets,namespace=system,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one connection as far as it gets now.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pass := r.slots.Pass(req.NamespacedName)
	defer pass.Release()
	conn := &v1alpha1.MCPConnection{}
	if err := r.Client.Get(ctx, req.NamespacedName, conn); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.saves.of(conn.UID) == nil { // else there is something to tell, and nothing to ask
		if result, later := r.later(conn, r.cachedSecrets(ctx, conn), pass); later {
			return result, nil
		}
	}
	w, err := r.observe(ctx, conn)
	if err != nil {
		return r.reportUnread(ctx, conn, err)
	}
	w.pass = pass
	if err := r.advance(ctx, w); err != nil {
		return r.settle(err)
	}
	if w.Conn == nil {
		return ctrl.Result{}, nil
	}
	now := r.Clock.Now()
	if err := r.patchStatus(ctx, w, lifecycle.Report(now, w.State)); err != nil {
		return r.settle(err)
	}
	return inTurn(wakeAt(now, lifecycle.Schedule(now, w.State)), now,
		func(at time.Time) slots.Urgency { return lifecycle.Urgency(at, w.State) }), nil
}

// later says, from caches alone, that nothing can be done now, and when to look again: nothing is due, or there is no
// slot for it.
func (r *Reconciler) later(conn *v1alpha1.MCPConnection, seen *lifecycle.Cached, p *slots.Pass) (ctrl.Result, bool) {
	now := r.Clock.Now()
	wake, later := lifecycle.RestsUntil(now, conn, seen.Basis)
	if !later {
		wake, later = waitsForSlot(now, conn, seen, p)
	}
	return inTurn(wakeAt(now, wake), now, func(at time.Time) slots.Urgency {
		return lifecycle.ExpectedUrgency(at, conn, &seen.Held)
	}), later
}

// advance performs what is due. What the API server refuses is a failure of that step alone; an error says that a newer
// state is on its way, or that the process stops.
func (r *Reconciler) advance(ctx context.Context, w *work) error {
	for range lifecycle.MaxSteps {
		step := lifecycle.Decide(r.Clock.Now(), w.State)
		if step == lifecycle.StepNone {
			return nil
		}
		before := w.Failures.Find(step).DeepCopy()
		began := r.Clock.Now()
		err := r.perform(ctx, step, w)
		if w.Busy > 0 {
			w.Waits = step
		}
		w.measureStep(step, before, err, r.Clock.Since(began))
		switch {
		case err == nil:
			w.Failures.Healed(step, before)
		case settlesByItself(err):
			return err
		default:
			r.refused(w, step, err)
		}
	}
	return nil
}

// settle turns an error of the API server into a result. Conflicts are nobody's fault: the newer state is on its way.
func (r *Reconciler) settle(err error) (ctrl.Result, error) {
	switch {
	case errors.Is(err, context.Canceled):
		return ctrl.Result{}, nil
	case settlesByItself(err):
		return ctrl.Result{RequeueAfter: lifecycle.UrgentSlotRetry}, nil
	}
	return ctrl.Result{}, err
}

// patchStatus writes what differs, if anything does, and the events that follow from it.
func (r *Reconciler) patchStatus(ctx context.Context, w *work, status v1alpha1.MCPConnectionStatus) error {
	before := w.Conn.DeepCopy()
	if n := lifecycle.EventOf(before.Status.Conditions, status.Conditions); n != nil {
		w.Notes = append(w.Notes, *n)
	}
	w.Notes = append(w.Notes, lifecycle.UnknownNotes(before.Status.UnknownAnnotations, status.UnknownAnnotations)...)
	if !equality.Semantic.DeepEqual(before.Status, status) {
		w.Conn.Status = status
		if err := r.Client.Status().Patch(ctx, w.Conn, client.MergeFrom(before)); err != nil {
			return client.IgnoreNotFound(err)
		}
		logChanges(ctx, client.ObjectKeyFromObject(w.Conn).String(), lifecycle.Changes(&before.Status, &status, w.Notes))
	}
	r.emit(w)
	return nil
}

func (r *Reconciler) emit(w *work) {
	for _, n := range w.Notes {
		kind := corev1.EventTypeNormal
		if n.Warning {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(w.Conn, nil, kind, n.Reason, "Reconcile", "%s", shortened(n.Message, maxNote))
	}
	w.Notes = nil
}

// maxNote is a little less than the API server takes, in bytes.
const maxNote = 1000

// shortened is a text of at most limit bytes: an event that is too long is refused as a whole.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
}

// since is when this process began to reconcile: not when it was started, for it may have waited long to lead.
func (r *Reconciler) since() time.Time {
	r.reconciled.Do(func() { r.firstReconcile = r.Clock.Now().Truncate(time.Second) })
	return r.firstReconcile
}

// Drain waits until every answer of a server is saved. It is called when the manager has returned, for whatever
// reason, and gives up after timeout.
func (r *Reconciler) Drain(timeout time.Duration) bool {
	select {
	case <-r.unsaved.none():
		return true
	case <-time.After(timeout):
		return false
	}
}

// wakeAt turns an instant into a result; the zero time wakes nobody.
func wakeAt(now, at time.Time) ctrl.Result {
	if at.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: at.Sub(now)}
}

// inTurn has the turn of a result come by what will be due at its time.
func inTurn(result ctrl.Result, now time.Time, urgencyAt func(time.Time) slots.Urgency) ctrl.Result {
	result.Priority = ptr.To(int(urgencyAt(now.Add(result.RequeueAfter))))
	return result
}

func logChanges(ctx context.Context, connection string, changes []lifecycle.Change) {
	logger := log.FromContext(ctx).WithValues("connection", connection)
	for _, c := range changes {
		logger.V(c.Verbosity).Info(c.What, c.Values...)
	}
}

// work is one reconcile of one connection: what is known of it, and the slots that are held for it.
type work struct {
	*lifecycle.State
	// pass holds the slots; nil outside of a reconcile.
	pass *slots.Pass
}

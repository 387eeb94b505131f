// Package controller reconciles MCPConnections: observe, decide, perform, report.
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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/slots"
)

// maxSteps bounds the effects of one reconcile; what is left goes on in the next.
const maxSteps = 16

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
	// ClusterIssuer issues the tokens of this cluster's ServiceAccounts; empty if that cannot be told, nil if nobody can be asked.
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
	o, err := r.observe(ctx, conn)
	if err != nil {
		return r.blind(ctx, conn, err)
	}
	o.pass = pass
	if err := r.advance(ctx, o); err != nil {
		return r.settle(err)
	}
	if o.conn == nil {
		return ctrl.Result{}, nil
	}
	now := r.Clock.Now()
	if err := r.patchStatus(ctx, o, report(now, o.observed)); err != nil {
		return r.settle(err)
	}
	return wakeAt(now, schedule(now, o.observed), func(at time.Time) slots.Urgency { return urgency(at, o.observed) }), nil
}

// later says, from caches alone, that nothing can be done now, and when to look again: nothing is due, or there is no slot for it.
func (r *Reconciler) later(conn *v1alpha1.MCPConnection, seen *cached, p *slots.Pass) (ctrl.Result, bool) {
	now := r.Clock.Now()
	wake, later := restsUntil(now, conn, seen.basis)
	if !later {
		wake, later = crowded(now, conn, seen, p)
	}
	return wakeAt(now, wake, func(at time.Time) slots.Urgency { return expectedUrgency(at, conn, &seen.held) }), later
}

// advance performs what is due. What the API server refuses is a failure of that step alone; an error says that a newer state
// is on its way, or that the process stops.
func (r *Reconciler) advance(ctx context.Context, o *work) error {
	for range maxSteps {
		s := decide(r.Clock.Now(), o.observed)
		if s == stepNone {
			return nil
		}
		before := o.failures.find(s).DeepCopy()
		began := r.Clock.Now()
		err := r.perform(ctx, s, o)
		if o.busy > 0 {
			o.waits = s
		}
		o.measureStep(s, before, err, r.Clock.Since(began))
		switch {
		case err == nil:
			o.failures.healed(s, before)
		case comesAndGoes(err):
			return err
		default:
			r.refused(o, s, err)
		}
	}
	return nil
}

// settle turns an error of the API server into a result. Conflicts are nobody's fault: the newer state is on its way.
func (r *Reconciler) settle(err error) (ctrl.Result, error) {
	switch {
	case errors.Is(err, context.Canceled):
		return ctrl.Result{}, nil
	case comesAndGoes(err):
		return ctrl.Result{RequeueAfter: busyRetry}, nil
	}
	return ctrl.Result{}, err
}

// patchStatus writes what differs, if anything does, and the events that follow from it.
func (r *Reconciler) patchStatus(ctx context.Context, o *work, status v1alpha1.MCPConnectionStatus) error {
	before := o.conn.DeepCopy()
	if n := eventOf(before.Status.Conditions, status.Conditions); n != nil {
		o.notes = append(o.notes, *n)
	}
	o.notes = append(o.notes, unknownNotes(before.Status.UnknownAnnotations, status.UnknownAnnotations)...)
	if !equality.Semantic.DeepEqual(before.Status, status) {
		o.conn.Status = status
		if err := r.Client.Status().Patch(ctx, o.conn, client.MergeFrom(before)); err != nil {
			return client.IgnoreNotFound(err)
		}
		logChanges(ctx, client.ObjectKeyFromObject(o.conn).String(), changes(&before.Status, &status, o.notes))
	}
	r.emit(o)
	return nil
}

func (r *Reconciler) emit(o *work) {
	for _, n := range o.notes {
		kind := corev1.EventTypeNormal
		if n.warning {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(o.conn, nil, kind, n.reason, "Reconcile", "%s", shortened(n.message, maxNote))
	}
	o.notes = nil
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

package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// stripsWithin is how long it is remembered that a finalizer was put back: removed again within it, it is put back
// later.
const stripsWithin = time.Hour

// addFinalizer comes before the first credential write, so that no deletion leaves a grant behind. It touches metadata
// only. Who strips it again and again is not fought without end: the rest goes on meanwhile.
func (r *Reconciler) addFinalizer(ctx context.Context, w *work) error {
	now := r.Clock.Now()
	if w.KeepsAnything() && !w.Failures.Has(lifecycle.StepAddFinalizer) {
		if times := r.strips.add(w.Conn.UID, now); times > 1 {
			r.noteStripped(ctx, w, times-1, now)
			return nil
		}
	}
	if err := r.patchFinalizers(ctx, w.Conn, append(slices.Clone(w.Conn.Finalizers), v1alpha1.Finalizer)); err != nil {
		return err
	}
	w.Failures.Clear(lifecycle.StepAddFinalizer)
	return nil
}

// noteStripped says who removes the finalizer again, and when it is put back.
func (r *Reconciler) noteStripped(ctx context.Context, w *work, times int32, now time.Time) {
	by := r.lastManager(ctx, w.Conn)
	if by == "" {
		by = "Something"
	}
	at := lifecycle.RetryTime(now, lifecycle.RetryDelay(w.Conn.UID, lifecycle.StepAddFinalizer, times, mcpoauth.Transient),
		0, time.Time{})
	message := fmt.Sprintf("%s removes the finalizer again, without which a deletion revokes nothing. It is put back at "+
		"%s. Have it leave metadata.finalizers alone: %s",
		by, lifecycle.TimeOf(at).UTC().Format(time.RFC3339), v1alpha1.Finalizer)
	w.RecordFailure(lifecycle.StepAddFinalizer, lifecycle.ReasonFinalizerRemoved, message, now,
		func(int32) time.Time { return at })
	w.Notes = append(w.Notes, lifecycle.Note{Warning: true, Reason: lifecycle.ReasonFinalizerRemoved, Message: message})
}

// lastManager is the field manager that wrote the object last, besides the one that writes its status, which is this
// operator; empty if nobody can be named. The cache holds no managed fields.
func (r *Reconciler) lastManager(ctx context.Context, cached *v1alpha1.MCPConnection) string {
	conn := &v1alpha1.MCPConnection{}
	if err := r.Secrets.Get(ctx, client.ObjectKeyFromObject(cached), conn); err != nil {
		log.FromContext(ctx).Info("Who removes the finalizer cannot be found out", "reason", err.Error())
		return ""
	}
	var ours []string
	for i := range conn.ManagedFields {
		if f := &conn.ManagedFields[i]; f.Subresource != "" {
			ours = append(ours, f.Manager)
		}
	}
	var last *metav1.ManagedFieldsEntry
	for i := range conn.ManagedFields {
		f := &conn.ManagedFields[i]
		if !slices.Contains(ours, f.Manager) && (last == nil || last.Time.Before(f.Time)) {
			last = f
		}
	}
	if last == nil {
		return ""
	}
	return last.Manager
}

// strips counts how often the finalizer of a connection was put back.
type strips struct {
	mu   sync.Mutex
	seen map[types.UID]strip
}

type strip struct {
	times int32
	at    time.Time
}

// add counts one more, unless the last one was long ago.
func (s *strips) add(uid types.UID, now time.Time) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[types.UID]strip{}
	}
	last := s.seen[uid]
	if now.Sub(last.at) >= stripsWithin || last.at.After(now) {
		last.times = 0
	}
	s.seen[uid] = strip{times: last.times + 1, at: now}
	return last.times + 1
}

func (s *strips) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, uid)
}

// finalizerStripped lets through the update that takes the finalizer off: it changes neither generation nor
// annotations.
func finalizerStripped() predicate.Predicate {
	has := func(o client.Object) bool { return slices.Contains(o.GetFinalizers(), v1alpha1.Finalizer) }
	return predicate.Funcs{
		CreateFunc:  never[event.CreateEvent],
		GenericFunc: never[event.GenericEvent],
		DeleteFunc:  never[event.DeleteEvent],
		UpdateFunc:  func(e event.UpdateEvent) bool { return has(e.ObjectOld) && !has(e.ObjectNew) },
	}
}

// notePolicy notes the deletion policy with the credential, which may outlive the connection.
func (r *Reconciler) notePolicy(ctx context.Context, w *work) error {
	return r.update(ctx, w, func(c *credential.Credential) error {
		c.Deletion.Policy = lifecycle.NotedPolicy(w.Spec())
		return nil
	})
}

package controller

import (
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

const (
	// contestWithin is the time in which putBacks edits of a token Secret are put back at once. Another one says that
	// somebody else keeps changing it.
	contestWithin = time.Minute
	putBacks      = 3
)

// edits counts how often this process put a token Secret back that others had edited.
type edits struct {
	mu   sync.Mutex
	seen map[types.UID][]time.Time
}

// add notes one more edit, and says how many there were within contestWithin.
func (e *edits) add(uid types.UID, now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = map[types.UID][]time.Time{}
	}
	recent := slices.DeleteFunc(e.seen[uid], func(at time.Time) bool {
		return now.Sub(at) >= contestWithin || at.After(now)
	})
	e.seen[uid] = append(recent, now)
	return len(e.seen[uid])
}

func (e *edits) forget(uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.seen, uid)
}

// putBackTooOften reports whether others keep changing what is published, so that putting it back at once leads
// nowhere. Neither a new token nor an edit of the spec counts.
func (r *Reconciler) putBackTooOften(w *work, desired *corev1.Secret) bool {
	if w.Secret == nil || lifecycle.SameSecret(w.Secret, desired) ||
		w.Conn.Status.ObservedGeneration != w.Conn.Generation || w.Failures.Has(lifecycle.StepPublish) ||
		w.SecretValue(v1alpha1.KeyAccessToken) != string(desired.Data[v1alpha1.KeyAccessToken]) {
		return false
	}
	return r.edits.add(w.Conn.UID, r.Clock.Now()) > putBacks
}

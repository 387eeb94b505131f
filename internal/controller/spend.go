package controller

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// savePatience is how long a save that failed may be paused with a worker and its slots held.
const savePatience = 500 * time.Millisecond

// errSaving is returned for a spend that goes on beside the reconciles: its answer cannot be saved yet. What the
// reconcile knew is that spend's own from then on.
var errSaving = errors.New("an answer is being saved beside the reconciles")

// spending is a spend under way.
type spending struct {
	// left is closed once the spend goes on without a reconcile.
	left chan struct{}
	// alone is set then; only the spend itself reads it.
	alone bool
	// ended receives what came of it otherwise.
	ended chan outcome
}

// outcome is how a spend ended.
type outcome struct {
	err      error
	panicked any
}

type spendingKey struct{}

// spend runs a claim, a request and a save on a context of their own: a lost lease or a stop ends none of them halfway.
// While the answer cannot be saved, no worker and no slot waits for that: it returns errSaving, and the spend goes on.
func (r *Reconciler) spend(ctx context.Context, w *work, f func(ctx context.Context) error) error {
	r.unsaved.begin()
	if err := ctx.Err(); err != nil {
		r.unsaved.end()
		return err // no new claim once the manager stops
	}
	s := &spending{left: make(chan struct{}), ended: make(chan outcome, 1)}
	go r.run(context.WithValue(context.WithoutCancel(ctx), spendingKey{}, s), w, s, f)
	select {
	case <-s.left:
		return errSaving
	case end := <-s.ended:
		if end.panicked != nil {
			panic(end.panicked) // controller-runtime counts and logs it
		}
		return end.err
	}
}

// run is a spend in a goroutine of its own.
func (r *Reconciler) run(ctx context.Context, w *work, s *spending, f func(ctx context.Context) error) {
	var end outcome
	defer func() {
		if p := recover(); p != nil {
			end.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
		if s.alone {
			r.endAlone(ctx, w, end)
		}
		r.unsaved.end()
		s.ended <- end
	}()
	end.err = f(ctx)
}

// unsaveable notes that an answer could not be saved, and has its spend go on alone if the next try takes a while.
func (r *Reconciler) unsaveable(ctx context.Context, w *work, err error, pause time.Duration) {
	s, is := ctx.Value(spendingKey{}).(*spending)
	if !is || (pause < savePatience && !s.alone) {
		return
	}
	r.saves.note(w.Conn.UID, err, r.Clock.Now(), pause)
	if !s.alone {
		s.alone, w.pass = true, nil // the reconcile gives its slots back
		close(s.left)
		return // whose reconcile looks again
	}
	r.slots.Wake(client.ObjectKeyFromObject(w.Conn))
}

// endAlone ends a spend that went on without a reconcile: the next one goes on from what was saved.
func (r *Reconciler) endAlone(ctx context.Context, w *work, end outcome) {
	r.saves.forget(w.Conn.UID)
	r.emit(w)
	if end.panicked != nil {
		end.err = fmt.Errorf("panic: %v", end.panicked)
	}
	if end.err != nil {
		log.FromContext(ctx).Error(end.err, "an answer was dropped")
	}
	r.slots.Wake(client.ObjectKeyFromObject(w.Conn))
}

// notSaved gives back what an answer brought if there is no place left to save it in: nobody will ever use or revoke
// it.
func (r *Reconciler) notSaved(ctx context.Context, w *work, b *credential.Binding, answer *mcpoauth.TokenResponse,
	err error) error {
	if apierrors.IsNotFound(err) {
		r.revokeReceived(ctx, w, b, answer)
	}
	return fmt.Errorf("saving an answer of the token endpoint: %w", err)
}

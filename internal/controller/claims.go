package controller

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/mcp-connection/operator/internal/credential"
)

// Time-outs of a spend, in the order in which they must lie: a request is handed to the socket within sendBy of the
// claim, or dropped; its answer comes within responseTimeout, or its outcome is unknown; a claim that did not change
// for all of that and a margin was left behind by a process that is gone.
const (
	sendBy          = 10 * time.Second
	responseTimeout = 30 * time.Second
	claimMargin     = 5 * time.Second
	takeoverAfter   = sendBy + responseTimeout + claimMargin
)

// SpendWithin is the longest that a claimed request may be under way: a stop waits for it.
const SpendWithin = sendBy + responseTimeout

// errClaimLost is returned when a claim is not ours any more: somebody else goes on.
var errClaimLost = errors.New("the claim is not ours any more")

// newClaim makes a claim of this process.
func (r *Reconciler) newClaim() *credential.Claim {
	return &credential.Claim{ID: rand.String(20), Holder: r.Holder}
}

// watch is how long the claim of another process must still be watched. Its own was left behind by a failure, and that of
// an earlier process of the same pod by one that is dead: a container starts after the one before it has ended.
func (r *Reconciler) watch(uid types.UID, claim *credential.Claim) time.Duration {
	if claim.Holder == r.Holder || (r.Pod != "" && strings.HasPrefix(claim.Holder, r.Pod+"/")) {
		return 0
	}
	return r.claims.wait(uid, claim.ID, r.Clock.Now())
}

// takeOver releases a claim on the refresh token whose process is gone. That one may have sent the token, so its outcome is
// unknown, and decide says whether it may be sent once more.
func (r *Reconciler) takeOver(ctx context.Context, o *observed) error {
	left := o.grant().Claim
	if wait := r.watch(o.conn.UID, left); wait > 0 {
		o.busy = min(wait, claimMargin)
		return nil
	}
	r.claims.forget(o.conn.UID)
	claimsTakenOver.Inc()
	return r.onGrant(ctx, o, r.Store.Update, func(g *credential.Grant) error {
		if claimID(g.Claim) != left.ID {
			return errClaimLost
		}
		g.Claim = nil
		g.UnknownOutcomes++
		return nil
	})
}

// claimWatch remembers since when this process has seen a claim of another unchanged. Timestamps in the claim would
// prove nothing: clocks differ.
type claimWatch struct {
	mu   sync.Mutex
	seen map[types.UID]watchedClaim
}

type watchedClaim struct {
	id    string
	since time.Time
}

// wait is how long a claim must still be watched before it may be taken over; 0 if it may be now.
func (w *claimWatch) wait(uid types.UID, id string, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[types.UID]watchedClaim{}
	}
	seen, ok := w.seen[uid]
	if !ok || seen.id != id {
		seen = watchedClaim{id: id, since: now}
		w.seen[uid] = seen
	}
	return max(0, takeoverAfter-now.Sub(seen.since))
}

// forget ends the watch of a connection's claim.
func (w *claimWatch) forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, uid)
}

// Package claims says which process may spend a refresh token or a code.
//
// Who spends one writes a claim into the credential Secret first, by an update that another process's update makes a
// conflict. A claim that stays was left behind by a process that is gone, or is held by one that is slow: nobody can
// tell the two apart but by waiting. So a claim is taken over only by a process that has watched it unchanged for
// longer than its holder may take.
package claims

import (
	"errors"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/mcp-connection/operator/internal/credential"
)

// Time-outs of a spend, in the order in which they must lie: a request is handed to the socket within SendBy of the
// claim, or dropped; its answer comes within ResponseTimeout, or its outcome is unknown; a claim that did not change
// for all of that and a margin was left behind by a process that is gone.
const (
	SendBy          = 10 * time.Second
	ResponseTimeout = 30 * time.Second
	Margin          = 5 * time.Second
	TakeoverAfter   = SendBy + ResponseTimeout + Margin
)

// SpendWithin is the longest that a claimed request may be under way: a stop waits for it.
const SpendWithin = SendBy + ResponseTimeout

// ErrLost is returned where a claim is not this process's any more: somebody else goes on.
var ErrLost = errors.New("the claim is not ours any more")

// Process makes the claims of one process, and remembers since when that process has seen claims of others unchanged.
// Timestamps in the claims would prove nothing: clocks differ.
type Process struct {
	// Holder names the process; it differs between any two processes.
	Holder string
	// Pod is the UID of the pod that the process runs in, with which Holder begins; empty outside of one.
	Pod string

	mu   sync.Mutex
	seen map[types.UID]watched
}

// watched is a claim of another process, and since when it is seen.
type watched struct {
	id    string
	since time.Time
}

// New makes a claim.
func (p *Process) New() *credential.Claim {
	return &credential.Claim{ID: rand.String(20), Holder: p.Holder}
}

// Wait is how long a claim on what a connection holds must still be watched before it may be taken over; 0 if it may be
// now. The process's own was left behind by a failure, and that of an earlier process of the same pod by one that is
// dead: a container starts after the one before it has ended.
func (p *Process) Wait(connection types.UID, claim *credential.Claim, now time.Time) time.Duration {
	if claim.Holder == p.Holder || (p.Pod != "" && strings.HasPrefix(claim.Holder, p.Pod+"/")) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[types.UID]watched{}
	}
	seen, ok := p.seen[connection]
	if !ok || seen.id != claim.ID {
		seen = watched{id: claim.ID, since: now}
		p.seen[connection] = seen
	}
	return max(0, TakeoverAfter-now.Sub(seen.since))
}

// Forget ends the watch of a connection's claim.
func (p *Process) Forget(connection types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, connection)
}

package controller

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// How long a deletion may take, and how long a server may make it wait.
const (
	// finalizeWithin bounds how long a deletion takes, from its first request on.
	finalizeWithin = 2 * time.Minute
	// hurriedTry is the time for the one try at a host that made hungDeletions others wait in vain within hungWithin.
	hurriedTry    = 3 * time.Second
	hungDeletions = 3
	hungWithin    = time.Minute
)

// ending is how far the end of a deleted connection has come in one look at it.
type ending struct {
	begunAt time.Time
	// first is set as long as no look before this one made requests.
	first bool
	// revokes is set unless deletionPolicy leaves everything at the servers as it is.
	revokes bool
	// clients is set if there are registrations to delete, which takes time too.
	clients bool
	// holds are what holds the deletion up.
	holds []hold
	// retryAfter is what a server asked for.
	retryAfter time.Duration
	// done are the tokens that need no more tries, tokens those that may heal.
	done, tokens []string
	// unregistered is set once registrations were deleted; registrations are those that may still be.
	unregistered  bool
	registrations []credential.Registration
	// notes are told now, and left when the object is let go.
	notes, left []lifecycle.Note
}

// hold is what holds a deletion up.
type hold struct{ reason, message string }

// until is when the deletion is given up.
func (e *ending) until() time.Time { return e.begunAt.Add(finalizeWithin) }

func (e *ending) over(now time.Time) bool { return !now.Before(e.until()) }

// tokensUntil is when tokens are given up: early enough for the registrations to have their time.
func (e *ending) tokensUntil() time.Time {
	if e.clients {
		return e.until().Add(-unregisterWithin)
	}
	return e.until()
}

func (e *ending) tokensGivenUp(now time.Time) bool { return !now.Before(e.tokensUntil()) }

// hold notes what holds the deletion up.
func (e *ending) hold(reason, what string, err error) {
	if failure := mcpoauth.AsError(err); failure != nil {
		e.retryAfter = max(e.retryAfter, failure.RetryAfter)
	}
	e.holds = append(e.holds, hold{reason, what + " (" + strings.TrimSuffix(err.Error(), ".") + ")."})
}

// cannotRead notes that the credential Secret cannot be read, or not be used.
func (e *ending) cannotRead(w *work) {
	if w.Unread != nil {
		e.hold(v1alpha1.ReasonSecretWriteFailing, "The API server does not let the credential Secret be read", w.Unread)
	}
	if err := errors.Join(w.Unread, w.Unusable); err != nil && e.revokes {
		e.left = append(e.left, lifecycle.NotRevoked(err))
	}
}

// refused notes a Secret that the API server does not delete. It is false for what is nobody's fault.
func (e *ending) refused(name string, err error) bool {
	if apierrors.IsConflict(err) || errors.Is(err, context.Canceled) {
		return false
	}
	e.hold(v1alpha1.ReasonSecretWriteFailing, "The API server does not delete the Secret "+name, err)
	e.left = append(e.left, lifecycle.Note{Warning: true, Reason: v1alpha1.ReasonSecretWriteFailing,
		Message: "The API server does not delete the Secret " + name + ", and the object goes all the same. The Secret " +
			"goes with the garbage collector, or after a day: " + err.Error()})
	return true
}

// text is all that holds the deletion up, each thing once.
func (e *ending) text() string {
	var texts []string
	for _, h := range e.holds {
		if len(texts) == 0 || texts[len(texts)-1] != h.message {
			texts = append(texts, h.message)
		}
	}
	return strings.Join(texts, " ")
}

// beginnings remembers when deletions began, in case that it cannot be noted elsewhere.
type beginnings struct {
	mu   sync.Mutex
	seen map[types.UID]time.Time
}

// at is when the deletion of a connection began; zero if it did not.
func (b *beginnings) at(uid types.UID) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[uid]
}

func (b *beginnings) note(uid types.UID, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[types.UID]time.Time{}
	}
	b.seen[uid] = at
}

func (b *beginnings) forget(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.seen, uid)
}

// hungHosts remembers which deletions a host made wait in vain.
type hungHosts struct {
	mu   sync.Mutex
	seen map[string]map[types.UID]time.Time
}

// note adds a deletion that a host made wait in vain, and forgets those of long ago.
func (h *hungHosts) note(host string, uid types.UID, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for known, deletions := range h.seen {
		for other, at := range deletions {
			if now.Sub(at) >= hungWithin || at.After(now) {
				delete(deletions, other)
			}
		}
		if len(deletions) == 0 {
			delete(h.seen, known)
		}
	}
	if h.seen == nil {
		h.seen = map[string]map[types.UID]time.Time{}
	}
	if h.seen[host] == nil {
		h.seen[host] = map[types.UID]time.Time{}
	}
	h.seen[host][uid] = now
}

// impatient reports whether a host made enough other deletions wait in vain that this one gets a short try only.
func (h *hungHosts) impatient(host string, uid types.UID, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for other, at := range h.seen[host] {
		if other != uid && now.Sub(at) < hungWithin && !at.After(now) {
			n++
		}
	}
	return n >= hungDeletions
}

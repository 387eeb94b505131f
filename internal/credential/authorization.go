package credential

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Lifetimes and bounds of a consent.
const (
	// TicketLifetime is how long a link may be opened.
	TicketLifetime = 24 * time.Hour
	// RequestLifetime is how long a person may take at the authorization server.
	RequestLifetime = 10 * time.Minute
	// MaxRequests is how many requests one ticket may have under way; the oldest goes.
	MaxRequests = 5
	maxRetired  = 8
)

// Errors of a consent, in the order in which the pages look for them.
var (
	// ErrUnknownTicket: no such ticket was ever issued, or too long ago to remember.
	ErrUnknownTicket = errors.New("unknown ticket")
	// ErrTicketGone: the ticket expired, was replaced, or its consent was given.
	ErrTicketGone = errors.New("ticket expired or replaced")
	// ErrUnknownState: the state is unknown, expired, or ended by another response.
	ErrUnknownState = errors.New("unknown or expired state")
	// ErrOtherBrowser: the response comes from another browser than the request.
	ErrOtherBrowser = errors.New("another browser")
)

// NewTicket makes a ticket or state for a connection: its UID in hex and 256 random bits, so that every replica finds
// the credential Secret without a search.
func NewTicket(uid types.UID) string {
	return mcpoauth.NewState(strings.ReplaceAll(string(uid), "-", ""))
}

// TicketUID reads the connection's UID from a ticket or state; false if it has not the form of one.
func TicketUID(ticket string) (types.UID, bool) {
	prefix, ok := mcpoauth.StatePrefix(ticket)
	if !ok || len(prefix) != 32 {
		return "", false
	}
	if _, err := hex.DecodeString(prefix); err != nil || strings.ToLower(prefix) != prefix {
		return "", false
	}
	return types.UID(strings.Join([]string{prefix[:8], prefix[8:12], prefix[12:16], prefix[16:20], prefix[20:]}, "-")),
		true
}

// Hash is the SHA-256 of a value in hex, for values that need only be recognized.
func Hash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// equal compares secrets in constant time.
func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// OpenOffer finds the offer of a ticket that may still be used. It returns ErrTicketGone or ErrUnknownTicket.
func (a *Authorization) OpenOffer(ticket string, now time.Time) (*Offer, error) {
	if a.Offer != nil && equal(a.Offer.Ticket, ticket) {
		if !now.Before(a.Offer.ExpiresAt) {
			return nil, ErrTicketGone
		}
		return a.Offer, nil
	}
	if slices.Contains(a.Retired, Hash(ticket)) {
		return nil, ErrTicketGone
	}
	return nil, ErrUnknownTicket
}

// AddRequest adds a request for an open offer, which notes that, dropping expired ones and the oldest beyond
// MaxRequests.
func (a *Authorization) AddRequest(r Request, now time.Time) {
	kept := slices.DeleteFunc(slices.Clone(a.Requests), func(old Request) bool { return !now.Before(old.ExpiresAt) })
	if len(kept) >= MaxRequests {
		kept = kept[len(kept)-MaxRequests+1:]
	}
	a.Requests = append(kept, r)
	if a.Offer != nil && equal(a.Offer.Ticket, r.Ticket) {
		a.Offer.Opened = true
	}
}

// PendingRequest finds the request of a state for the browser that began it. It returns ErrUnknownState or
// ErrOtherBrowser.
func (a *Authorization) PendingRequest(state, browserHash string, now time.Time) (*Request, error) {
	for i := range a.Requests {
		r := &a.Requests[i]
		if !equal(r.State, state) {
			continue
		}
		if !now.Before(r.ExpiresAt) {
			return nil, ErrUnknownState
		}
		if !equal(r.BrowserHash, browserHash) {
			return nil, ErrOtherBrowser
		}
		return r, nil
	}
	return nil, ErrUnknownState
}

// Recorded finds the ticket of a state whose response was already recorded for this browser: a repeated callback.
// It returns ErrUnknownState or ErrOtherBrowser.
func (a *Authorization) Recorded(state, browserHash string) (string, error) {
	var recorded, ticket, hash string
	switch {
	case a.Response != nil && equal(a.Response.Request.State, state):
		recorded, ticket, hash = state, a.Response.Request.Ticket, a.Response.Request.BrowserHash
	case a.Outcome != nil && equal(a.Outcome.State, state):
		recorded, ticket, hash = state, a.Outcome.Ticket, a.Outcome.BrowserHash
	}
	if recorded == "" {
		return "", ErrUnknownState
	}
	if !equal(hash, browserHash) {
		return "", ErrOtherBrowser
	}
	return ticket, nil
}

// Record stores the response to a request. The state is used up. A code ends the other requests; a refusal leaves
// them, for another tab may still succeed. While an earlier code is on the wire nothing is recorded: its answer must
// find its place.
func (a *Authorization) Record(r Response) {
	if a.Response != nil && a.Response.Claim != nil {
		return
	}
	a.Requests = slices.DeleteFunc(slices.Clone(a.Requests), func(old Request) bool {
		return r.Code != "" || old.State == r.Request.State
	})
	if len(a.Requests) == 0 {
		a.Requests = nil
	}
	a.Response, a.Outcome = &r, nil
	a.Revision++
}

// Finish replaces the response by its outcome: the code is forgotten. After success the offer ends.
func (a *Authorization) Finish(reason, message string, now time.Time) {
	r := a.Response
	a.Handled = a.Revision
	a.Response = nil
	if r == nil {
		return
	}
	a.Outcome = &Outcome{
		State: r.Request.State, Ticket: r.Request.Ticket, BrowserHash: r.Request.BrowserHash,
		Succeeded: reason == "", Reason: reason, Message: message, At: now,
	}
	if a.Outcome.Succeeded {
		a.Withdraw()
	}
}

// Withdraw ends the open offer and all requests under way.
func (a *Authorization) Withdraw() {
	a.Requests = nil
	if a.Offer != nil {
		a.retire(a.Offer.Ticket)
		a.Offer = nil
	}
}

// Replace puts a new offer in place of the open one. Requests under way for the same binding go on; others end.
func (a *Authorization) Replace(o Offer) {
	same := a.Offer != nil && a.Offer.Binding.ServerURL == o.Binding.ServerURL &&
		a.Offer.Binding.Issuer == o.Binding.Issuer &&
		a.Offer.Binding.Client.ClientID == o.Binding.Client.ClientID
	requests := a.Requests
	a.Withdraw()
	if same {
		a.Requests = requests
	}
	a.Offer = &o
}

func (a *Authorization) retire(ticket string) {
	a.Retired = append([]string{Hash(ticket)}, a.Retired...)
	if len(a.Retired) > maxRetired {
		a.Retired = a.Retired[:maxRetired]
	}
}

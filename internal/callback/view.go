package callback

import (
	"crypto/subtle"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

// view is what a browser may see of a ticket.
type view struct {
	// state of the ticket for this browser.
	state viewState
	// offer is the open offer; nil if the link cannot be used any more.
	offer *credential.Offer
	// outcome of this browser's response, if state is viewSucceeded or viewFailed.
	outcome *credential.Outcome
	// revision to wait for, if state is viewPending.
	revision int64
}

type viewState int

const (
	// viewOpen: the start page.
	viewOpen viewState = iota
	// viewPending: this browser's response waits for the reconciler.
	viewPending
	// viewSucceeded and viewFailed: the outcome of this browser's response.
	viewSucceeded
	viewFailed
)

// look decides what one browser sees of a ticket. Other browsers' responses and outcomes are none of its business.
// It returns credential.ErrUnknownTicket or ErrTicketGone where there is nothing to see.
func look(a *credential.Authorization, ticket, browserHash string, now time.Time) (view, error) {
	offer, err := a.OpenOffer(ticket, now)
	if r := a.Response; r != nil && mine(r.Request.Ticket, r.Request.BrowserHash, ticket, browserHash) {
		return view{state: viewPending, revision: a.Revision}, nil
	}
	if o := a.Outcome; o != nil && mine(o.Ticket, o.BrowserHash, ticket, browserHash) {
		if o.Succeeded {
			return view{state: viewSucceeded, outcome: o}, nil
		}
		return view{state: viewFailed, outcome: o, offer: offer}, nil
	}
	return view{offer: offer}, err
}

// mine compares in constant time: both values are secrets.
func mine(ticket, browserHash, wantTicket, wantHash string) bool {
	return wantHash != "" &&
		subtle.ConstantTimeCompare([]byte(ticket), []byte(wantTicket)) == 1 &&
		subtle.ConstantTimeCompare([]byte(browserHash), []byte(wantHash)) == 1
}

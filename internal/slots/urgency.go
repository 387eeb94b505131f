package slots

import "time"

// Urgency orders work: what has more comes first, in the work queue and, within a namespace, in the lines for slots. It names an instant, never
// how long is left, so that it stays right while it waits.
type Urgency int

// The urgencies, the least first.
const (
	// Ordinary is all work but the exchange of a code and a refresh that is due. Requeued work that failed is ordinary too.
	Ordinary Urgency = 0
	// Called is ordinary work that waited for something else than a slot, and need not wait any longer.
	Called Urgency = 1
	// FailedRefresh and DueRefresh, less the deadline in seconds, are of refreshes that are due. One that failed already comes after all others.
	FailedRefresh Urgency = 1 << 48
	DueRefresh    Urgency = 1 << 49
	// DueExchange is of a code: a person has consented, and it is good for minutes.
	DueExchange Urgency = 1 << 50
	// Served is of who was woken because slots were taken for it: until it is back they lie idle.
	Served Urgency = 1 << 51
)

// Reserved reports whether slots that are kept free for it serve this work.
func (u Urgency) Reserved() bool { return u > Called }

// ByDeadline is the urgency of a refresh that is due: before the token's expiry, or its planned time if nobody knows that.
func ByDeadline(refreshAt, expiresAt time.Time, failed bool) Urgency {
	deadline := expiresAt
	if deadline.IsZero() {
		deadline = refreshAt
	}
	if failed {
		return FailedRefresh - Urgency(deadline.Unix())
	}
	return DueRefresh - Urgency(deadline.Unix())
}

package slots

import "time"

// Urgency orders work: what has more comes first, in the work queue (as its priority) and, within a namespace, in the
// queues for slots. It names an instant, never how long is left, so that it stays right while it waits.
type Urgency int

// The urgencies, the least first.
const (
	// Ordinary is all work but the exchange of a code and a refresh that is due. Requeued work that failed is ordinary
	// too.
	Ordinary Urgency = 0
	// Woken is ordinary work that waited for something else than a slot, and need not wait any longer.
	Woken Urgency = 1
	// FailedRefresh, less the deadline in seconds, is of a refresh that is due and has failed before: it comes after
	// those that have not.
	FailedRefresh Urgency = 1 << 48
	// DueRefresh, less the deadline in seconds, is of a refresh that is due.
	DueRefresh Urgency = 1 << 49
	// DueExchange is of a code: a person has consented, and it is good for minutes.
	DueExchange Urgency = 1 << 50
	// Granted is of who was woken because slots were taken for it: until its next pass they lie idle.
	Granted Urgency = 1 << 51
)

// Reserved reports whether slots that are reserved serve this work.
func (u Urgency) Reserved() bool { return u > Woken }

// RefreshUrgency is that of a refresh that is due, by its deadline. failed reports whether it was tried before in vain.
func RefreshUrgency(deadline time.Time, failed bool) Urgency {
	if failed {
		return FailedRefresh - Urgency(deadline.Unix())
	}
	return DueRefresh - Urgency(deadline.Unix())
}

package lifecycle

import (
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// refusedTries is how often what the API server refused is tried within a minute each.
	refusedTries = 10
	// RefusedRecheck is between tries after that.
	RefusedRecheck = 5 * time.Minute
	maxRefusedWait = time.Minute
)

// RefusedRetry is when a step is tried again that the API server refused: whoever can mend that is at it, or is not
// there.
func RefusedRetry(now time.Time, uid types.UID, step Step, attempts int32) time.Time {
	delay := RefusedRecheck
	if attempts <= refusedTries {
		delay = min(maxRefusedWait, FirstRetry<<max(0, attempts-1))
	}
	return now.Add(delay - time.Duration(float64(delay)*0.1*fraction(uid, string(step))))
}

// Intervals of the schedule.
const (
	// minRefreshInterval is the least time between two refreshes.
	minRefreshInterval = 5 * time.Second
	// unknownLifetimeRefresh is how often a token of unknown lifetime is refreshed.
	unknownLifetimeRefresh = time.Hour
	// FirstRetry and maxRetry bound the back-off of what may heal.
	FirstRetry = 2 * time.Second
	maxRetry   = 5 * time.Minute
	// FirstRecheck and maxRecheck bound the back-off of what probably wants a new spec.
	FirstRecheck = time.Minute
	maxRecheck   = time.Hour
	// missingRetry is how often a missing referenced Secret is looked for.
	missingRetry = 30 * time.Second
	// UrgentSlotRetry is how long urgent work waits for a free slot, if nobody wakes it.
	UrgentSlotRetry = time.Second
	// OrdinarySlotRetry is the same for other work.
	OrdinarySlotRetry = 30 * time.Second
	// longAgo is a number of attempts after which the back-off does not grow any more.
	longAgo = 20
	// ClockSlack is how far the clock of another replica may be ahead.
	ClockSlack = time.Minute
)

// fraction is a number in [0, 1) that stays the same for a connection and a salt: jitter that survives restarts.
func fraction(uid types.UID, salt string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(uid)) // a hash never fails to write
	_, _ = h.Write([]byte(salt))
	return float64(h.Sum64()%10_000) / 10_000
}

// refreshTime chooses when a token is refreshed: at two thirds of its lifetime less at most a tenth of that, or before
// its expiry by before (at most half the lifetime). It is in whole seconds, so that it compares equal after storage.
func refreshTime(uid types.UID, issuedAt, expiresAt time.Time, before time.Duration) time.Time {
	if expiresAt.IsZero() {
		return issuedAt.Add(unknownLifetimeRefresh).Truncate(time.Second)
	}
	lifetime := expiresAt.Sub(issuedAt)
	at := expiresAt.Add(-min(before, lifetime/2))
	if before <= 0 {
		lead := lifetime * 2 / 3
		at = issuedAt.Add(lead - time.Duration(float64(lead)*0.1*fraction(uid, "refresh")))
	}
	at = at.Truncate(time.Second)
	if earliest := issuedAt.Add(minRefreshInterval); RefreshMoment(uid, at).Before(earliest) {
		at = earliest.Add(2*time.Second - 1).Truncate(time.Second) // the moment is up to a second before it
	}
	return at
}

// RefreshMoment is when exactly a refresh is due whose time is kept in whole seconds: within the second before it, so
// that those of the same second do not come all at once. Status shows the whole second, and so tells the moment too.
func RefreshMoment(uid types.UID, refreshAt time.Time) time.Time {
	return refreshAt.Add(-time.Duration(fraction(uid, "moment") * float64(time.Second)))
}

// SetBack reports whether the clock was set back since it showed an instant. What was planned by it then lies too far
// ahead.
func SetBack(now, shown time.Time) bool { return shown.Sub(now) > ClockSlack }

// certainExpiry is when a token has expired for certain: after a whole lifetime from now, if the clock was set back.
func certainExpiry(g *credential.Grant, now time.Time) time.Time {
	if SetBack(now, g.IssuedAt) {
		return now.Add(g.ExpiresAt.Sub(g.IssuedAt))
	}
	return g.ExpiresAt
}

// linkTime is when consent is offered for a grant that cannot be refreshed: at two thirds of the token's life. It is
// zero for a token without expiry.
func linkTime(g *credential.Grant) time.Time {
	if g.RefreshToken != "" || g.GrantType != "" || g.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return g.IssuedAt.Add(g.ExpiresAt.Sub(g.IssuedAt) * 2 / 3).Truncate(time.Second)
}

// RetryDelay is the back-off after attempts failures in a row: exponential, jittered by a tenth.
func RetryDelay(uid types.UID, step Step, attempts int32, kind mcpoauth.Kind) time.Duration {
	first, limit := FirstRetry, maxRetry
	if kind != mcpoauth.Transient {
		first, limit = FirstRecheck, maxRecheck
	}
	delay := limit
	if attempts < longAgo {
		delay = min(limit, first<<max(0, attempts-1))
	}
	return delay - time.Duration(float64(delay)*0.1*fraction(uid, string(step)))
}

// RetryTime is when a step that failed is tried again. A server's Retry-After is honoured; while a token is still
// valid neither it nor the back-off may eat more than a quarter of what is left.
func RetryTime(now time.Time, delay, retryAfter time.Duration, expiresAt time.Time) time.Time {
	wait := max(delay, retryAfter)
	if left := expiresAt.Sub(now); !expiresAt.IsZero() && left > 0 {
		wait = min(wait, max(left/4, time.Second))
	}
	return now.Add(wait)
}

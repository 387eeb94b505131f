package callback

import (
	"hash/maphash"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// Limits of what one client address and one connection may ask for, per second and at once. A person makes a handful of
// requests; a page that waits for its outcome makes one in twelve seconds.
const (
	addressRate, addressBurst = 5, 60
	// A connection may be asked for more than one address may ask, so that no single stranger can keep others away.
	connectionRate, connectionBurst = 20, 100
	// A reader of documents is counted apart from visitors of pages: documents cost little, and those who flood pages from
	// behind the same address must not keep authorization servers from knowing their client.
	readerRate, readerBurst = 20, 200
	// What the cache does not know is asked of the API server so often, in the whole process: a fresh link, rarely, or
	// what strangers make up.
	unknownRate, unknownBurst = 10, 50
	// limitBuckets of 80 bytes are what a table of limits costs, whatever strangers do.
	limitBuckets = 4096
)

// limits counts requests by key in a table that never grows and needs no clean-up. Keys that fall together share a
// bucket; the seed keeps anybody from choosing with whom.
type limits struct {
	seed    maphash.Seed
	buckets []*rate.Limiter
}

func newLimits(perSecond rate.Limit, burst int) *limits {
	l := &limits{seed: maphash.MakeSeed(), buckets: make([]*rate.Limiter, limitBuckets)}
	for i := range l.buckets {
		l.buckets[i] = rate.NewLimiter(perSecond, burst)
	}
	return l
}

// take counts one request. It returns tooMany if that is more than the key may make now.
func (l *limits) take(key string, now time.Time) error { return take(l.bucket(key), now) }

func take(from *rate.Limiter, now time.Time) error {
	r := from.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	r.CancelAt(now)
	return tooMany{wait}
}

func (l *limits) bucket(key string) *rate.Limiter {
	return l.buckets[maphash.String(l.seed, key)%limitBuckets]
}

// tooMany says when the next request may be made.
type tooMany struct{ wait time.Duration }

func (tooMany) Error() string { return "too many requests" }

// seconds is the value of Retry-After.
func (e tooMany) seconds() int { return int((e.wait + time.Second - 1) / time.Second) }

// addressKey is what counts as one client: an IPv4 address, or the IPv6 network that one customer is given.
func addressKey(addr netip.Addr) string {
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

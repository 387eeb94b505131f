package slots

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Pass is one reconcile, and the slots that it holds.
type Pass struct {
	slots *Slots
	conn  types.NamespacedName
	// held says of each resource whether it is held for ordinary work. It begins with what was granted.
	held map[resource]bool
	// place is the one in the queues that the connection had before, and unmet is what it did not get; nil if there is
	// none.
	place, unmet *waiter
	// asked are hosts that a chain of requests has come to.
	asked map[string]bool
	// unqueued is set for a pass that waits in no queue.
	unqueued bool
}

// Granted reports whether this reconcile was woken for a request for which all slots were taken.
func (p *Pass) Granted() bool { return len(p.held) > 1 }

// Enter takes a worker. It is false if ordinary work holds all that it may: then the connection waits once the pass is
// released.
func (p *Pass) Enter(u Urgency) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(need{namespace: p.conn.Namespace}, u, u.Reserved())
}

// Take takes a slot of the namespace and one of the URL's host, unless this pass has them. It is false if one is full:
// then the connection waits once the pass is released.
func (p *Pass) Take(rawURL string, u Urgency, now time.Time) bool {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.takeAll(need{namespace: p.conn.Namespace, host: host}, u, u.Reserved() && !s.hangs(host, now))
}

// TakeProbe is Take for a probe, which is never ahead of other work.
func (p *Pass) TakeProbe(rawURL string) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	n := need{namespace: p.conn.Namespace, host: mcpoauth.Host(rawURL), probe: true}
	return p.takeAll(n, Ordinary, false)
}

// MoveTo notes that a chain of requests comes to its next host. It gives back the slots of hosts that have been asked,
// but for that one. Those of a host that is still to be asked stay, or whoever has waited for it would wait again
// without end; but they wait for no host that hangs.
func (p *Pass) MoveTo(rawURL string, now time.Time) {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moveSpend(p, hostWait{host, now}, now)
	hangs, freed := s.hangs(host, now), false
	for k := range p.held {
		if k.host != "" && k.host != host && k != probing && (hangs || p.asked[k.host]) {
			freed = p.giveBack(k) || freed
		}
	}
	if p.asked == nil {
		p.asked = map[string]bool{}
	}
	p.asked[host] = true
	if freed {
		s.grantWaiting()
	}
}

// Release gives all slots back, puts the connection into a queue if it did not get what it wanted last, and wakes whose
// turn has come. A second call does nothing.
func (p *Pass) Release() {
	s, freed := p.slots, false
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range p.held {
		freed = p.giveBack(k) || freed
	}
	delete(s.spending, p)
	w := p.unmet
	if w != nil && s.wake != nil {
		s.waiting.enqueue(w, p.place)
		freed = freed || s.fits(w.need.resources(), w.reserved)
	}
	p.place, p.unmet = nil, nil
	if freed { // else nobody who waits fits in, as before
		s.grantWaiting()
	}
}

// takeAll takes all or none. What is held for urgent work counts as held for ordinary work from the first such request
// on.
func (p *Pass) takeAll(n need, u Urgency, reserved bool) bool {
	all := n.resources()
	for _, k := range all {
		if !p.has(k, reserved) && !p.slots.room(k, reserved, p.holds(k)) {
			if n.others = p.otherHosts(n.host); !p.unqueued {
				p.unmet = &waiter{conn: p.conn, need: n, urgency: u, reserved: reserved}
			}
			return false
		}
	}
	for _, k := range all {
		p.hold(k, reserved)
	}
	p.unmet = nil
	return true
}

// otherHosts are those whose slots are held, as a need has them.
func (p *Pass) otherHosts(host string) string {
	var hosts []string
	for k := range p.held {
		if k.namespace != "" && k.host != "" && k.host != host {
			hosts = append(hosts, k.host)
		}
	}
	slices.Sort(hosts)
	return strings.Join(hosts, " ")
}

func (p *Pass) holds(k resource) bool {
	_, is := p.held[k]
	return is
}

func (p *Pass) has(k resource, reserved bool) bool { return p.holds(k) && (reserved || p.held[k]) }

func (p *Pass) hold(k resource, reserved bool) {
	if p.has(k, reserved) {
		return
	}
	if p.slots.used == nil {
		p.slots.used = map[resource]usage{}
	}
	if p.held == nil {
		p.held = map[resource]bool{}
	}
	u := p.slots.used[k]
	if !p.holds(k) {
		u.all++
	}
	if !reserved {
		u.ordinary++
	}
	p.slots.used[k], p.held[k] = u, !reserved
}

// giveBack gives one slot back, and reports whether somebody may have waited for it.
func (p *Pass) giveBack(k resource) bool {
	u, limit := p.slots.used[k], p.slots.limit(k)
	full := limit > 0 && (u.all >= limit || u.ordinary >= ordinaryLimit(limit))
	u.all--
	if p.held[k] {
		u.ordinary--
	}
	if p.slots.used[k] = u; u.all == 0 {
		delete(p.slots.used, k)
	}
	delete(p.held, k)
	return full
}

// Package slots decides who may ask whom when, so that a slow host, or a namespace with thousands of connections, holds up nobody else
// (docs/decisions/0019). A request to a stranger takes a slot of its host, one of its namespace and one of the host within the
// namespace; a reconcile that has something to ask takes a worker. The flow of one reconcile:
//
//	p := s.Pass(conn)      it begins, and holds what was granted to it while it waited
//	p.Enter(u)             takes a worker
//	p.Take(url, u, now)    takes the slots that a request to url needs, all of them or none
//	p.MoveOn(url, now)     a chain of requests comes to its next host
//	p.Release()            it ends, and gives everything back
//
// Where Enter or Take is false the reconcile is to end: no worker waits for a slot. Release then puts the connection into a queue, and
// once all that it needs is free, that is granted to it and it is woken. Who comes first:
//
//   - Namespaces that wait are served in turn. Within one the most urgent is first (Urgency), then who came first.
//   - A quarter of everything is reserved for exchanges of codes and refreshes that are due.
//   - What is granted is nobody else's until the connection's next pass. Nobody keeps one thing while it waits for another, but for one
//     connection at a time: the first that too many others were served before.
//   - A host that lets token requests hang loses the reserved quarter for a while (Spend, Sends, Answered).
//
// The package knows names, hosts and instants: it reads no clock, asks nobody, and wakes by the function that it is given (WakeBy).
package slots

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// maxSlots is how many reconciles may be asking one host, or asking for one namespace: a slow one starves no other.
	// Eight keep an API server on a few cores busy.
	maxSlots = 8
	// maxProbes is how many answers of MCP servers are decoded at once, whatever they hold: what that may cost in memory is this many
	// times the cost of one.
	maxProbes = 2
	// maxHostSlots is how many of a namespace's slots one host may hold.
	maxHostSlots = 6
)

// resource is what is shared out: a namespace, a host, a host within a namespace, or the workers (the zero value).
type resource struct{ namespace, host string }

// probing stands for the right to probe. No host has such a name.
var probing = resource{host: " probes"}

// Slots share out workers, hosts and namespaces. A quarter of each serves only exchanges of codes and refreshes that are
// due: other work never holds more than three quarters. No worker waits for a full one: the connection is set aside, and
// woken once all that it wants has been taken for it.
type Slots struct {
	// Workers is how many there are; 0: they are not counted.
	Workers int

	mu   sync.Mutex
	used map[resource]share
	// granted is what was taken for connections that were woken and have not been back yet, as pass.held has it.
	granted map[types.NamespacedName]map[resource]bool
	waiting lines
	// favoured is whoever others were served before too often, and kept is what was taken for it so far.
	favoured *waiter
	kept     map[resource]bool
	// wake has a connection reconciled now; nil if nobody can be woken.
	wake func(types.NamespacedName, Urgency)
	// spending is which host each pass spends at, and slow are hosts that let a spend hang, until when that counts.
	spending map[*Pass]spendAt
	slow     map[string]time.Time
}

// share is how many hold a resource, and how many of them for ordinary work.
type share struct{ all, ordinary int }

// Pass holds the slots of one reconcile.
type Pass struct {
	slots *Slots
	conn  types.NamespacedName
	// held says of each resource whether it is held for ordinary work. It begins with what was granted.
	held map[resource]bool
	// came is the place in line that the connection had before, and waits is what it did not get; nil if there is none.
	came, waits *waiter
	// asked are hosts that a chain of requests has come to.
	asked map[string]bool
	// quiet is set for a reconcile that nobody can wake.
	quiet bool
}

// WakeBy says how connections are woken.
func (s *Slots) WakeBy(wake func(types.NamespacedName, Urgency)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

// CountBy says what counts the connections that wait. It is called before the first pass.
func (s *Slots) CountBy(gauge Gauge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.gauge = gauge
}

// Rouse has a connection reconciled now that waits for something else than a slot.
func (s *Slots) Rouse(conn types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake(conn, Called)
	}
}

// Pass begins a reconcile of a connection, which waits no longer until the reconcile ends.
func (s *Slots) Pass(conn types.NamespacedName) *Pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.granted[conn]
	delete(s.granted, conn)
	came := s.waiting.leave(conn)
	if s.favoured != nil && s.favoured.conn == conn {
		held, came = s.kept, s.favoured
		s.favoured, s.kept = nil, nil
	}
	return &Pass{slots: s, conn: conn, held: held, came: came}
}

// QuietPass is for what is no reconcile: nobody wakes it, and nothing was granted to it.
func (s *Slots) QuietPass(conn types.NamespacedName) *Pass {
	return &Pass{slots: s, conn: conn, quiet: true}
}

// Called reports whether this reconcile was woken for a request for which all slots were taken.
func (p *Pass) Called() bool { return len(p.held) > 1 }

// Enter counts a reconcile among the workers. It is false if ordinary work holds all that it may: then the connection will
// be woken.
func (p *Pass) Enter(u Urgency) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace}, u, u.Reserved())
}

// Take gets a slot of the namespace and one of the URL's host, unless this reconcile has them. It is false if one is
// full: then the connection will be woken.
func (p *Pass) Take(rawURL string, u Urgency, now time.Time) bool {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace, host: host}, u, u.Reserved() && !s.hangs(host, now))
}

// TakeProbe is take for a probe, which is never ahead of other work.
func (p *Pass) TakeProbe(rawURL string) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace, host: mcpoauth.Host(rawURL), probe: true}, Ordinary, false)
}

// takeAll takes all or none. What is held for urgent work counts as held for ordinary work from the first such request on.
func (p *Pass) takeAll(w wish, u Urgency, reserved bool) bool {
	all := w.resources()
	for _, k := range all {
		if !p.has(k, reserved) && !p.slots.room(k, reserved, p.holds(k)) {
			if w.others = p.otherHosts(w.host); !p.quiet {
				p.waits = &waiter{conn: p.conn, wish: w, urgency: u, reserved: reserved}
			}
			return false
		}
	}
	for _, k := range all {
		p.hold(k, reserved)
	}
	p.waits = nil
	return true
}

// otherHosts are those whose slots are held, as a wish has them.
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
		p.slots.used = map[resource]share{}
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

// room reports whether one more fits in; a holder only moves from urgent to ordinary work.
func (s *Slots) room(k resource, reserved, holder bool) bool {
	limit := s.limit(k)
	if limit == 0 {
		return true
	}
	u := s.used[k]
	if k == probing { // no part of it is kept free
		return holder || u.all < limit
	}
	return (holder || u.all < limit) && (reserved || u.ordinary < ordinaryShare(limit))
}

// ordinaryShare is three quarters, and never nothing.
func ordinaryShare(limit int) int { return max(1, limit*3/4) }

func (s *Slots) limit(k resource) int {
	switch {
	case k == resource{}:
		return s.Workers
	case k == probing:
		return maxProbes
	case k.namespace != "" && k.host != "":
		return maxHostSlots
	}
	return maxSlots
}

// MoveOn gives back the slots of hosts that have been asked, but for the one that is asked next. Those of a host that is still to be
// asked stay, or whoever has stood in line for it would stand there again without end; but they wait for no host that hangs.
func (p *Pass) MoveOn(rawURL string, now time.Time) {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spendsAt(p, spendAt{host, now}, now)
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
		s.handOut()
	}
}

// giveBack gives one slot back, and reports whether somebody may have waited for it.
func (p *Pass) giveBack(k resource) bool {
	u, limit := p.slots.used[k], p.slots.limit(k)
	full := limit > 0 && (u.all >= limit || u.ordinary >= ordinaryShare(limit))
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

// Release gives all slots back, stands the connection in line if it did not get what it wanted last, and wakes whose turn has come.
func (p *Pass) Release() {
	s, freed := p.slots, false
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range p.held {
		freed = p.giveBack(k) || freed
	}
	delete(s.spending, p)
	w := p.waits
	if w != nil && s.wake != nil {
		s.waiting.join(w, p.came)
		freed = freed || s.fits(w.wish.resources(), w.reserved)
	}
	p.came, p.waits = nil, nil
	if freed { // else nobody who waits fits in, as before
		s.handOut()
	}
}

package controller

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

// slots share out workers, hosts and namespaces. A quarter of each serves only exchanges of codes and refreshes that are
// due: other work never holds more than three quarters. No worker waits for a full one: the connection is set aside, and
// woken once all that it wants has been taken for it.
type slots struct {
	// workers is how many there are; 0: they are not counted.
	workers int

	mu   sync.Mutex
	used map[resource]share
	// granted is what was taken for connections that were woken and have not been back yet, as pass.held has it.
	granted map[types.NamespacedName]map[resource]bool
	waiting lines
	// favoured is whoever others were served before too often, and kept is what was taken for it so far.
	favoured *waiter
	kept     map[resource]bool
	// wake has a connection reconciled now; nil if nobody can be woken.
	wake func(types.NamespacedName, urgency)
	// spending is which host each pass spends at, and slow are hosts that let a spend hang, until when that counts.
	spending map[*pass]spendAt
	slow     map[string]time.Time
}

// share is how many hold a resource, and how many of them for ordinary work.
type share struct{ all, ordinary int }

// pass holds the slots of one reconcile.
type pass struct {
	slots *slots
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

// wakeBy says how connections are woken.
func (s *slots) wakeBy(wake func(types.NamespacedName, urgency)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

// rouse has a connection reconciled now that waits for something else than a slot.
func (s *slots) rouse(conn types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake(conn, called)
	}
}

// pass begins a reconcile of a connection, which waits no longer until the reconcile ends.
func (s *slots) pass(conn types.NamespacedName) *pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.granted[conn]
	delete(s.granted, conn)
	came := s.waiting.leave(conn)
	if s.favoured != nil && s.favoured.conn == conn {
		held, came = s.kept, s.favoured
		s.favoured, s.kept = nil, nil
	}
	return &pass{slots: s, conn: conn, held: held, came: came}
}

// quietPass is for what is no reconcile: nobody wakes it, and nothing was granted to it.
func (s *slots) quietPass(conn types.NamespacedName) *pass {
	return &pass{slots: s, conn: conn, quiet: true}
}

// called reports whether this reconcile was woken for a request for which all slots were taken.
func (p *pass) called() bool { return len(p.held) > 1 }

// enter counts a reconcile among the workers. It is false if ordinary work holds all that it may: then the connection will
// be woken.
func (p *pass) enter(u urgency) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace}, u, u.reserved())
}

// take gets a slot of the namespace and one of the URL's host, unless this reconcile has them. It is false if one is
// full: then the connection will be woken.
func (p *pass) take(rawURL string, u urgency, now time.Time) bool {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace, host: host}, u, u.reserved() && !s.hangs(host, now))
}

// takeProbe is take for a probe, which is never ahead of other work.
func (p *pass) takeProbe(rawURL string) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(wish{namespace: p.conn.Namespace, host: mcpoauth.Host(rawURL), probe: true}, ordinary, false)
}

// takeAll takes all or none. What is held for urgent work counts as held for ordinary work from the first such request on.
func (p *pass) takeAll(w wish, u urgency, reserved bool) bool {
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
func (p *pass) otherHosts(host string) string {
	var hosts []string
	for k := range p.held {
		if k.namespace != "" && k.host != "" && k.host != host {
			hosts = append(hosts, k.host)
		}
	}
	slices.Sort(hosts)
	return strings.Join(hosts, " ")
}

func (p *pass) holds(k resource) bool {
	_, is := p.held[k]
	return is
}

func (p *pass) has(k resource, reserved bool) bool { return p.holds(k) && (reserved || p.held[k]) }

func (p *pass) hold(k resource, reserved bool) {
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
func (s *slots) room(k resource, reserved, holder bool) bool {
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

func (s *slots) limit(k resource) int {
	switch {
	case k == resource{}:
		return s.workers
	case k == probing:
		return maxProbes
	case k.namespace != "" && k.host != "":
		return maxHostSlots
	}
	return maxSlots
}

// moveOn gives back the slots of hosts that have been asked, but for the one that is asked next. Those of a host that is still to be
// asked stay, or whoever has stood in line for it would stand there again without end; but they wait for no host that hangs.
func (p *pass) moveOn(rawURL string, now time.Time) {
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
func (p *pass) giveBack(k resource) bool {
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

// release gives all slots back, stands the connection in line if it did not get what it wanted last, and wakes whose turn has come.
func (p *pass) release() {
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

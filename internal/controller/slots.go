package controller

import (
	"maps"
	"slices"
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
	// slowAfter is how long a spend takes that shows its host to hang.
	slowAfter = 5 * time.Second
	// slowFor is how long a host is known to hang after the last sign of it.
	slowFor = 10 * time.Minute
)

// resource is what is shared out: a namespace, a host, a host within a namespace, or the workers (the zero value).
type resource struct{ namespace, host string }

// probing stands for the right to probe. No host has such a name.
var probing = resource{host: " probes"}

// slots share out workers, hosts and namespaces. A quarter of each serves only exchanges of codes and refreshes that are
// due: other work never holds more than three quarters. No worker waits for a full one: the connection is set aside, and
// woken when its turn has come.
type slots struct {
	// workers is how many there are; 0: they are not counted.
	workers int

	mu   sync.Mutex
	used map[resource]share
	// lines are connections set aside, by what was full.
	lines map[resource]*line
	// turns are connections that were woken for a slot and have not been back yet.
	turns map[types.NamespacedName][]resource
	// wake has a connection reconciled now; nil if nobody can be woken.
	wake func(types.NamespacedName, urgency)
	// spending is since when each pass spends, and slow are hosts that let a spend hang, until when that counts.
	spending map[*pass]time.Time
	slow     map[string]time.Time
}

// share is how many hold a resource, and how many of them for ordinary work.
type share struct{ all, ordinary int }

// pass holds the slots of one reconcile.
type pass struct {
	slots *slots
	conn  types.NamespacedName
	// held says of each resource whether it is held for ordinary work.
	held map[resource]bool
	// turns for which this reconcile was woken.
	turns []resource
	// host of the spend under way.
	host string
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

func (s *slots) pass(conn types.NamespacedName) *pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	turns := s.turns[conn]
	delete(s.turns, conn)
	return &pass{slots: s, conn: conn, turns: turns}
}

// enter counts a reconcile among the workers. It is false if ordinary work holds all that it may: then the connection will
// be woken.
func (p *pass) enter(u urgency) bool {
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	return p.takeAll(u, u.reserved(), resource{})
}

// take gets a slot of the namespace and one of the URL's host, unless this reconcile has them. It is false if one is
// full: then the connection will be woken.
func (p *pass) take(rawURL string, u urgency, now time.Time) bool {
	s, namespace, host := p.slots, p.conn.Namespace, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	reserved := u.reserved() && !s.hangs(host, now)
	return p.takeAll(u, reserved, resource{}, resource{namespace: namespace}, resource{host: host}, resource{namespace, host})
}

// takeProbe is take for a probe, which is never ahead of other work.
func (p *pass) takeProbe(rawURL string) bool {
	s, namespace, host := p.slots, p.conn.Namespace, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.takeAll(ordinary, false, resource{}, resource{namespace: namespace}, resource{host: host}, resource{namespace, host}, probing)
}

// takeAll takes all or none. What is held for urgent work counts as held for ordinary work from the first such request on.
func (p *pass) takeAll(u urgency, reserved bool, all ...resource) bool {
	s := p.slots
	for _, k := range all {
		if !p.has(k, reserved) && !s.room(k, reserved, p.holds(k)) {
			s.await(k, p, u, reserved)
			return false
		}
	}
	for _, k := range all {
		p.hold(k, reserved)
		s.leave(k, p.conn)
	}
	return true
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

// moveOn gives back the slots of every host but the one that is asked next.
func (p *pass) moveOn(rawURL string) {
	s, host := p.slots, mcpoauth.Host(rawURL)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range p.held {
		if k.host != "" && k.host != host && k != probing {
			p.giveBack(k)
			s.callNext(k)
		}
	}
}

// giveBack gives one slot back.
func (p *pass) giveBack(k resource) {
	u := p.slots.used[k]
	u.all--
	if p.held[k] {
		u.ordinary--
	}
	if p.slots.used[k] = u; u.all == 0 {
		delete(p.slots.used, k)
	}
	delete(p.held, k)
}

// release gives all slots back, and wakes whose turn has come. A turn that this reconcile was woken for and did not use is
// the next one's.
func (p *pass) release() {
	s := p.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	held := slices.Collect(maps.Keys(p.held))
	for _, k := range held {
		p.giveBack(k)
	}
	for _, k := range held {
		s.callNext(k)
	}
	for _, k := range p.turns {
		if !slices.Contains(held, k) {
			s.callNext(k)
		}
	}
	delete(s.spending, p)
	p.turns = nil
}

// spend notes that a request which must not wait begins, and returns what notes its end. While a host lets one hang, and for
// a while after, its spends are ordinary work: they may hold up each other, and nobody else.
func (p *pass) spend(rawURL string, now func() time.Time) (end func()) {
	s, begin := p.slots, now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spending == nil {
		s.spending = map[*pass]time.Time{}
	}
	p.host, s.spending[p] = mcpoauth.Host(rawURL), begin
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.spending, p)
		s.judge(p.host, begin, now())
	}
}

// judge takes in how long a host took.
func (s *slots) judge(host string, begin, end time.Time) {
	for other, until := range s.slow {
		if !until.After(end) {
			delete(s.slow, other)
		}
	}
	if end.Sub(begin) < slowAfter {
		delete(s.slow, host)
		return
	}
	if s.slow == nil {
		s.slow = map[string]time.Time{}
	}
	s.slow[host] = end.Add(slowFor)
}

// hangs reports whether a host lets spends hang.
func (s *slots) hangs(host string, now time.Time) bool {
	for p, since := range s.spending {
		if p.host == host && now.Sub(since) >= slowAfter {
			return true
		}
	}
	return s.slow[host].After(now)
}

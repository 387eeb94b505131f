package controller

import (
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
)

// resource is what is shared out: a namespace, a host, a host within a namespace, or the workers (the zero value).
type resource struct{ namespace, host string }

// probing stands for the right to probe. No host has such a name.
var probing = resource{host: " probes"}

// wish is what is taken at once, all of it or nothing: a worker, and for requests of a namespace to a host their slots too. The
// other host is one whose slots are held already, and are needed beside.
type wish struct {
	namespace, host, other string
	probe                  bool
}

func (w wish) resources() []resource {
	all := []resource{{}}
	if w.host != "" {
		all = append(all, resource{namespace: w.namespace}, resource{host: w.host}, resource{w.namespace, w.host})
	}
	if w.other != "" {
		all = append(all, resource{host: w.other}, resource{w.namespace, w.other})
	}
	if w.probe {
		all = append(all, probing)
	}
	return all
}

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
	// held says of each resource whether it is held for ordinary work. It begins with what was granted.
	held map[resource]bool
	// came is the place in line that the connection had before, and waits is what it did not get; nil if there is none.
	came, waits *waiter
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

// pass begins a reconcile of a connection, which waits no longer until the reconcile ends.
func (s *slots) pass(conn types.NamespacedName) *pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.granted[conn]
	delete(s.granted, conn)
	return &pass{slots: s, conn: conn, held: held, came: s.waiting.leave(conn)}
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
			if w.other = p.otherHost(w.host); !p.quiet {
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

// otherHost is another one whose slots are held; empty if there is none.
func (p *pass) otherHost(host string) string {
	for k := range p.held {
		if k.namespace != "" && k.host != "" && k.host != host {
			return k.host
		}
	}
	return ""
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
		}
	}
	s.handOut()
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

// release gives all slots back, stands the connection in line if it did not get what it wanted last, and wakes whose turn has come.
func (p *pass) release() {
	s := p.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range p.held {
		p.giveBack(k)
	}
	delete(s.spending, p)
	if p.waits != nil && s.wake != nil {
		s.waiting.join(p.waits, p.came)
	}
	p.came, p.waits = nil, nil
	s.handOut()
}

// handOut takes for whoever waits what is free, and wakes it. What was taken for it is its own from then on: nobody who comes meanwhile
// has it, and nobody holds one thing while it waits for another.
func (s *slots) handOut() {
	for {
		w := s.waiting.first(func(w wish, reserved bool) bool {
			return !slices.ContainsFunc(w.resources(), func(k resource) bool { return !s.room(k, reserved, false) })
		})
		if w == nil {
			return
		}
		s.waiting.serve(w)
		p := &pass{slots: s, conn: w.conn}
		for _, k := range w.wish.resources() {
			p.hold(k, w.reserved)
		}
		if s.granted == nil {
			s.granted = map[types.NamespacedName]map[resource]bool{}
		}
		s.granted[w.conn] = p.held
		s.wake(w.conn, served)
	}
}

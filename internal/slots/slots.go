// Package slots decides who may ask whom when, so that a slow host, or a namespace with thousands of connections,
// holds up nobody else (docs/decisions/0019). A request to a stranger takes a slot of its host, one of its namespace
// and one of the host within the namespace; a reconcile that has something to ask takes a worker. One reconcile:
//
//	p := s.Pass(conn)      it begins, and holds what was granted to it while it waited
//	p.Enter(u)             takes a worker
//	p.Take(url, u, now)    takes the slots that a request to url needs, all of them or none
//	p.MoveTo(url, now)     a chain of requests comes to its next host
//	p.Release()            it ends, and gives everything back
//
// Where Enter or Take is false the reconcile is to end: no worker waits for a slot. Release then puts the connection
// into a queue. Once all that it needs is free, that is granted to it and it is woken. Who comes first:
//
//   - Namespaces that wait are served in turn. Within one the most urgent is first (Urgency), then who came first.
//   - A quarter of everything is reserved for exchanges of codes and refreshes that are due.
//   - What is granted is nobody else's until the connection's next pass. Nobody keeps one thing while it waits for
//     another, but for one connection at a time: it would starve, for too many others were served before it.
//   - A host that lets token requests hang loses the reserved quarter for a while (Spend, Sending, Answered).
//
// The package knows names, hosts and instants: it reads no clock, asks nobody, and wakes by a function (SetWake).
package slots

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Slots are the workers, hosts and namespaces of one process, and the queues for them. The zero value is ready to use:
// it counts no workers and wakes nobody.
type Slots struct {
	// Workers is how many there are; 0: they are not counted. It is set before the first pass.
	Workers int

	mu   sync.Mutex
	used map[resource]usage
	// granted is what was taken for connections that were woken and have not begun their next pass, as Pass.held
	// has it.
	granted map[types.NamespacedName]map[resource]bool
	waiting queues
	// starving is a waiter that too many others were served before, and collected is what was taken for it so far.
	starving  *waiter
	collected map[resource]bool
	// wake has a connection reconciled now; nil if nobody can be woken.
	wake func(types.NamespacedName, Urgency)
	// spending is the host that each pass spends at, and hanging are hosts that let a spend hang, until when that
	// counts.
	spending map[*Pass]hostWait
	hanging  map[string]time.Time
}

// SetWake sets the function that has a connection reconciled now, with its place in the work queue. Until then nobody
// waits in a queue here. It is called with a lock held: it must not call Slots.
func (s *Slots) SetWake(wake func(types.NamespacedName, Urgency)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

// SetGauge sets what counts the connections that wait in a queue. It is called before the first pass.
func (s *Slots) SetGauge(gauge Gauge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting.gauge = gauge
}

// Wake has a connection reconciled now that waits for something else than a slot.
func (s *Slots) Wake(conn types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake(conn, Woken)
	}
}

// Pass begins a reconcile of a connection, which waits in no queue until the reconcile ends.
func (s *Slots) Pass(conn types.NamespacedName) *Pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.granted[conn]
	delete(s.granted, conn)
	place := s.waiting.remove(conn)
	if s.starving != nil && s.starving.conn == conn {
		held, place = s.collected, s.starving
		s.starving, s.collected = nil, nil
	}
	return &Pass{slots: s, conn: conn, held: held, place: place}
}

// UnqueuedPass begins work for a connection that is no reconcile of it: it gets nothing that was granted, and where it
// finds no slot it waits in no queue.
func (s *Slots) UnqueuedPass(conn types.NamespacedName) *Pass {
	return &Pass{slots: s, conn: conn, unqueued: true}
}

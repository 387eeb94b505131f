package controller

import "k8s.io/apimachinery/pkg/types"

// line is those who wait for one resource. Nobody stands in it twice.
type line struct {
	// codes and refreshes are urgent: all of the resource is open to them. The others may have what is not kept free.
	codes, refreshes, others lane
	standing                 map[types.NamespacedName]*waiter
	count, calls             int
}

// codesInARow is how many codes go before a refresh that waits too: who brings codes without end holds up no refresh for ever.
const codesInARow = 3

// waiter is a connection in a line. One that has left stays in its lane, and is passed over.
type waiter struct {
	conn    types.NamespacedName
	urgency urgency
	number  int
}

// await puts a connection in the line for a resource, unless it stands there with as much urgency.
func (s *slots) await(k resource, p *pass, u urgency, reserved bool) {
	if s.wake == nil || p.quiet {
		return
	}
	l := s.lines[k]
	if l == nil {
		l = &line{standing: map[types.NamespacedName]*waiter{}}
		if s.lines == nil {
			s.lines = map[resource]*line{}
		}
		s.lines[k] = l
	}
	if old := l.standing[p.conn]; old != nil && old.urgency >= u {
		return
	}
	if l.standing[p.conn] == nil {
		waitingForSlot.Inc()
	}
	w := &waiter{conn: p.conn, urgency: u, number: l.count}
	l.count++
	l.standing[p.conn] = w
	switch {
	case !reserved:
		l.others.push(w)
	case u == dueExchange:
		l.codes.push(w)
	default:
		l.refreshes.push(w)
	}
}

// leave takes a connection out of a line.
func (s *slots) leave(k resource, conn types.NamespacedName) {
	if l := s.lines[k]; l != nil {
		l.leave(conn)
	}
}

func (l *line) leave(conn types.NamespacedName) {
	if l.standing[conn] != nil {
		delete(l.standing, conn)
		waitingForSlot.Dec()
	}
}

// callNext gives a free slot to the first in the line for a resource who may have it, and wakes it. The slot is its own from then on:
// nobody who comes meanwhile takes it.
func (s *slots) callNext(k resource) {
	l := s.lines[k]
	if l == nil || s.wake == nil {
		return
	}
	var w *waiter
	reserved := true
	if s.room(k, true, false) {
		w = l.firstUrgent()
	}
	if w == nil && s.room(k, false, false) {
		w, reserved = l.first(&l.others), false
	}
	if len(l.standing) == 0 {
		delete(s.lines, k)
	}
	if w == nil {
		return
	}
	s.promise(w.conn, k, reserved)
	s.wake(w.conn, max(w.urgency, called))
}

// firstUrgent takes a code out of the line, or a refresh.
func (l *line) firstUrgent() *waiter {
	lanes := []*lane{&l.codes, &l.refreshes}
	if l.calls++; l.calls > codesInARow {
		l.calls = 0
		lanes[0], lanes[1] = lanes[1], lanes[0]
	}
	if w := l.first(lanes[0]); w != nil {
		return w
	}
	return l.first(lanes[1])
}

// first takes the first that still stands in the line out of a lane; nil if there is none.
func (l *line) first(from *lane) *waiter {
	w := from.pop(func(w *waiter) bool { return l.standing[w.conn] == w })
	if w != nil {
		l.leave(w.conn)
	}
	return w
}

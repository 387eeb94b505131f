package controller

import (
	"container/heap"

	"k8s.io/apimachinery/pkg/types"
)

// line is those who wait for one resource: the urgent, to whom all of it is open, and the others. Nobody stands in it twice.
type line struct {
	urgent, others queue
	standing       map[types.NamespacedName]*waiter
	count          int
}

// waiter is a connection in a line. One that has left stays in its queue, and is passed over.
type waiter struct {
	conn    types.NamespacedName
	urgency urgency
	number  int
}

// queue is a heap: the most urgent first, then who came first.
type queue []*waiter

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].urgency != q[j].urgency {
		return q[i].urgency > q[j].urgency
	}
	return q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*waiter)) } //nolint:forcetypeassert // container/heap knows no types
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return x
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
	if reserved {
		heap.Push(&l.urgent, w)
	} else {
		heap.Push(&l.others, w)
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

// callNext wakes the first in the line for a resource who may have it.
func (s *slots) callNext(k resource) {
	l := s.lines[k]
	if l == nil || s.wake == nil {
		return
	}
	var w *waiter
	if s.room(k, true, false) {
		w = l.first(&l.urgent)
	}
	if w == nil && s.room(k, false, false) {
		w = l.first(&l.others)
	}
	if len(l.standing) == 0 {
		delete(s.lines, k)
	}
	if w == nil {
		return
	}
	if s.turns == nil {
		s.turns = map[types.NamespacedName][]resource{}
	}
	s.turns[w.conn] = append(s.turns[w.conn], k)
	s.wake(w.conn, max(w.urgency, called))
}

// first takes the first that still stands in the line out of a queue; nil if there is none.
func (l *line) first(q *queue) *waiter {
	for q.Len() > 0 {
		w := heap.Pop(q).(*waiter) //nolint:forcetypeassert // see Push
		if l.standing[w.conn] == w {
			l.leave(w.conn)
			return w
		}
	}
	return nil
}

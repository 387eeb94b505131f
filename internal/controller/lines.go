package controller

import (
	"container/heap"

	"k8s.io/apimachinery/pkg/types"
)

// lines are the connections that wait for slots, each for one wish. Namespaces are served in turn, so that a neighbour's thousand hold
// up nobody: by start-time fair queueing (Goyal, Vin and Cheng, 1996), where each is as large as any other, and none saves turns
// while what it waits for is full. Within one, and among those whose turn is the same, the most urgent comes first, then who came first.
type lines struct {
	by      map[lineKey]*queue
	waiters map[types.NamespacedName]*waiter
	// turn is that of who was served last, and tenants are namespaces that wait, or have waited since somebody does.
	turn    int
	tenants map[string]*tenant
	count   int
}

// lineKey says for what a line stands. Who stands in one wants the same, so that if its first cannot have it nobody can.
type lineKey struct {
	wish     wish
	reserved bool
}

// tenant is a namespace with connections that wait.
type tenant struct{ turn, waiting int }

// waiter is a connection in a line.
type waiter struct {
	conn     types.NamespacedName
	wish     wish
	urgency  urgency
	reserved bool
	number   int
	index    int
}

// join stands a connection in line. One that has been here before keeps its place.
func (l *lines) join(w, before *waiter) {
	if l.by == nil {
		l.by, l.waiters, l.tenants = map[lineKey]*queue{}, map[types.NamespacedName]*waiter{}, map[string]*tenant{}
	}
	l.leave(w.conn)
	if l.count++; before == nil {
		w.number = l.count
	} else {
		w.number = before.number
	}
	key := lineKey{w.wish, w.reserved}
	if l.by[key] == nil {
		l.by[key] = &queue{}
	}
	heap.Push(l.by[key], w)
	l.waiters[w.conn] = w
	waitingForSlot.Inc()
	t := l.tenants[w.conn.Namespace]
	if t == nil {
		t = &tenant{}
		l.tenants[w.conn.Namespace] = t
	}
	if t.waiting++; t.waiting == 1 {
		t.turn = max(t.turn, l.turn)
	}
}

// leave takes a connection out of its line, and returns the place that it had; nil if it had none.
func (l *lines) leave(conn types.NamespacedName) *waiter {
	w := l.waiters[conn]
	if w == nil {
		return nil
	}
	key := lineKey{w.wish, w.reserved}
	heap.Remove(l.by[key], w.index)
	if l.by[key].Len() == 0 {
		delete(l.by, key)
	}
	delete(l.waiters, conn)
	waitingForSlot.Dec()
	if l.tenants[conn.Namespace].waiting--; len(l.waiters) == 0 {
		clear(l.tenants)
		l.turn = 0
	}
	return w
}

// first is who comes first of those who can have what they want; nil if none can.
func (l *lines) first(fits func(w wish, reserved bool) bool) *waiter {
	var first *waiter
	for key, q := range l.by {
		if w := (*q)[0]; (first == nil || l.before(w, first)) && fits(key.wish, key.reserved) {
			first = w
		}
	}
	return first
}

func (l *lines) before(a, b *waiter) bool {
	if of, other := l.tenants[a.conn.Namespace].turn, l.tenants[b.conn.Namespace].turn; of != other {
		return of < other
	}
	return a.before(b)
}

// serve takes who comes first out of its line, and its namespace's turn is over.
func (l *lines) serve(w *waiter) {
	t := l.tenants[w.conn.Namespace]
	l.turn = max(l.turn, t.turn)
	t.turn = l.turn + 1
	l.leave(w.conn)
}

func (w *waiter) before(other *waiter) bool {
	if w.urgency != other.urgency {
		return w.urgency > other.urgency
	}
	return w.number < other.number
}

// queue is a heap.
type queue []*waiter

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].before(q[j]) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) {
	w := x.(*waiter) //nolint:forcetypeassert // container/heap knows no types
	w.index = len(*q)
	*q = append(*q, w)
}
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return x
}

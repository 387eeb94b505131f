package controller

import "container/heap"

// lane is waiters of one kind. Namespaces that wait are served in turn, so that a neighbour's thousand hold up nobody: by start-time fair
// queueing (Goyal, Vin and Cheng, 1996), where each is as large as any other. Within one, and among those whose turn is the same, the
// most urgent comes first, then who came first.
type lane struct {
	waiting namespaces
	by      map[string]*tenant
	// turn is that of who was served last; turns are the next ones of namespaces that were served.
	turn  int
	turns map[string]int
}

// tenant is a namespace that waits.
type tenant struct {
	namespace string
	turn      int
	waiters   waiters
	index     int
}

// push adds a waiter.
func (l *lane) push(w *waiter) {
	if t := l.by[w.conn.Namespace]; t != nil {
		heap.Push(&t.waiters, w)
		heap.Fix(&l.waiting, t.index)
		return
	}
	t := &tenant{namespace: w.conn.Namespace, turn: max(l.turn, l.turns[w.conn.Namespace]), waiters: waiters{w}}
	if l.by == nil {
		l.by, l.turns = map[string]*tenant{}, map[string]int{}
	}
	l.by[t.namespace] = t
	heap.Push(&l.waiting, t)
}

// pop takes out the first that counts; those before it that do not are dropped. It returns nil if none does.
func (l *lane) pop(counts func(*waiter) bool) *waiter {
	for l.waiting.Len() > 0 {
		t := l.waiting[0]
		w := heap.Pop(&t.waiters).(*waiter) //nolint:forcetypeassert // container/heap knows no types
		is := counts(w)
		if is {
			l.turn = t.turn
			t.turn++
			l.turns[t.namespace] = t.turn
		}
		if t.waiters.Len() == 0 {
			heap.Pop(&l.waiting)
			delete(l.by, t.namespace)
		} else {
			heap.Fix(&l.waiting, 0)
		}
		if is {
			return w
		}
	}
	return nil
}

// namespaces is a heap: whose turn comes first, then whose first waiter does.
type namespaces []*tenant

func (n namespaces) Len() int { return len(n) }
func (n namespaces) Less(i, j int) bool {
	if n[i].turn != n[j].turn {
		return n[i].turn < n[j].turn
	}
	return waiters{n[i].waiters[0], n[j].waiters[0]}.Less(0, 1)
}
func (n namespaces) Swap(i, j int) {
	n[i], n[j] = n[j], n[i]
	n[i].index, n[j].index = i, j
}
func (n *namespaces) Push(x any) {
	t := x.(*tenant) //nolint:forcetypeassert // container/heap knows no types
	t.index = len(*n)
	*n = append(*n, t)
}
func (n *namespaces) Pop() any { return popped(n) }

// waiters is a heap: the most urgent first, then who came first.
type waiters []*waiter

func (q waiters) Len() int { return len(q) }
func (q waiters) Less(i, j int) bool {
	if q[i].urgency != q[j].urgency {
		return q[i].urgency > q[j].urgency
	}
	return q[i].number < q[j].number
}
func (q waiters) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *waiters) Push(x any)   { *q = append(*q, x.(*waiter)) } //nolint:forcetypeassert // container/heap knows no types
func (q *waiters) Pop() any     { return popped(q) }

// popped takes the last element off.
func popped[S ~[]*E, E any](s *S) *E {
	last := len(*s) - 1
	x := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return x
}

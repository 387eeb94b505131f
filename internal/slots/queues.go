package slots

import (
	"container/heap"

	"k8s.io/apimachinery/pkg/types"
)

// queues are the connections that wait for slots, each for one need. Namespaces are served in turn, so that a
// neighbour's thousand hold up nobody: by start-time fair queueing (Goyal, Vin and Cheng, 1996), where each is as large
// as any other, and none saves turns while what it waits for is full. Within one, and among those whose tag is the
// same, the most urgent comes first, then who came first.
type queues struct {
	by      map[queueKey]*queue
	waiters map[types.NamespacedName]*waiter
	// virtualTime is the tag of the namespace that was served last, and namespaces are those that wait, or have waited
	// since somebody does.
	virtualTime int
	namespaces  map[string]*namespaceTurn
	// enqueued and served count connections.
	enqueued, served int
	// gauge counts those that wait; nil: nobody wants to know.
	gauge Gauge
}

// Gauge is a number that goes up and down, as one of Prometheus does.
type Gauge interface {
	Inc()
	Dec()
}

// maxOvertaken is how many others are served before a waiter that they came after, until it counts as starving.
const maxOvertaken = 64

// queueKey says what a queue is for. Who waits in one needs the same, so that if its first cannot have it nobody can.
type queueKey struct {
	need     need
	reserved bool
}

// queue is those who wait for the same.
type queue struct {
	waiters   waiterHeap
	resources []resource
}

// namespaceTurn is a namespace with connections that wait: its tag, of which the least is served first, and how many
// there are.
type namespaceTurn struct{ tag, waiting int }

// waiter is a connection in a queue.
type waiter struct {
	conn     types.NamespacedName
	need     need
	urgency  Urgency
	reserved bool
	// number is its place by arrival, and since how many had been served when it came.
	number, since int
	// index is its place in the heap.
	index int
}

// enqueue puts a connection into the queue of its need. One that has waited before keeps its place.
func (q *queues) enqueue(w, before *waiter) {
	if q.by == nil {
		q.by, q.waiters = map[queueKey]*queue{}, map[types.NamespacedName]*waiter{}
		q.namespaces = map[string]*namespaceTurn{}
	}
	q.remove(w.conn)
	if q.enqueued++; before == nil {
		w.number, w.since = q.enqueued, q.served
	} else {
		w.number, w.since = before.number, before.since
	}
	key := queueKey{w.need, w.reserved}
	if q.by[key] == nil {
		q.by[key] = &queue{resources: w.need.resources()}
	}
	heap.Push(&q.by[key].waiters, w)
	q.waiters[w.conn] = w
	if q.gauge != nil {
		q.gauge.Inc()
	}
	n := q.namespaces[w.conn.Namespace]
	if n == nil {
		n = &namespaceTurn{}
		q.namespaces[w.conn.Namespace] = n
	}
	if n.waiting++; n.waiting == 1 && before == nil { // who only looks again has not been away
		n.tag = max(n.tag, q.virtualTime)
	}
}

// remove takes a connection out of its queue, and returns the place that it had; nil if it had none.
func (q *queues) remove(conn types.NamespacedName) *waiter {
	w := q.waiters[conn]
	if w == nil {
		return nil
	}
	key := queueKey{w.need, w.reserved}
	heap.Remove(&q.by[key].waiters, w.index)
	if q.by[key].waiters.Len() == 0 {
		delete(q.by, key)
	}
	delete(q.waiters, conn)
	if q.gauge != nil {
		q.gauge.Dec()
	}
	if q.namespaces[conn.Namespace].waiting--; len(q.waiters) == 0 {
		clear(q.namespaces)
		q.virtualTime = 0
	}
	return w
}

// next is who comes first of those that can have what they need; nil if none can.
func (q *queues) next(fits func(all []resource, reserved bool) bool) *waiter {
	var first *waiter
	for key, queue := range q.by {
		if w := queue.waiters[0]; (first == nil || q.before(w, first)) && fits(queue.resources, key.reserved) {
			first = w
		}
	}
	return first
}

// before reports whether a is served before b.
func (q *queues) before(a, b *waiter) bool {
	if tag, other := q.namespaces[a.conn.Namespace].tag, q.namespaces[b.conn.Namespace].tag; tag != other {
		return tag < other
	}
	return a.before(b)
}

// serve takes a waiter out of its queue, and its namespace's turn is over.
func (q *queues) serve(w *waiter) {
	n := q.namespaces[w.conn.Namespace]
	q.virtualTime = max(q.virtualTime, n.tag)
	n.tag = q.virtualTime + 1
	q.served++
	q.remove(w.conn)
}

// starving is who comes first of those that too many others were served before; nil if there is none.
func (q *queues) starving() *waiter {
	var first *waiter
	for _, queue := range q.by {
		if w := queue.waiters[0]; q.served-w.since >= maxOvertaken && (first == nil || q.before(w, first)) {
			first = w
		}
	}
	return first
}

// before reports whether a waiter comes before another of the same queue.
func (w *waiter) before(other *waiter) bool {
	if w.urgency != other.urgency {
		return w.urgency > other.urgency
	}
	return w.number < other.number
}

// waiterHeap is a heap.Interface: who comes first is at index 0.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *waiterHeap) Push(x any) {
	w := x.(*waiter) //nolint:forcetypeassert // container/heap knows no types
	w.index = len(*h)
	*h = append(*h, w)
}
func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

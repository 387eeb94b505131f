package slots

import (
	"container/heap"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// wish is what is taken at once, all of it or nothing: a worker, and for requests of a namespace to a host their slots too. The
// others are hosts whose slots are held already, and are needed beside: in order, with a space between two.
type wish struct {
	namespace, host, others string
	probe                   bool
}

func (w wish) resources() []resource {
	all := []resource{{}}
	if w.host == "" {
		return all
	}
	all = append(all, resource{namespace: w.namespace})
	for _, host := range append(strings.Fields(w.others), w.host) {
		all = append(all, resource{host: host}, resource{w.namespace, host})
	}
	if w.probe {
		all = append(all, probing)
	}
	return all
}

// lines are the connections that wait for slots, each for one wish. Namespaces are served in turn, so that a neighbour's thousand hold
// up nobody: by start-time fair queueing (Goyal, Vin and Cheng, 1996), where each is as large as any other, and none saves turns
// while what it waits for is full. Within one, and among those whose turn is the same, the most urgent comes first, then who came first.
type lines struct {
	by      map[lineKey]*line
	waiters map[types.NamespacedName]*waiter
	// turn is that of who was served last, and tenants are namespaces that wait, or have waited since somebody does.
	turn    int
	tenants map[string]*tenant
	// joined and served count connections.
	joined, served int
	// gauge counts those that wait; nil: nobody wants to know.
	gauge Gauge
}

// Gauge is a number that goes up and down, as one of Prometheus does.
type Gauge interface {
	Inc()
	Dec()
}

// tooOften is how many others are served before somebody is favoured.
const tooOften = 64

// lineKey says for what a line stands. Who stands in one wants the same, so that if its first cannot have it nobody can.
type lineKey struct {
	wish     wish
	reserved bool
}

// line is those who wait for the same.
type line struct {
	queue queue
	needs []resource
}

// tenant is a namespace with connections that wait.
type tenant struct{ turn, waiting int }

// waiter is a connection in a line.
type waiter struct {
	conn     types.NamespacedName
	wish     wish
	urgency  Urgency
	reserved bool
	// number is its place, and since how many had been served when it came.
	number, since int
	index         int
}

// join stands a connection in line. One that has been here before keeps its place.
func (l *lines) join(w, before *waiter) {
	if l.by == nil {
		l.by, l.waiters, l.tenants = map[lineKey]*line{}, map[types.NamespacedName]*waiter{}, map[string]*tenant{}
	}
	l.leave(w.conn)
	if l.joined++; before == nil {
		w.number, w.since = l.joined, l.served
	} else {
		w.number, w.since = before.number, before.since
	}
	key := lineKey{w.wish, w.reserved}
	if l.by[key] == nil {
		l.by[key] = &line{needs: w.wish.resources()}
	}
	heap.Push(&l.by[key].queue, w)
	l.waiters[w.conn] = w
	if l.gauge != nil {
		l.gauge.Inc()
	}
	t := l.tenants[w.conn.Namespace]
	if t == nil {
		t = &tenant{}
		l.tenants[w.conn.Namespace] = t
	}
	if t.waiting++; t.waiting == 1 && before == nil { // who only looks again has not been away
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
	heap.Remove(&l.by[key].queue, w.index)
	if l.by[key].queue.Len() == 0 {
		delete(l.by, key)
	}
	delete(l.waiters, conn)
	if l.gauge != nil {
		l.gauge.Dec()
	}
	if l.tenants[conn.Namespace].waiting--; len(l.waiters) == 0 {
		clear(l.tenants)
		l.turn = 0
	}
	return w
}

// first is who comes first of those who can have what they want; nil if none can.
func (l *lines) first(fits func(needs []resource, reserved bool) bool) *waiter {
	var first *waiter
	for key, of := range l.by {
		if w := of.queue[0]; (first == nil || l.before(w, first)) && fits(of.needs, key.reserved) {
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
	l.served++
	l.leave(w.conn)
}

// passedOver is who comes first of those that too many others were served before; nil if there is none.
func (l *lines) passedOver() *waiter {
	var first *waiter
	for _, of := range l.by {
		if w := of.queue[0]; l.served-w.since >= tooOften && (first == nil || l.before(w, first)) {
			first = w
		}
	}
	return first
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

// fits reports whether there is room for all of some resources.
func (s *Slots) fits(all []resource, reserved bool) bool {
	return !slices.ContainsFunc(all, func(k resource) bool { return !s.room(k, reserved, false) })
}

// handOut takes for whoever waits what is free, and wakes it. What was taken for it is its own from then on: nobody who comes meanwhile
// has it, and nobody holds one thing while it waits for another. But for one at a time: where all that a connection needs is never free
// at once, since it needs several things that others always wait for, it is kept for it as it comes.
func (s *Slots) handOut() {
	for s.keep(); s.room(resource{}, true, false); s.keep() {
		w := s.waiting.first(s.fits)
		if w == nil {
			break
		}
		s.waiting.serve(w)
		p := &Pass{slots: s, conn: w.conn}
		for _, k := range w.wish.resources() {
			p.hold(k, w.reserved)
		}
		s.grant(p)
	}
	if s.favoured == nil {
		if s.favoured = s.waiting.passedOver(); s.favoured != nil {
			s.waiting.serve(s.favoured)
			s.keep()
		}
	}
}

// keep takes for the favoured what it needs and is free, and wakes it once that is all.
func (s *Slots) keep() {
	if s.favoured == nil {
		return
	}
	p, all := &Pass{slots: s, conn: s.favoured.conn, held: s.kept}, true
	for _, k := range s.favoured.wish.resources() {
		if !p.holds(k) && s.room(k, s.favoured.reserved, false) {
			p.hold(k, s.favoured.reserved)
		}
		all = all && p.holds(k)
	}
	if s.kept = p.held; all {
		s.favoured, s.kept = nil, nil
		s.grant(p)
	}
}

// grant wakes a connection for which all that it wanted is held.
func (s *Slots) grant(p *Pass) {
	if s.granted == nil {
		s.granted = map[types.NamespacedName]map[resource]bool{}
	}
	s.granted[p.conn] = p.held
	s.wake(p.conn, Served)
}

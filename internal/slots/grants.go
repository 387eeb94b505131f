package slots

import "k8s.io/apimachinery/pkg/types"

// grantWaiting takes for whoever waits what is free, and wakes it. What was granted is its own from then on:
// nobody who comes meanwhile has it, and nobody holds one thing while it waits for another. But for one at a
// time: where all that a connection needs is never free at once, since it needs several things that others
// always wait for, it is collected as it becomes free.
func (s *Slots) grantWaiting() {
	for s.collect(); s.room(resource{}, true, false); s.collect() {
		w := s.waiting.next(s.fits)
		if w == nil {
			break
		}
		s.waiting.serve(w)
		p := &Pass{slots: s, conn: w.conn}
		for _, k := range w.need.resources() {
			p.hold(k, w.reserved)
		}
		s.grant(p)
	}
	if s.starving == nil {
		if s.starving = s.waiting.starving(); s.starving != nil {
			s.waiting.serve(s.starving)
			s.collect()
		}
	}
}

// collect takes for the one that starves what it needs and is free, and wakes it once that is all.
func (s *Slots) collect() {
	if s.starving == nil {
		return
	}
	p, all := &Pass{slots: s, conn: s.starving.conn, held: s.collected}, true
	for _, k := range s.starving.need.resources() {
		if !p.holds(k) && s.room(k, s.starving.reserved, false) {
			p.hold(k, s.starving.reserved)
		}
		all = all && p.holds(k)
	}
	if s.collected = p.held; all {
		s.starving, s.collected = nil, nil
		s.grant(p)
	}
}

// grant wakes a connection for which all that it needs is held.
func (s *Slots) grant(p *Pass) {
	if s.granted == nil {
		s.granted = map[types.NamespacedName]map[resource]bool{}
	}
	s.granted[p.conn] = p.held
	s.wake(p.conn, Granted)
}

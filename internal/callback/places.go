package callback

import (
	"container/list"
	"io"
	"net/netip"
	"sync"
)

// capacity is how many connections there may be at once.
type capacity struct {
	// pages is the number for any request, documents that of the reserve, which is for documents only.
	pages, documents int
	// public is the number for one address of the internet, shared that for one behind which many people may stand.
	public, shared int
}

// places says which connections may stay. It knows no network: a connection is something that can be closed.
//
// A connection that finds its address at its limit, or all places taken, takes over the place of one that is idle: of
// its own address, or of the address that has the most. Idle is whatever waits for its client: for the first byte, the
// rest of a header or body, the next request, or until an answer is read. So what a stranger holds back holds nobody
// up. Where none is idle the reserve is left, by the same rule.
type places struct {
	mu        sync.Mutex
	capacity  capacity
	pages     budget
	documents budget
	// sharedBy says that an address stands for many people.
	sharedBy func(netip.Addr) bool
	// turn counts changes to idle, so that the longest idle connection is known without a clock.
	turn uint64
}

func newPlaces(c capacity, sharedBy func(netip.Addr) bool) *places {
	return &places{
		capacity: c, sharedBy: sharedBy,
		pages:     budget{size: c.pages, holders: map[string]*holder{}},
		documents: budget{size: c.documents, holders: map[string]*holder{}},
	}
}

// take gives a new connection a place; nil if there is none for it. The connection that lost its place for that, if
// any, is for the caller to close.
func (p *places) take(address netip.Addr, conn io.Closer) (taken *place, displaced io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := addressKey(address)
	// A public address has one limit for both. Behind a shared one there may be an authorization server too.
	pages, documents := p.capacity.public-p.documents.of(key), p.capacity.public-p.pages.of(key)
	if p.sharedBy(address) {
		pages, documents = p.capacity.shared, p.capacity.documents
	}
	in := &p.pages
	out, ok := in.room(key, pages)
	if !ok {
		in = &p.documents
		if out, ok = in.room(key, documents); !ok {
			return nil, nil
		}
	}
	if out != nil {
		displaced = out.conn
		p.remove(out)
	}
	taken = &place{all: p, in: in, key: key, conn: conn}
	in.add(taken)
	p.rest(taken)
	return taken, displaced
}

// rest puts a place at the end of those of its address that are idle.
func (p *places) rest(of *place) {
	p.turn++
	of.since = p.turn
	of.in.work(of)
	of.idling = of.in.holders[of.key].idle.PushBack(of)
}

func (p *places) remove(of *place) {
	of.in.work(of)
	of.in.remove(of)
	of.gone = true
}

// place is what one connection holds. A nil place is nobody's and does nothing.
type place struct {
	all  *places
	in   *budget
	key  string
	conn io.Closer
	// idling is its element of the list of its address; nil while the server works for it.
	idling *list.Element
	since  uint64
	gone   bool
}

// reserved says that the place is for documents only.
func (p *place) reserved() bool { return p != nil && p.in == &p.all.documents }

// busy notes that the server works for the connection, which is not displaced meanwhile.
func (p *place) busy() {
	p.change(func() { p.in.work(p) })
}

// idle notes that the connection waits for its client.
func (p *place) idle() {
	p.change(func() { p.all.rest(p) })
}

// leave gives the place back. It may be called again.
func (p *place) leave() {
	p.change(func() { p.all.remove(p) })
}

// change does nothing to a place that was given back or lost.
func (p *place) change(do func()) {
	if p == nil {
		return
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if !p.gone {
		do()
	}
}

// budget is a number of places and who holds them.
type budget struct {
	size, taken int
	holders     map[string]*holder
}

// holder is an address, with its places that are idle, the longest idle one first.
type holder struct {
	taken int
	idle  list.List
}

// of is how many places an address holds.
func (b *budget) of(key string) int {
	if h := b.holders[key]; h != nil {
		return h.taken
	}
	return 0
}

// room reports whether there is a place for one more connection of an address, and which one must go for it; nil if
// none must.
func (b *budget) room(key string, limit int) (*place, bool) {
	var out *place
	switch {
	case b.of(key) >= limit:
		out = b.holders[key].longestIdle()
	case b.taken >= b.size:
		out = b.longestIdle()
	default:
		return nil, true
	}
	return out, out != nil
}

// longestIdle is the longest idle place of the address that has the most. An address with nothing idle is passed over;
// of addresses that have the same number it is the one whose place is idle the longest.
func (b *budget) longestIdle() *place {
	var found *place
	most := 0
	for _, h := range b.holders {
		p := h.longestIdle()
		if p != nil && (h.taken > most || h.taken == most && p.since < found.since) {
			found, most = p, h.taken
		}
	}
	return found
}

func (h *holder) longestIdle() *place {
	if h == nil || h.idle.Len() == 0 {
		return nil
	}
	p, _ := h.idle.Front().Value.(*place)
	return p
}

func (b *budget) add(p *place) {
	h := b.holders[p.key]
	if h == nil {
		h = &holder{}
		b.holders[p.key] = h
	}
	h.taken++
	b.taken++
}

func (b *budget) remove(p *place) {
	h := b.holders[p.key]
	b.taken--
	if h.taken--; h.taken == 0 {
		delete(b.holders, p.key)
	}
}

// work takes a place off the list of those that are idle.
func (b *budget) work(p *place) {
	if p.idling != nil {
		b.holders[p.key].idle.Remove(p.idling)
		p.idling = nil
	}
}

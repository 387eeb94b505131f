package slots

import (
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// hangsAfter is how long a spend takes that shows its host to hang.
	hangsAfter = 5 * time.Second
	// hangsFor is how long a host is known to hang after the last sign of it.
	hangsFor = 10 * time.Minute
)

// hostWait is the host that a spend has come to, and since when its answer is waited for; the zero time: it is not.
type hostWait struct {
	host  string
	since time.Time
}

// Spend notes that a request which must not wait is to be made, and returns what notes its end. While a host lets one
// hang, and for a while after, its spends are ordinary work: they may hold up each other, and nobody else. A spend
// within another is a part of it.
func (p *Pass) Spend(rawURL string) (end func()) {
	s := p.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, within := s.spending[p]; within {
		return func() {}
	}
	if s.spending == nil {
		s.spending = map[*Pass]hostWait{}
	}
	s.spending[p] = hostWait{host: mcpoauth.Host(rawURL)}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.spending, p)
	}
}

// Sending notes that the request of a spend leaves now. What the API server takes before and after says nothing of a
// host. Without a pass it does nothing.
func (p *Pass) Sending(now time.Time) {
	if p == nil {
		return
	}
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	if at, is := p.slots.spending[p]; is {
		p.slots.spending[p] = hostWait{at.host, now}
	}
}

// Answered notes that the request of a spend has ended, with an answer or without. Without a pass it does nothing.
func (p *Pass) Answered(now time.Time) {
	if p == nil {
		return
	}
	p.slots.mu.Lock()
	defer p.slots.mu.Unlock()
	p.slots.moveSpend(p, hostWait{}, now)
}

// moveSpend notes that a spend has come to the next host, or to none.
func (s *Slots) moveSpend(p *Pass, next hostWait, now time.Time) {
	at, is := s.spending[p]
	waits := !at.since.IsZero()
	if !is || (waits && at.host == next.host) {
		return
	}
	if waits {
		s.noteAnswer(at, now)
	}
	s.spending[p] = next
}

// noteAnswer takes in how long a host took. A quick answer takes nothing back: who hangs by turns would hold all
// workers anew each time.
func (s *Slots) noteAnswer(at hostWait, end time.Time) {
	for other, until := range s.hanging {
		if !until.After(end) {
			delete(s.hanging, other)
		}
	}
	if end.Sub(at.since) < hangsAfter {
		return
	}
	if s.hanging == nil {
		s.hanging = map[string]time.Time{}
	}
	s.hanging[at.host] = end.Add(hangsFor)
}

// hangs reports whether a host lets spends hang.
func (s *Slots) hangs(host string, now time.Time) bool {
	for _, at := range s.spending {
		if at.host == host && !at.since.IsZero() && now.Sub(at.since) >= hangsAfter {
			return true
		}
	}
	return s.hanging[host].After(now)
}

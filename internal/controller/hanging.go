package controller

import (
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// slowAfter is how long a spend takes that shows its host to hang.
	slowAfter = 5 * time.Second
	// slowFor is how long a host is known to hang after the last sign of it.
	slowFor = 10 * time.Minute
)

// spend notes that a request which must not wait begins, and returns what notes its end. While a host lets one hang, and for
// a while after, its spends are ordinary work: they may hold up each other, and nobody else.
func (p *pass) spend(rawURL string, now func() time.Time) (end func()) {
	s, begin := p.slots, now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spending == nil {
		s.spending = map[*pass]time.Time{}
	}
	p.host, s.spending[p] = mcpoauth.Host(rawURL), begin
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.spending, p)
		s.judge(p.host, begin, now())
	}
}

// judge takes in how long a host took.
func (s *slots) judge(host string, begin, end time.Time) {
	for other, until := range s.slow {
		if !until.After(end) {
			delete(s.slow, other)
		}
	}
	if end.Sub(begin) < slowAfter {
		delete(s.slow, host)
		return
	}
	if s.slow == nil {
		s.slow = map[string]time.Time{}
	}
	s.slow[host] = end.Add(slowFor)
}

// hangs reports whether a host lets spends hang.
func (s *slots) hangs(host string, now time.Time) bool {
	for p, since := range s.spending {
		if p.host == host && now.Sub(since) >= slowAfter {
			return true
		}
	}
	return s.slow[host].After(now)
}

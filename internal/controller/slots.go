package controller

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxSlots is how many reconciles may be asking one host, or asking for one namespace: a slow one starves no other.
// Eight keep an API server on a few cores busy.
const maxSlots = 8

// slots counts reconciles that ask servers. No worker waits for a full one: the connection is set aside, and woken when
// a slot becomes free.
type slots struct {
	mu   sync.Mutex
	used map[string]int
	// waiting are connections set aside, by the key that was full.
	waiting map[string]*line
	// wake has a connection reconciled now; nil if nobody can be woken.
	wake func(types.NamespacedName)
}

// line is a queue without duplicates. Who has left it stays in order until its turn comes.
type line struct {
	order []types.NamespacedName
	in    map[types.NamespacedName]bool
}

// pass holds the slots of one reconcile.
type pass struct {
	slots *slots
	conn  types.NamespacedName
	keys  []string
}

// wakeBy says how connections are woken.
func (s *slots) wakeBy(wake func(types.NamespacedName)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
}

func (s *slots) pass(conn types.NamespacedName) *pass { return &pass{slots: s, conn: conn} }

// take gets a slot of the namespace and one of the URL's host, unless this reconcile has them. It is false if one is
// full: then the connection will be woken.
func (p *pass) take(rawURL string) bool {
	s := p.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := slices.DeleteFunc([]string{"namespace " + p.conn.Namespace, "host " + mcpoauth.Host(rawURL)}, func(key string) bool {
		return slices.Contains(p.keys, key)
	})
	for _, key := range missing {
		if s.used[key] >= maxSlots {
			s.await(key, p.conn)
			return false
		}
	}
	if s.used == nil {
		s.used = map[string]int{}
	}
	for _, key := range missing {
		s.used[key]++
		if l := s.waiting[key]; l != nil {
			delete(l.in, p.conn)
		}
	}
	p.keys = append(p.keys, missing...)
	return true
}

// await puts a connection last in the line for a key, unless it stands there.
func (s *slots) await(key string, conn types.NamespacedName) {
	if s.wake == nil {
		return
	}
	l := s.waiting[key]
	if l == nil {
		l = &line{in: map[types.NamespacedName]bool{}}
		if s.waiting == nil {
			s.waiting = map[string]*line{}
		}
		s.waiting[key] = l
	}
	if !l.in[conn] {
		l.in[conn] = true
		l.order = append(l.order, conn)
	}
}

// release gives all slots back, and wakes the first in the line for each.
func (p *pass) release() {
	s := p.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range p.keys {
		if s.used[key]--; s.used[key] == 0 {
			delete(s.used, key)
		}
		if conn, ok := s.next(key); ok {
			s.wake(conn)
		}
	}
	p.keys = nil
}

// next takes the first connection out of the line for a key.
func (s *slots) next(key string) (types.NamespacedName, bool) {
	l := s.waiting[key]
	if l == nil {
		return types.NamespacedName{}, false
	}
	for len(l.order) > 0 {
		conn := l.order[0]
		l.order = l.order[1:]
		if l.in[conn] {
			delete(l.in, conn)
			return conn, true
		}
	}
	delete(s.waiting, key)
	return types.NamespacedName{}, false
}

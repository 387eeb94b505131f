package controller

import (
	"net/url"
	"sync"
)

// maxSlots is how many requests may be under way for one host or one namespace: a slow one starves no other.
const maxSlots = 8

// slots counts requests under way. A full one is not waited for: the step is tried again later.
type slots struct {
	mu   sync.Mutex
	used map[string]int
}

// acquire takes a slot of the namespace and of the URL's host. release gives both back; ok is false if one is full.
func (s *slots) acquire(namespace, rawURL string) (release func(), ok bool) {
	host := rawURL
	if u, err := url.Parse(rawURL); err == nil {
		host = u.Host
	}
	keys := []string{"namespace " + namespace, "host " + host}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if s.used[key] >= maxSlots {
			return nil, false
		}
	}
	if s.used == nil {
		s.used = map[string]int{}
	}
	for _, key := range keys {
		s.used[key]++
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, key := range keys {
			if s.used[key]--; s.used[key] == 0 {
				delete(s.used, key)
			}
		}
	}, true
}

package main

import (
	"slices"
)

func (l *ledger) find(refresh string) *issue {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refresh[refresh]
}

// unanswered reports whether the refresh token was replaced and nobody may know.
func (l *ledger) unanswered(i *issue) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !i.rotated.IsZero() && slices.ContainsFunc(i.spends, func(s *spend) bool { return s.fate == unknown })
}

// belongs notes the pod of a process.
func (l *ledger) belongs(process, pod string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pods[process] = pod
}

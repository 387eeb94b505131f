package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// grace is how long an authorization server takes a refresh token that it has replaced.
type grace string

const (
	noGrace       grace = "none"
	untilFirstUse grace = "until first use"
	thirtySeconds grace = "thirty seconds"
)

// graces by host.
var graces = []grace{noGrace, untilFirstUse, thirtySeconds}

// watchedFor is the least time between a request and the next with the same refresh token by a process of another pod:
// that one must have watched the claim for as long as an answer may take.
const watchedFor = 30 * time.Second

// fate is what the client can know of a request.
type fate int

const (
	underWay fate = iota
	// free requests were answered, and nothing was spent.
	free
	// unknown: no answer, or one that does not tell.
	unknown
	// answered with new tokens.
	answered
	// refused with invalid_grant.
	refused
)

// spend is one request with a refresh token.
type spend struct {
	process string
	at      time.Time
	fate    fate
}

// issue is one answer of the token endpoint.
type issue struct {
	family          *family
	serial          int
	access, refresh string
	expires         time.Time
	// before is the issue that this one replaced; nil for that of a code.
	before *issue
	// rotated is when the refresh token was first replaced.
	rotated time.Time
	spends  []*spend
	// doubts are processes that died or were frozen with a claim on the refresh token, and how.
	doubts map[string]string
	// behind is how far the clock of the operator was behind then.
	behind time.Duration
}

// family is all that came of one consent.
type family struct {
	connection int
	client     string
	grace      grace
	newest     *issue
	revoked    bool
	// excuse says why the revocation could not be avoided; empty if it could.
	excuse string
	// refreshed is when the last refresh was answered.
	refreshed time.Time
	// pending are faults that this family has not got over yet.
	pending []*row
}

// ledger is what the authorization servers know, and what they think of it.
type ledger struct {
	now func() time.Time
	// table counts faults.
	table *table

	mu        sync.Mutex
	serial    int
	refreshes int
	access    map[string]*issue
	refresh   map[string]*issue
	// families by connection; the last is the current one.
	families map[int]*family
	// pods by process.
	pods map[string]string
	// ahead is how far the clock of the operator may be ahead.
	ahead time.Duration
	// behind is how far it is behind now.
	behind time.Duration
	// last is the process that asked last.
	last string
}

func newLedger(t *table) *ledger {
	return &ledger{now: time.Now, table: t, access: map[string]*issue{}, refresh: map[string]*issue{},
		families: map[int]*family{}, pods: map[string]string{}}
}

// present notes a request with a refresh token and judges whether it may be.
func (l *ledger) present(i *issue, process string) *spend {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &spend{process: process, at: l.now()}
	if wrong := l.judge(i, s); wrong != "" {
		l.table.broken(&l.table.doubleSpends, "connection %d (grace: %s): %s", i.family.connection, i.family.grace, wrong)
	}
	i.spends = append(i.spends, s)
	l.last = process
	return s
}

// judge says what is wrong with one more request; empty if nothing is.
func (l *ledger) judge(i *issue, s *spend) string {
	open := 0
	for _, earlier := range i.spends {
		_, doubt := i.doubts[earlier.process]
		switch {
		case earlier.fate == free:
		case doubt:
			open++
			if l.pods[earlier.process] != l.pods[s.process] && s.at.Sub(earlier.at) < watchedFor {
				return fmt.Sprintf("%s sent a refresh token %s after %s of another pod", s.process,
					s.at.Sub(earlier.at).Round(time.Millisecond), earlier.process)
			}
		case earlier.fate == unknown:
			open++
		case earlier.fate == underWay:
			return fmt.Sprintf("%s sent a refresh token while the request of %s was under way", s.process, earlier.process)
		case earlier.fate == answered:
			return fmt.Sprintf("%s sent a refresh token again that %s had got an answer for", s.process, earlier.process)
		case earlier.fate == refused:
			return fmt.Sprintf("%s sent a refresh token again that had been refused", s.process)
		}
	}
	// What was issued while the operator's clock was behind has long expired for it, once the clock is right again.
	if valid := i.expires.Sub(s.at) - l.ahead - max(i.behind-l.behind, 0); open >= 2 && valid > 2*time.Second {
		return fmt.Sprintf("%s sent a refresh token after %d unknown outcomes, %s before its access token expires", s.process,
			open, valid.Round(time.Millisecond))
	}
	return ""
}

// redeem replaces a refresh token, or ends its family; then it returns nil.
func (l *ledger) redeem(i *issue, lifetime time.Duration) *issue {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := i.family
	if f.revoked {
		return nil
	}
	now := l.now()
	if !i.rotated.IsZero() && !l.tolerated(i, now) {
		l.revoke(i)
		return nil
	}
	if i.rotated.IsZero() {
		i.rotated = now
	}
	return l.issue(f, i, lifetime)
}

// tolerated reports whether a replaced refresh token is still taken.
func (l *ledger) tolerated(i *issue, now time.Time) bool {
	switch i.family.grace {
	case untilFirstUse:
		for _, later := range l.refresh {
			if later.before == i && !later.rotated.IsZero() {
				return false
			}
		}
		return true
	case thirtySeconds:
		return now.Sub(i.rotated) <= 30*time.Second
	}
	return false
}

// revoke ends a family whose replaced refresh token was used again, and reports whether that could have been avoided.
func (l *ledger) revoke(i *issue) {
	f := i.family
	f.revoked, f.excuse = true, excuseOf(i)
	switch {
	case f.excuse == "", f.grace == untilFirstUse, f.grace == thirtySeconds && f.excuse != takenOver:
		l.table.broken(&l.table.revoked, "connection %d (grace: %s, %q): the family was revoked", f.connection, f.grace,
			f.excuse)
	default:
		l.table.apart(f.grace, f.excuse)
	}
	for _, r := range f.pending {
		l.table.count(&r.apart)
	}
	f.pending = nil
}

// excuseOf says what happened between send and save when the token was replaced.
func excuseOf(i *issue) string {
	excuse := ""
	for _, s := range i.spends {
		if how := i.doubts[s.process]; how != "" {
			return how
		}
		if s.fate == unknown {
			excuse = lostAnswer
		}
	}
	return excuse
}

// Excuses, as the table tells them.
const (
	lostAnswer = "an answer was lost"
	killed     = "the process was killed between send and save"
	takenOver  = "another pod took over from a process that was frozen or killed between send and save"
)

// issue makes tokens. The lock is held.
func (l *ledger) issue(f *family, before *issue, lifetime time.Duration) *issue {
	l.serial++
	i := &issue{behind: l.behind, family: f, serial: l.serial, before: before, access: "at-" + oauthtest.Random(24),
		refresh: "rt-" + oauthtest.Random(24),
		expires: l.now().Add(lifetime), doubts: map[string]string{}}
	l.access[i.access], l.refresh[i.refresh] = i, i
	f.newest = i
	return i
}

// consent begins a family, and ends that of the consent before.
func (l *ledger) consent(connection int, client string, g grace, lifetime time.Duration) *issue {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &family{connection: connection, client: client, grace: g}
	if old := l.families[connection]; old != nil {
		l.gotOver(old)
	}
	l.families[connection] = f
	return l.issue(f, nil, lifetime)
}

// finish notes what the client can know of a request now.
func (l *ledger) finish(i *issue, s *spend, fate fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.fate = fate
	if fate != answered {
		return
	}
	l.refreshes++
	i.family.refreshed = l.now()
	l.gotOver(i.family)
}

func (l *ledger) gotOver(f *family) {
	for _, r := range f.pending {
		l.table.count(&r.survived)
	}
	f.pending = nil
}

// suffers notes a fault that a family has to get over.
func (l *ledger) suffers(f *family, r *row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.count(&r.injected)
	f.pending = append(f.pending, r)
}

// doubt notes that a process ended, or was frozen, with a claim on a refresh token.
func (l *ledger) doubt(refresh, process, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.refresh[refresh]; i != nil {
		i.doubts[process] = how
	}
}

package slots

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// busy has namespaces ask a host without end.
func (f *flood) busy(namespaces, each int, url string, takes time.Duration) {
	for i := range namespaces {
		for c := range each {
			f.ask(named(fmt.Sprint("busy-", i), fmt.Sprint(c, " of ", url)), &job{url: url, urgency: refreshBy(time.Hour),
				takes: takes, again: true})
		}
	}
	f.work()
}

// chained leads a victim through requests to hosts, one after another, until all were asked, and returns how
// often it began and how many seconds went by.
func (f *flood) chained(u Urgency, taken, asks []string) (tries, seconds int) {
	victim, woken, done := named("victim", "c"), true, false
	f.s.SetWake(func(conn types.NamespacedName, u Urgency) {
		if conn == victim {
			woken = true
			return
		}
		f.add(conn, u)
	})
	for ; !done && seconds < 600; seconds++ {
		if woken {
			woken = false
			tries++
			p := f.s.Pass(victim)
			done = p.Enter(u)
			for _, url := range taken {
				done = done && p.Take(url, u, f.now)
			}
			for i := 0; done && i < len(asks); i++ {
				p.MoveTo(asks[i], f.now)
				if done = p.Take(asks[i], u, f.now); done {
					f.tick()
				}
			}
			p.Release()
			f.work()
		}
		f.tick()
	}
	return tries, seconds
}

func TestAChainComesToItsEndWhereNeighboursAlwaysWait(t *testing.T) {
	const own, as, idp, third = "https://own.example.com/mcp", "https://as.example.com/token",
		"https://idp.example.com/token", "https://third.example.com/"
	for name, test := range map[string]struct {
		u           Urgency
		taken, asks []string
		busy        []string
	}{
		"a discovery":                           {u: Ordinary, asks: []string{own, as}, busy: []string{as}},
		"a discovery whose hosts are both full": {u: Ordinary, asks: []string{own, as}, busy: []string{own, as}},
		"an exchange of a subject token": {u: refreshBy(time.Minute), taken: []string{as, idp},
			asks: []string{idp, as}, busy: []string{as, idp}},
		"a deletion with one server":    {u: Ordinary, taken: []string{as}, busy: []string{as}},
		"a deletion with three servers": {u: Ordinary, taken: []string{as, idp, third}, busy: []string{as}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t)
			for i, url := range test.busy {
				f.busy(3, 8, url, time.Duration(1+i)*time.Second)
			}
			if tries, seconds := f.chained(test.u, test.taken, test.asks); tries > 4 || seconds > 120 {
				t.Errorf("it began %d times, over %d s", tries, seconds)
			}
		})
	}
}

func TestWhoLooksAgainKeepsItsTurn(t *testing.T) {
	const url = "https://host-0.example.com/token"
	for name, test := range map[string]struct {
		namespaces int
		takes      time.Duration
	}{
		"among four with long requests":    {4, 4 * time.Second},
		"among ten":                        {10, 2 * time.Second},
		"among twenty with short requests": {20, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t)
			f.busy(test.namespaces, 3, url, test.takes)
			f.busy(1, 60, "https://quick.example.com/token", time.Second) // which brings the turns on
			for range 10 {
				j := f.ask(named("victim", "c"), &job{url: url, urgency: refreshBy(time.Minute), takes: time.Second})
				f.work()
				for waited := 0; j.done.IsZero() && waited < 30; waited++ {
					f.tick()
					if f.s.waiting.waiters[named("victim", "c")] != nil {
						f.add(named("victim", "c"), j.urgency)
						f.work()
					}
				}
				if waited := j.done.Sub(j.due); j.done.IsZero() || waited > 8*time.Second {
					t.Fatalf("it waits %s", waited)
				}
			}
		})
	}
}

func TestAHangIsItsHosts(t *testing.T) {
	const as, idp = "https://as.example.com/token", "https://idp.example.com/token"
	s, now := &Slots{}, epoch
	p := s.Pass(named("team", "c"))
	end := p.Spend(as)
	within := p.Spend(idp)
	hang := func(want map[string]bool) {
		t.Helper()
		for host, hangs := range want {
			if s.hangs(host, now) != hangs {
				t.Errorf("that %s hangs is %t", host, !hangs)
			}
		}
	}
	p.MoveTo(idp, now)
	now = now.Add(hangsAfter - time.Second)
	p.MoveTo(as, now)
	now = now.Add(hangsAfter)
	hang(map[string]bool{"as.example.com:443": true, "idp.example.com:443": false})
	p.Answered(now)
	within()
	end()
	hang(map[string]bool{"as.example.com:443": true, "idp.example.com:443": false})
	q := s.Pass(named("team", "d"))
	end = q.Spend(as)
	q.Sending(now)
	q.Answered(now.Add(time.Second))
	end()
	now = now.Add(hangsFor - 1)
	hang(map[string]bool{"as.example.com:443": true}) // for all that one answer was quick
	now = now.Add(1)
	hang(map[string]bool{"as.example.com:443": false})
}

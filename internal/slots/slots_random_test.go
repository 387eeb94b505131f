package slots

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// counter is a Gauge.
type counter int

func (c *counter) Inc() { *c++ }
func (c *counter) Dec() { *c-- }

// Whatever reconciles do, in whatever order: nothing is given out twice, nobody waits for what is free, and
// all comes back.
func TestSlotsAreNeitherLostNorGivenOutTwice(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		s, gauge := &Slots{Workers: 12}, new(counter)
		s.SetGauge(gauge)
		s.SetWake(func(types.NamespacedName, Urgency) {})
		passes := map[types.NamespacedName]*Pass{}
		for range 3000 {
			conn := named(fmt.Sprint("ns-", random.IntN(4)), fmt.Sprint("c-", random.IntN(12)))
			if p := passes[conn]; p == nil {
				passes[conn] = s.Pass(conn)
			} else {
				anyStep(random, p, func() { delete(passes, conn) })
			}
			invariants(t, s, passes)
			if n := len(s.waiting.waiters); int(*gauge) != n {
				t.Errorf("%d wait, and %d are counted", n, *gauge)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		for _, p := range passes {
			p.Release()
		}
		for len(s.granted) > 0 || s.starving != nil {
			for conn := range s.granted {
				s.Pass(conn).Release()
				break
			}
			if s.starving != nil {
				s.Pass(s.starving.conn).Release()
			}
		}
		nothingIsLeft(t, s)
	}
}

// anyStep is what a reconcile may do next.
func anyStep(random *rand.Rand, p *Pass, ended func()) {
	u := []Urgency{Ordinary, refreshBy(0), DueExchange}[random.IntN(3)]
	url := fmt.Sprintf("https://host-%d.example.com/", random.IntN(4))
	switch random.IntN(6) {
	case 0:
		p.Enter(u)
	case 1:
		p.TakeProbe(url)
	case 2:
		p.MoveTo(url, epoch)
	case 3:
		p.Take(url, u, epoch)
	default:
		p.Release()
		ended()
	}
}

func invariants(t *testing.T, s *Slots, passes map[types.NamespacedName]*Pass) {
	t.Helper()
	want := map[resource]usage{}
	count := func(held map[resource]bool) {
		for k, other := range held {
			u := want[k]
			if u.all++; other {
				u.ordinary++
			}
			want[k] = u
		}
	}
	for _, p := range passes {
		count(p.held)
	}
	for _, held := range s.granted {
		count(held)
	}
	count(s.collected)
	for k, u := range want {
		if s.used[k] != u || u.all > s.limit(k) || (k != probing && u.ordinary > ordinaryLimit(s.limit(k))) {
			t.Errorf("%+v is held by %+v, and counted as %+v", k, u, s.used[k])
		}
	}
	if len(want) != len(s.used) {
		t.Errorf("%d are held, and %d are counted", len(want), len(s.used))
	}
	for conn, w := range s.waiting.waiters {
		free := true
		for _, k := range w.need.resources() {
			free = free && s.room(k, w.reserved, false)
		}
		if free || passes[conn] != nil {
			t.Errorf("%s waits for what is free, or while it runs (%t)", conn, passes[conn] != nil)
		}
	}
}

package slots

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// refreshBy is the urgency of a refresh that is due.
func refreshBy(in time.Duration) Urgency { return RefreshUrgency(epoch.Add(in), false) }

// fill takes slots for as many reconciles as get one, each of another namespace or host as name says.
func fill(s *Slots, u Urgency, name func(i int) (namespace, url string)) []*Pass {
	var out []*Pass
	for i := range 100 {
		namespace, url := name(i)
		p := s.Pass(named(namespace, fmt.Sprint("filling-", u, "-", i)))
		if p.Enter(u) && p.Take(url, u, epoch) {
			out = append(out, p)
		} else {
			p.Release()
		}
	}
	return out
}

func TestOtherWorkNeverHoldsMoreThanThreeQuartersOfAnything(t *testing.T) {
	for name, test := range map[string]struct {
		name          func(i int) (namespace, url string)
		ordinary, all int
	}{
		"of a host": {func(i int) (string, string) {
			return fmt.Sprint("ns-", i), "https://mcp.example.com"
		}, 6, 8},
		"of a namespace": {func(i int) (string, string) {
			return "team", fmt.Sprintf("https://host-%d.example.com", i)
		}, 6, 8},
		"of a host's share of a namespace": {func(int) (string, string) { return "team", "https://mcp.example.com" }, 4, 6},
		"of the workers": {func(i int) (string, string) {
			return fmt.Sprint("ns-", i), fmt.Sprintf("https://host-%d.example.com", i)
		}, 24, 32},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Slots{Workers: 32}
			others := fill(s, Ordinary, test.name)
			if len(others) != test.ordinary {
				t.Errorf("other work holds %d, want %d", len(others), test.ordinary)
			}
			urgent := fill(s, refreshBy(time.Minute), test.name)
			if len(others)+len(urgent) != test.all {
				t.Errorf("%d fit in beside it, want %d", len(urgent), test.all-test.ordinary)
			}
			for _, p := range slices.Concat(others, urgent) {
				p.Release()
			}
			if len(s.used) != 0 {
				t.Errorf("still in use are %v", s.used)
			}
		})
	}
}

func TestOneHostFillsNoNamespace(t *testing.T) {
	s := &Slots{}
	for _, u := range []Urgency{Ordinary, DueExchange} {
		fill(s, u, func(int) (string, string) { return "team", "https://hangs.example.com/token" })
		if p := s.Pass(named("team", fmt.Sprint(u))); !p.Take("https://other.example.com/token", u, epoch) {
			t.Errorf("with urgency %d nobody else of the namespace gets a slot", u)
		}
	}
}

func TestWhatTurnsToOtherWorkCountsAsSuch(t *testing.T) {
	const url = "https://mcp.example.com"
	s := &Slots{}
	p := s.Pass(named("late", "c"))
	if !p.Take(url, DueExchange, epoch) {
		t.Fatal("no slot")
	}
	fill(s, Ordinary, func(i int) (string, string) { return fmt.Sprint("ns-", i), url })
	if p.Take(url, Ordinary, epoch) {
		t.Error("a seventh asks the host for other work")
	}
	if !p.Take(url, DueExchange, epoch) {
		t.Error("what it holds is lost")
	}
	p.Release()
	if got := s.used[resource{host: "mcp.example.com:443"}]; got != (usage{all: 6, ordinary: 6}) {
		t.Errorf("in use are %+v", got)
	}
}

func TestACodeIsWokenFirstThenRefreshesByDeadlineThenTheOthersInOrder(t *testing.T) {
	const url = "https://slow.example.com"
	s := &Slots{}
	var woken []string
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn.Name) })
	passes := slices.Concat(fill(s, Ordinary, func(i int) (string, string) { return fmt.Sprint("ns-", i), url }),
		fill(s, DueExchange, func(i int) (string, string) { return fmt.Sprint("ns-", i), url }))
	s.waiting = queues{} // of those that did not fit in
	for _, waiting := range []struct {
		name string
		u    Urgency
	}{
		{"new 1", Ordinary}, {"failed", RefreshUrgency(epoch, true)}, {"in an hour", refreshBy(time.Hour)},
		{"new 2", Ordinary},
		{"in a minute", refreshBy(time.Minute)}, {"code", DueExchange}, {"new 1", Ordinary}, {"new 3", Ordinary},
	} {
		waits(t, s, named("late", waiting.name), url, waiting.u)
	}
	for _, p := range passes {
		p.Release()
	}
	for i := 0; i < len(woken); i++ { // each who comes back makes room for another
		s.Pass(named("late", woken[i])).Release()
	}
	if want := []string{"code", "in a minute", "in an hour", "failed", "new 1", "new 2", "new 3"}; !slices.Equal(woken,
		want) {
		t.Errorf("woken are %q", woken)
	}
}

func TestWhoWaitsBecomesUrgentInItsQueue(t *testing.T) {
	const url = "https://slow.example.com"
	s := &Slots{}
	var woken []string
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn.Name) })
	passes := fillHost(t, s, url)
	for _, u := range []Urgency{Ordinary, DueExchange} {
		for _, name := range []string{"first", "second"} {
			if u == Ordinary || name == "second" {
				waits(t, s, named("late", name), url, u)
			}
		}
	}
	for _, p := range passes {
		p.Release()
	}
	if !slices.Equal(woken, []string{"second", "first"}) {
		t.Errorf("woken are %q", woken)
	}
}

func TestATurnThatIsNotUsedIsTheNextOnes(t *testing.T) {
	const url = "https://slow.example.com"
	s := &Slots{}
	var woken []string
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn.Name) })
	passes := fillHost(t, s, url)
	for _, name := range []string{"gone", "next"} {
		waits(t, s, named("late", name), url, Ordinary)
	}
	for _, p := range passes[:3] {
		p.Release()
	}
	s.Pass(named("late", "gone")).Release() // it has nothing to ask any more
	if !slices.Equal(woken, []string{"gone", "next"}) {
		t.Errorf("woken are %q", woken)
	}
}

func TestSpendsAtAHostThatHangsHoldNoReservedSlots(t *testing.T) {
	const hangs, well = "https://hangs.example.com/token", "https://well.example.com/token"
	for name, test := range map[string]struct {
		took     time.Duration
		under    bool // still under way
		after    time.Duration
		reserved bool
	}{
		"one took long":                    {took: hangsAfter},
		"one is under way for long":        {took: hangsAfter, under: true},
		"all were quick":                   {took: hangsAfter - 1, reserved: true},
		"one has begun":                    {took: hangsAfter - 1, under: true, reserved: true},
		"one took long, but long ago":      {took: hangsAfter, after: hangsFor, reserved: true},
		"one took long, shortly ago":       {took: hangsAfter, after: hangsFor - 1},
		"one is under way, and a long one": {took: time.Minute, under: true, after: hangsFor},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := &Slots{}, epoch
			first := s.Pass(named("first", "c"))
			if !first.Take(hangs, DueExchange, now) {
				t.Fatal("no slot")
			}
			end := first.Spend(hangs)
			now = now.Add(time.Hour) // what the API server takes is no sign
			first.Sending(now)
			now = now.Add(test.took)
			if !test.under {
				first.Answered(now)
				end()
				first.Release()
			}
			now = now.Add(test.after)
			for url, want := range map[string]bool{hangs: test.reserved, well: true} {
				p := s.Pass(named("team", url))
				if !p.Take(url, DueExchange, now) || p.held[resource{}] == want {
					t.Errorf("a spend at %s counts as other work: %t", url, p.held[resource{}])
				}
			}
		})
	}
}

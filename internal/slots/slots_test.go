package slots

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// fillHost fills all slots of a host from as many namespaces.
func fillHost(t *testing.T, s *Slots, url string) []*Pass {
	t.Helper()
	var out []*Pass
	for i := range maxSlots {
		p := s.Pass(named(fmt.Sprintf("ns-%d", i), "c"))
		if !p.Take(url, DueExchange, epoch) {
			t.Fatalf("only %d slots", i)
		}
		out = append(out, p)
	}
	return out
}

// waits has a connection find no slot, and wait in a queue from then on.
func waits(t *testing.T, s *Slots, conn types.NamespacedName, url string, u Urgency) {
	t.Helper()
	p := s.Pass(conn)
	if p.Take(url, u, epoch) {
		t.Fatalf("one more fits in: %s", conn)
	}
	p.Release()
}

// nothingIsLeft says that all slots were given back, and nobody waits.
func nothingIsLeft(t *testing.T, s *Slots) {
	t.Helper()
	if w := s.waiting; s.starving != nil || len(s.used)+len(s.granted)+len(w.by)+len(w.waiters)+len(w.namespaces)+
		w.virtualTime != 0 {
		t.Errorf("in use are %v, granted %v, waiting %v of %v", s.used, s.granted, w.waiters, w.namespaces)
	}
}

func TestAFullHostDelaysNoOther(t *testing.T) {
	s := &Slots{}
	passes := fillHost(t, s, "https://slow.example.com/mcp")
	late := s.Pass(named("late", "c"))
	if late.Take("https://slow.example.com/other?path", DueExchange, epoch) {
		t.Error("one more fits in")
	}
	if !s.Pass(named("late", "d")).Take("https://quick.example.com/mcp", DueExchange, epoch) {
		t.Error("another host is full too")
	}
	if !s.Pass(named("late", "e")).Take("https://slow.example.com:8443/mcp", DueExchange, epoch) {
		t.Error("another port is full too")
	}
	passes[0].Release()
	if !late.Take("https://slow.example.com/mcp", DueExchange, epoch) {
		t.Error("the slot that became free is lost")
	}
}

func TestAFullNamespaceDelaysNoOther(t *testing.T) {
	s := &Slots{}
	for i := range maxSlots {
		if !s.Pass(named("busy", fmt.Sprint(i))).Take(fmt.Sprintf("https://host-%d.example.com", i), DueExchange, epoch) {
			t.Fatalf("only %d slots", i)
		}
	}
	if s.Pass(named("busy", "more")).Take("https://free.example.com", DueExchange, epoch) {
		t.Error("one more fits in")
	}
	if !s.Pass(named("free", "c")).Take("https://free.example.com", DueExchange, epoch) {
		t.Error("another namespace is full too, or the refused one kept a slot of the host")
	}
}

func TestAHostIsFullInEverySpelling(t *testing.T) {
	s := &Slots{}
	fillHost(t, s, "https://mcp.example.com/mcp")
	fillHost(t, s, "https://[fd00::1]/mcp")
	for i, url := range []string{
		"https://MCP.Example.COM/mcp", "https://mcp.example.com:443/mcp", "https://mcp.example.com:/mcp",
		"https://mcp.example.com:0443/mcp",
		"https://mcp.example.com./mcp", "HTTPS://mcp.example.com/mcp", "https://ｍｃｐ.example.com/mcp",
		"https://user@mcp.example.com/mcp",
		"https://[fd00:0:0::0001]/mcp", "https://[FD00::1]:443/mcp", "https://[fd00::1%25eth0]/mcp",
	} {
		if s.Pass(named("late", fmt.Sprint(i))).Take(url, DueExchange, epoch) {
			t.Errorf("%s finds a slot", url)
		}
	}
}

func TestAChainHoldsTheSlotsOfOneHostAtATime(t *testing.T) {
	s := &Slots{}
	var woken []types.NamespacedName
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn) })
	passes := fillHost(t, s, "https://as.example.com/token")
	waits(t, s, named("late", "c"), "https://as.example.com/token", DueExchange)
	passes[0].MoveTo("https://as.example.com/token", epoch)
	passes[0].MoveTo("https://idp.example.com/token", epoch)
	if !passes[0].Take("https://idp.example.com/token", Ordinary, epoch) ||
		!slices.Equal(woken, []types.NamespacedName{named("late", "c")}) {
		t.Fatalf("woken are %v", woken)
	}
	if !s.Pass(named("late", "c")).Take("https://as.example.com/token", DueExchange, epoch) {
		t.Error("the slot that was given back is lost")
	}
	passes[0].Release()
	if n := s.used[resource{host: "idp.example.com:443"}].all + s.used[resource{namespace: "ns-0"}].all; n != 0 {
		t.Errorf("%d slots were not given back", n)
	}
}

func TestTwoProbesAtOnceAreAllThatTheProcessMakes(t *testing.T) {
	s := &Slots{}
	var woken []types.NamespacedName
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn) })
	probe := func(i int) (*Pass, bool) {
		p := s.Pass(named(fmt.Sprintf("ns-%d", i), "c"))
		return p, p.TakeProbe(fmt.Sprintf("https://host-%d.example.com/mcp", i))
	}
	first, is := probe(0)
	if _, too := probe(1); !is || !too {
		t.Fatal("not even two fit in")
	}
	waits, is := probe(2)
	if is {
		t.Fatal("a third fits in, at another host and for another namespace")
	}
	if !s.Pass(named("ns-2", "other")).Take("https://host-2.example.com/token", Ordinary, epoch) {
		t.Error("a probe that waits holds up other work")
	}
	waits.Release()
	first.Release()
	if !slices.Equal(woken, []types.NamespacedName{named("ns-2", "c")}) {
		t.Errorf("woken are %v", woken)
	}
	if _, is := probe(2); !is {
		t.Error("the place that became free is lost")
	}
}

func TestAReconcileTakesEachSlotOnceAndGivesAllBack(t *testing.T) {
	s := &Slots{}
	p := s.Pass(named("team", "c"))
	for range 2 * maxSlots {
		if !p.Take("https://mcp.example.com/mcp", DueExchange, epoch) || !p.Take("https://login.example.com/token",
			DueExchange, epoch) {
			t.Fatal("a reconcile waits for itself")
		}
	}
	if len(s.used) != 6 {
		t.Errorf("in use are %v", s.used)
	}
	p.Release()
	p.Release()
	if len(s.used) != 0 {
		t.Errorf("still in use are %v", s.used)
	}
}

func TestAURLThatCannotBeParsedHasASlotToo(t *testing.T) {
	s := &Slots{}
	if p := s.Pass(named("team", "c")); !p.Take("://\x00", DueExchange, epoch) || len(s.used) != 4 {
		t.Errorf("in use are %v", s.used)
	}
}

func TestWhoFoundNoSlotIsWokenInOrder(t *testing.T) {
	s := &Slots{}
	var woken []types.NamespacedName
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn) })
	const url = "https://slow.example.com/mcp"
	passes := fillHost(t, s, url)
	first, second, third := named("late", "1"), named("late", "2"), named("late", "3")
	for _, conn := range []types.NamespacedName{first, second, first, third} {
		waits(t, s, conn, url, DueExchange)
	}
	for _, p := range passes {
		p.Release()
	}
	if !slices.Equal(woken, []types.NamespacedName{first, second, third}) {
		t.Errorf("woken are %v", woken)
	}
	if held := s.used[resource{host: mcpoauth.Host(url)}].all; held != 3 {
		t.Errorf("%d slots are kept for the three", held)
	}
	for _, conn := range woken {
		s.Pass(conn).Release()
	}
	nothingIsLeft(t, s)
}

func TestASlotIsKeptForWhoWasWokenForIt(t *testing.T) {
	s := &Slots{}
	s.SetWake(func(types.NamespacedName, Urgency) {})
	const url = "https://slow.example.com/mcp"
	passes := fillHost(t, s, url)
	waits(t, s, named("late", "1"), url, DueExchange)
	passes[0].Release() // wakes it
	if s.Pass(named("later", "2")).Take(url, DueExchange, epoch) {
		t.Error("somebody else took it")
	}
	if p := s.Pass(named("late", "1")); !p.Granted() || !p.Take(url, DueExchange, epoch) {
		t.Error("the slot is lost")
	}
}

func TestWhoHasBeenServedOrWantsNothingIsNotWoken(t *testing.T) {
	for name, then := range map[string]func(*Pass){
		"after a pass that got the slot": func(p *Pass) {
			_ = p.Take("https://other.example.com/token", DueExchange, epoch)
		},
		"after a pass that asked for no slot": func(*Pass) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Slots{}
			var woken []types.NamespacedName
			s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn) })
			const url = "https://slow.example.com/mcp"
			passes := fillHost(t, s, url)
			first, second := named("late", "1"), named("late", "2")
			waits(t, s, first, url, DueExchange)
			waits(t, s, second, url, DueExchange)
			p := s.Pass(first)
			then(p)
			passes[0].Release()
			p.Release()
			passes[1].Release()
			if !slices.Equal(woken, []types.NamespacedName{second}) {
				t.Errorf("woken are %v", woken)
			}
		})
	}
}

// Two who each need both of two full hosts would go round for ever if each kept one while it waits for the other.
func TestWhoNeedsTwoHostsHoldsNoneWhileItWaitsAndGetsBoth(t *testing.T) {
	const idp, as = "https://idp.example.com/token", "https://as.example.com/token"
	s := &Slots{}
	var woken []types.NamespacedName
	s.SetWake(func(conn types.NamespacedName, _ Urgency) { woken = append(woken, conn) })
	atIDP, atAS := fillHost(t, s, idp), fillHost(t, s, as)
	atAS[0].Release()
	p := s.Pass(named("late", "both"))
	if !p.Take(as, Ordinary, epoch) && !p.Take(as, DueExchange, epoch) || p.Take(idp, DueExchange, epoch) {
		t.Fatal("the first is full, or the second is not")
	}
	p.Release()
	waits(t, s, named("late", "other"), idp, refreshBy(0)) // less urgent
	if p := s.Pass(named("quick", "c")); !p.Take(as, DueExchange, epoch) {
		t.Fatal("it holds one while it waits for the other")
	}
	atIDP[0].Release()
	if !slices.Equal(woken, []types.NamespacedName{named("late", "other")}) {
		t.Fatalf("woken are %v, but as is full again", woken)
	}
	atIDP[1].Release()
	atAS[1].Release()
	if len(woken) != 2 {
		t.Fatalf("woken are %v", woken)
	}
	if p := s.Pass(named("late", "both")); !p.Take(as, DueExchange, epoch) || !p.Take(idp, DueExchange, epoch) {
		t.Error("it has not got both")
	}
}

func TestSlotsAreCountedUnderConcurrency(t *testing.T) {
	s := &Slots{}
	var mu sync.Mutex
	under, most := 0, 0
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			p := s.Pass(named("team", fmt.Sprint(i)))
			if !p.Take("https://mcp.example.com", DueExchange, epoch) {
				return
			}
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			mu.Lock()
			under--
			mu.Unlock()
			p.Release()
		})
	}
	wait.Wait()
	if most > maxSlots || len(s.used) != 0 {
		t.Errorf("%d at once, still in use %v", most, s.used)
	}
}

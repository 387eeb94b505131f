package controller

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// taken fills all slots of a host from as many namespaces.
func taken(t *testing.T, s *slots, url string) []*pass {
	t.Helper()
	var out []*pass
	for i := range maxSlots {
		p := s.pass(named(fmt.Sprintf("ns-%d", i), "c"))
		if !p.take(url, dueExchange, epoch) {
			t.Fatalf("only %d slots", i)
		}
		out = append(out, p)
	}
	return out
}

// stands has a connection find no slot, and stand in line from then on.
func stands(t *testing.T, s *slots, conn types.NamespacedName, url string, u urgency) {
	t.Helper()
	p := s.pass(conn)
	if p.take(url, u, epoch) {
		t.Fatalf("one more fits in: %s", conn)
	}
	p.release()
}

// nothingIsLeft says that all slots were given back, and nobody waits.
func nothingIsLeft(t *testing.T, s *slots) {
	t.Helper()
	if w := s.waiting; s.favoured != nil || len(s.used)+len(s.granted)+len(w.by)+len(w.waiters)+len(w.tenants)+w.turn != 0 {
		t.Errorf("in use are %v, granted %v, in line %v of %v", s.used, s.granted, w.waiters, w.tenants)
	}
}

func TestAFullHostDelaysNoOther(t *testing.T) {
	s := &slots{}
	passes := taken(t, s, "https://slow.example.com/mcp")
	late := s.pass(named("late", "c"))
	if late.take("https://slow.example.com/other?path", dueExchange, epoch) {
		t.Error("one more fits in")
	}
	if !s.pass(named("late", "d")).take("https://quick.example.com/mcp", dueExchange, epoch) {
		t.Error("another host is full too")
	}
	if !s.pass(named("late", "e")).take("https://slow.example.com:8443/mcp", dueExchange, epoch) {
		t.Error("another port is full too")
	}
	passes[0].release()
	if !late.take("https://slow.example.com/mcp", dueExchange, epoch) {
		t.Error("the slot that became free is lost")
	}
}

func TestAFullNamespaceDelaysNoOther(t *testing.T) {
	s := &slots{}
	for i := range maxSlots {
		if !s.pass(named("busy", fmt.Sprint(i))).take(fmt.Sprintf("https://host-%d.example.com", i), dueExchange, epoch) {
			t.Fatalf("only %d slots", i)
		}
	}
	if s.pass(named("busy", "more")).take("https://free.example.com", dueExchange, epoch) {
		t.Error("one more fits in")
	}
	if !s.pass(named("free", "c")).take("https://free.example.com", dueExchange, epoch) {
		t.Error("another namespace is full too, or the refused one kept a slot of the host")
	}
}

func TestAHostIsFullInEverySpelling(t *testing.T) {
	s := &slots{}
	taken(t, s, "https://mcp.example.com/mcp")
	taken(t, s, "https://[fd00::1]/mcp")
	for i, url := range []string{
		"https://MCP.Example.COM/mcp", "https://mcp.example.com:443/mcp", "https://mcp.example.com:/mcp", "https://mcp.example.com:0443/mcp",
		"https://mcp.example.com./mcp", "HTTPS://mcp.example.com/mcp", "https://ｍｃｐ.example.com/mcp", "https://user@mcp.example.com/mcp",
		"https://[fd00:0:0::0001]/mcp", "https://[FD00::1]:443/mcp", "https://[fd00::1%25eth0]/mcp",
	} {
		if s.pass(named("late", fmt.Sprint(i))).take(url, dueExchange, epoch) {
			t.Errorf("%s finds a slot", url)
		}
	}
}

func TestAChainHoldsTheSlotsOfOneHostAtATime(t *testing.T) {
	s := &slots{}
	var woken []types.NamespacedName
	s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn) })
	passes := taken(t, s, "https://as.example.com/token")
	stands(t, s, named("late", "c"), "https://as.example.com/token", dueExchange)
	passes[0].moveOn("https://as.example.com/token", epoch)
	passes[0].moveOn("https://idp.example.com/token", epoch)
	if !passes[0].take("https://idp.example.com/token", ordinary, epoch) || !slices.Equal(woken, []types.NamespacedName{named("late", "c")}) {
		t.Fatalf("woken are %v", woken)
	}
	if !s.pass(named("late", "c")).take("https://as.example.com/token", dueExchange, epoch) {
		t.Error("the slot that was given back is lost")
	}
	passes[0].release()
	if n := s.used[resource{host: "idp.example.com:443"}].all + s.used[resource{namespace: "ns-0"}].all; n != 0 {
		t.Errorf("%d slots were not given back", n)
	}
}

func TestTwoProbesAtOnceAreAllThatTheProcessMakes(t *testing.T) {
	s := &slots{}
	var woken []types.NamespacedName
	s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn) })
	probe := func(i int) (*pass, bool) {
		p := s.pass(named(fmt.Sprintf("ns-%d", i), "c"))
		return p, p.takeProbe(fmt.Sprintf("https://host-%d.example.com/mcp", i))
	}
	first, is := probe(0)
	if _, too := probe(1); !is || !too {
		t.Fatal("not even two fit in")
	}
	waits, is := probe(2)
	if is {
		t.Fatal("a third fits in, at another host and for another namespace")
	}
	if !s.pass(named("ns-2", "other")).take("https://host-2.example.com/token", ordinary, epoch) {
		t.Error("a probe that waits holds up other work")
	}
	waits.release()
	first.release()
	if !slices.Equal(woken, []types.NamespacedName{named("ns-2", "c")}) {
		t.Errorf("woken are %v", woken)
	}
	if _, is := probe(2); !is {
		t.Error("the place that became free is lost")
	}
}

func TestAReconcileTakesEachSlotOnceAndGivesAllBack(t *testing.T) {
	s := &slots{}
	p := s.pass(named("team", "c"))
	for range 2 * maxSlots {
		if !p.take("https://mcp.example.com/mcp", dueExchange, epoch) || !p.take("https://login.example.com/token", dueExchange, epoch) {
			t.Fatal("a reconcile waits for itself")
		}
	}
	if len(s.used) != 6 {
		t.Errorf("in use are %v", s.used)
	}
	p.release()
	p.release()
	if len(s.used) != 0 {
		t.Errorf("still in use are %v", s.used)
	}
}

func TestAURLThatCannotBeParsedHasASlotToo(t *testing.T) {
	s := &slots{}
	if p := s.pass(named("team", "c")); !p.take("://\x00", dueExchange, epoch) || len(s.used) != 4 {
		t.Errorf("in use are %v", s.used)
	}
}

func TestWhoFoundNoSlotIsWokenInOrder(t *testing.T) {
	s := &slots{}
	var woken []types.NamespacedName
	s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn) })
	const url = "https://slow.example.com/mcp"
	passes := taken(t, s, url)
	first, second, third := named("late", "1"), named("late", "2"), named("late", "3")
	for _, conn := range []types.NamespacedName{first, second, first, third} {
		stands(t, s, conn, url, dueExchange)
	}
	for _, p := range passes {
		p.release()
	}
	if !slices.Equal(woken, []types.NamespacedName{first, second, third}) {
		t.Errorf("woken are %v", woken)
	}
	if held := s.used[resource{host: mcpoauth.Host(url)}].all; held != 3 {
		t.Errorf("%d slots are kept for the three", held)
	}
	for _, conn := range woken {
		s.pass(conn).release()
	}
	nothingIsLeft(t, s)
}

func TestASlotIsKeptForWhoWasWokenForIt(t *testing.T) {
	s := &slots{}
	s.wakeBy(func(types.NamespacedName, urgency) {})
	const url = "https://slow.example.com/mcp"
	passes := taken(t, s, url)
	stands(t, s, named("late", "1"), url, dueExchange)
	passes[0].release() // wakes it
	if s.pass(named("later", "2")).take(url, dueExchange, epoch) {
		t.Error("somebody else took it")
	}
	if p := s.pass(named("late", "1")); !p.called() || !p.take(url, dueExchange, epoch) {
		t.Error("the slot is lost")
	}
}

func TestWhoHasBeenServedOrWantsNothingIsNotWoken(t *testing.T) {
	for name, then := range map[string]func(*pass){
		"after a pass that got the slot":      func(p *pass) { _ = p.take("https://other.example.com/token", dueExchange, epoch) },
		"after a pass that asked for no slot": func(*pass) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &slots{}
			var woken []types.NamespacedName
			s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn) })
			const url = "https://slow.example.com/mcp"
			passes := taken(t, s, url)
			first, second := named("late", "1"), named("late", "2")
			stands(t, s, first, url, dueExchange)
			stands(t, s, second, url, dueExchange)
			p := s.pass(first)
			then(p)
			passes[0].release()
			p.release()
			passes[1].release()
			if !slices.Equal(woken, []types.NamespacedName{second}) {
				t.Errorf("woken are %v", woken)
			}
		})
	}
}

// Two who each need both of two full hosts would go round for ever if each kept one while it waits for the other.
func TestWhoNeedsTwoHostsHoldsNoneWhileItWaitsAndGetsBoth(t *testing.T) {
	const idp, as = "https://idp.example.com/token", "https://as.example.com/token"
	s := &slots{}
	var woken []types.NamespacedName
	s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn) })
	atIDP, atAS := taken(t, s, idp), taken(t, s, as)
	atAS[0].release()
	p := s.pass(named("late", "both"))
	if !p.take(as, ordinary, epoch) && !p.take(as, dueExchange, epoch) || p.take(idp, dueExchange, epoch) {
		t.Fatal("the first is full, or the second is not")
	}
	p.release()
	stands(t, s, named("late", "other"), idp, refreshBy(0)) // less urgent
	if p := s.pass(named("quick", "c")); !p.take(as, dueExchange, epoch) {
		t.Fatal("it holds one while it waits for the other")
	}
	atIDP[0].release()
	if !slices.Equal(woken, []types.NamespacedName{named("late", "other")}) {
		t.Fatalf("woken are %v, but as is full again", woken)
	}
	atIDP[1].release()
	atAS[1].release()
	if len(woken) != 2 {
		t.Fatalf("woken are %v", woken)
	}
	if p := s.pass(named("late", "both")); !p.take(as, dueExchange, epoch) || !p.take(idp, dueExchange, epoch) {
		t.Error("it has not got both")
	}
}

func TestSlotsAreCountedUnderConcurrency(t *testing.T) {
	s := &slots{}
	var mu sync.Mutex
	under, most := 0, 0
	var wait sync.WaitGroup
	for i := range 200 {
		wait.Go(func() {
			p := s.pass(named("team", fmt.Sprint(i)))
			if !p.take("https://mcp.example.com", dueExchange, epoch) {
				return
			}
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			mu.Lock()
			under--
			mu.Unlock()
			p.release()
		})
	}
	wait.Wait()
	if most > maxSlots || len(s.used) != 0 {
		t.Errorf("%d at once, still in use %v", most, s.used)
	}
}

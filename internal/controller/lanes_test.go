package controller

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// stand puts connections into a lane: "a1" is the connection 1 of the namespace a. The later they are named, the more urgent they are.
func stand(l *lane, from int, conns string) {
	for i, conn := range strings.Fields(conns) {
		l.push(&waiter{conn: named(conn[:1], conn[1:]), urgency: urgency(from + i), number: from + i})
	}
}

// served takes all but left out of a lane, in order.
func served(l *lane, n int) string {
	var out []string
	for range n {
		w := l.pop(func(w *waiter) bool { return w.conn.Name != "gone" })
		if w == nil {
			break
		}
		out = append(out, w.conn.Namespace+w.conn.Name)
	}
	return strings.Join(out, " ")
}

func TestNamespacesThatWaitAreServedInTurn(t *testing.T) {
	const all = 100
	for name, test := range map[string]struct{ before, served, then, want string }{
		"one namespace by urgency":                            {before: "a1 a2 a3", want: "a3 a2 a1"},
		"several with one each by urgency":                    {before: "a1 b1 c1", want: "c1 b1 a1"},
		"one with many does not hold up one with few":         {before: "b1 a1 a2 a3 a4", want: "a4 b1 a3 a2 a1"},
		"who comes later has the turn of who was served last": {before: "a1 a2 a3 a4", served: "a4 a3", then: "b1", want: "b1 a2 a1"},
		"who was away has saved no turns":                     {before: "a1 a2 a3 a4 b1", served: "b1 a4 a3 a2", then: "b2 b3", want: "b3 a1 b2"},
		"who was served and comes back has used its turn":     {before: "b1 a1", served: "a1", then: "a2", want: "b1 a2"},
		"who has left is passed over and costs no turn":       {before: "b1 a1 a2 agone bgone", want: "a2 b1 a1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lane{}
			stand(l, 0, test.before)
			if got := served(l, len(strings.Fields(test.served))); got != test.served {
				t.Fatalf("first came %s, want %s", got, test.served)
			}
			stand(l, -10, test.then) // less urgent than all before
			if got := served(l, all); got != test.want {
				t.Errorf("served in the order %s, want %s", got, test.want)
			}
			if len(l.by) != 0 || l.waiting.Len() != 0 {
				t.Errorf("somebody is left: %v", l.by)
			}
		})
	}
}

func TestCodesGoBeforeRefreshesButNotWithoutEnd(t *testing.T) {
	s := &slots{}
	var woken []string
	s.wakeBy(func(conn types.NamespacedName, _ urgency) { woken = append(woken, conn.Name) })
	const url = "https://slow.example.com/mcp"
	passes := taken(t, s, url)
	_ = s.pass(named("late", "refresh")).take(url, byDeadline(epoch, epoch, false), epoch)
	for _, name := range []string{"1", "2", "3", "4", "5"} {
		_ = s.pass(named("late", name)).take(url, dueExchange, epoch)
	}
	for _, p := range passes[:6] {
		p.release()
	}
	if got := strings.Join(woken, " "); got != "1 2 3 refresh 4 5" {
		t.Errorf("woken are %s", got)
	}
}

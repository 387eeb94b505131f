package slots

import (
	"slices"
	"strings"
	"testing"
)

// stand puts connections in line: "a1" is the connection 1 of the namespace a. The later one is named, the more urgent it is. Those of
// uneven numbers want another host than the others.
func stand(l *lines, from int, conns string) {
	for i, conn := range strings.Fields(conns) {
		host := "even"
		if strings.ContainsAny(conn[1:], "13579") {
			host = "uneven"
		}
		l.join(&waiter{conn: named(conn[:1], conn[1:]), wish: wish{namespace: conn[:1], host: host}, urgency: Urgency(from + i)}, nil)
	}
}

// servedOf takes up to n who wait for hosts out of their lines, in order; without hosts, whoever waits.
func servedOf(l *lines, n int, hosts string) string {
	var out []string
	for range n {
		w := l.first(func(needs []resource, _ bool) bool {
			return hosts == "" || slices.Contains(needs, resource{host: hosts})
		})
		if w == nil {
			break
		}
		l.serve(w)
		out = append(out, w.conn.Namespace+w.conn.Name)
	}
	return strings.Join(out, " ")
}

func TestNamespacesThatWaitAreServedInTurn(t *testing.T) {
	const all = 100
	for name, test := range map[string]struct{ before, host, served, then, leaves, want string }{
		"one namespace by urgency":                            {before: "a1 a2 a3", want: "a3 a2 a1"},
		"several with one each by urgency":                    {before: "a1 b1 c1", want: "c1 b1 a1"},
		"one with many does not hold up one with few":         {before: "b1 a1 a2 a3 a4", want: "a4 b1 a3 a2 a1"},
		"who comes later has the turn of who was served last": {before: "a1 a2 a3 a4", served: "a4 a3", then: "b1", want: "b1 a2 a1"},
		"who was away has saved no turns":                     {before: "a1 a2 a3 a4 b1", served: "b1 a4 a3 a2", then: "b2 b3", want: "b3 a1 b2"},
		"who waited for what was full has saved no turns":     {before: "b1 a2 a4 a6 a8", host: "even", served: "a8 a6 a4", then: "b2 b4", want: "b1 a2 b4 b2"},
		"who was served and comes back has used its turn":     {before: "b1 a1", served: "a1", then: "a2", want: "b1 a2"},
		"who has left is passed over and costs no turn":       {before: "b1 a1 a2 a3 b3", leaves: "a3 b3", want: "a2 b1 a1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lines{}
			stand(l, 0, test.before)
			for _, conn := range strings.Fields(test.leaves) {
				l.leave(named(conn[:1], conn[1:]))
			}
			if got := servedOf(l, len(strings.Fields(test.served)), test.host); got != test.served {
				t.Fatalf("first came %s, want %s", got, test.served)
			}
			stand(l, -10, test.then) // less urgent than all before
			if got := servedOf(l, all, ""); got != test.want {
				t.Errorf("served in the order %s, want %s", got, test.want)
			}
			if len(l.by)+len(l.waiters)+len(l.tenants)+l.turn != 0 {
				t.Errorf("somebody is left: %v", l.waiters)
			}
		})
	}
}

func TestWhoStandsInLineAgainKeepsItsPlace(t *testing.T) {
	l := &lines{}
	stand(l, 0, "a1")
	stand(l, 0, "a3")
	before := l.leave(named("a", "1"))
	stand(l, 0, "a5")
	l.join(&waiter{conn: named("a", "1"), wish: before.wish}, before)
	if got := servedOf(l, 3, ""); got != "a1 a3 a5" {
		t.Errorf("served in the order %s", got)
	}
}

package slots

import (
	"slices"
	"strings"
	"testing"
)

// enqueueAll puts connections into queues: "a1" is the connection 1 of the namespace a. The later one is
// named, the more urgent it is. Those of uneven numbers want another host than the others.
func enqueueAll(q *queues, from int, conns string) {
	for i, conn := range strings.Fields(conns) {
		host := "even"
		if strings.ContainsAny(conn[1:], "13579") {
			host = "uneven"
		}
		q.enqueue(&waiter{conn: named(conn[:1], conn[1:]), need: need{namespace: conn[:1], host: host},
			urgency: Urgency(from + i)}, nil)
	}
}

// servedOf takes up to n who wait for hosts out of their queues, in order; without hosts, whoever waits.
func servedOf(q *queues, n int, hosts string) string {
	var out []string
	for range n {
		w := q.next(func(needs []resource, _ bool) bool {
			return hosts == "" || slices.Contains(needs, resource{host: hosts})
		})
		if w == nil {
			break
		}
		q.serve(w)
		out = append(out, w.conn.Namespace+w.conn.Name)
	}
	return strings.Join(out, " ")
}

func TestNamespacesThatWaitAreServedInTurn(t *testing.T) {
	const all = 100
	for name, test := range map[string]struct{ before, host, served, then, leaves, want string }{
		"one namespace by urgency":                    {before: "a1 a2 a3", want: "a3 a2 a1"},
		"several with one each by urgency":            {before: "a1 b1 c1", want: "c1 b1 a1"},
		"one with many does not hold up one with few": {before: "b1 a1 a2 a3 a4", want: "a4 b1 a3 a2 a1"},
		"who comes later has the turn of who was served last": {before: "a1 a2 a3 a4", served: "a4 a3", then: "b1",
			want: "b1 a2 a1"},
		"who was away has saved no turns": {before: "a1 a2 a3 a4 b1", served: "b1 a4 a3 a2", then: "b2 b3", want: "b3 a1 b2"},
		"who waited for what was full has saved no turns": {before: "b1 a2 a4 a6 a8", host: "even", served: "a8 a6 a4",
			then: "b2 b4", want: "b1 a2 b4 b2"},
		"who was served and comes back has used its turn": {before: "b1 a1", served: "a1", then: "a2", want: "b1 a2"},
		"who has left is passed over and costs no turn":   {before: "b1 a1 a2 a3 b3", leaves: "a3 b3", want: "a2 b1 a1"},
	} {
		t.Run(name, func(t *testing.T) {
			q := &queues{}
			enqueueAll(q, 0, test.before)
			for _, conn := range strings.Fields(test.leaves) {
				q.remove(named(conn[:1], conn[1:]))
			}
			if got := servedOf(q, len(strings.Fields(test.served)), test.host); got != test.served {
				t.Fatalf("first came %s, want %s", got, test.served)
			}
			enqueueAll(q, -10, test.then) // less urgent than all before
			if got := servedOf(q, all, ""); got != test.want {
				t.Errorf("served in the order %s, want %s", got, test.want)
			}
			if len(q.by)+len(q.waiters)+len(q.namespaces)+q.virtualTime != 0 {
				t.Errorf("somebody is left: %v", q.waiters)
			}
		})
	}
}

func TestWhoQueuesAgainKeepsItsPlace(t *testing.T) {
	q := &queues{}
	enqueueAll(q, 0, "a1")
	enqueueAll(q, 0, "a3")
	before := q.remove(named("a", "1"))
	enqueueAll(q, 0, "a5")
	q.enqueue(&waiter{conn: named("a", "1"), need: before.need}, before)
	if got := servedOf(q, 3, ""); got != "a1 a3 a5" {
		t.Errorf("served in the order %s", got)
	}
}

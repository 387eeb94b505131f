package slots

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// flood is a model of the operator with a stepped clock: the real slots, and a queue and workers that do what
// controller-runtime does. Each job is one reconcile that asks one URL.
type flood struct {
	t       *testing.T
	s       *Slots
	now     time.Time
	queue   []queued
	count   int
	running map[*running]bool
	jobs    map[types.NamespacedName]*job
}

// job is what a connection has to do.
type job struct {
	url string
	// and is another host that is needed at the same time; empty: none.
	and     string
	urgency Urgency
	takes   time.Duration
	due     time.Time
	// again has it asked for anew at once, for ever, as what fails is.
	again bool
	done  time.Time
}

type queued struct {
	conn    types.NamespacedName
	urgency Urgency
	number  int
}

type running struct {
	conn  types.NamespacedName
	pass  *Pass
	until time.Time
	end   func()
}

const (
	floodWorkers = 32
	// What requests take at most, as internal/claims bounds them, and how often it refreshes at most.
	sendBy             = 10 * time.Second
	responseTimeout    = 30 * time.Second
	discoverTimeout    = time.Minute
	minRefreshInterval = 5 * time.Second
)

func newFlood(t *testing.T) *flood {
	f := &flood{t: t, s: &Slots{Workers: floodWorkers}, now: epoch, running: map[*running]bool{},
		jobs: map[types.NamespacedName]*job{}}
	f.s.SetWake(f.add)
	return f
}

// add puts a connection into the queue, once.
func (f *flood) add(conn types.NamespacedName, u Urgency) {
	if i := slices.IndexFunc(f.queue, func(q queued) bool { return q.conn == conn }); i >= 0 {
		f.queue[i].urgency = max(f.queue[i].urgency, u)
		return
	}
	f.queue = append(f.queue, queued{conn, u, f.count})
	f.count++
}

func (f *flood) ask(conn types.NamespacedName, j *job) *job {
	j.due = f.now
	f.jobs[conn] = j
	f.add(conn, j.urgency)
	return j
}

// work looks at all that is in the queue, what comes first before: who cannot begin takes no time, and one of
// the uncounted workers is always free.
func (f *flood) work() {
	for len(f.queue) > 0 {
		first := slices.MinFunc(f.queue, func(a, b queued) int {
			return cmp.Or(cmp.Compare(b.urgency, a.urgency), cmp.Compare(a.number, b.number))
		})
		f.queue = slices.DeleteFunc(f.queue, func(q queued) bool { return q == first })
		f.reconcile(first.conn)
	}
}

func (f *flood) reconcile(conn types.NamespacedName) {
	j, p, now := f.jobs[conn], f.s.Pass(conn), f.now
	if j == nil || !p.Enter(j.urgency) || !p.Take(j.url, j.urgency, now) ||
		(j.and != "" && !p.Take(j.and, j.urgency, now)) {
		p.Release()
		return
	}
	r := &running{conn: conn, pass: p, until: now.Add(j.takes), end: func() {}}
	if j.urgency.Reserved() {
		end := p.Spend(j.url)
		p.Sending(now)
		r.end = func() { p.Answered(f.now); end() }
	}
	f.running[r] = true
}

// tick lets a second go by.
func (f *flood) tick() {
	f.now = f.now.Add(time.Second)
	now := f.now
	var over []*running
	for r := range f.running {
		if !r.until.After(now) {
			over = append(over, r)
		}
	}
	slices.SortFunc(over, func(a, b *running) int { return cmp.Compare(a.conn.String(), b.conn.String()) })
	for _, r := range over {
		delete(f.running, r)
		r.end()
		r.pass.Release()
		j := f.jobs[r.conn]
		if j.done = now; j.again {
			f.add(r.conn, j.urgency)
			continue
		}
		delete(f.jobs, r.conn)
	}
	f.work()
}

func TestAFloodDelaysNoCodeAndNoDueRefresh(t *testing.T) {
	const hangs = responseTimeout
	for name, start := range map[string]func(f *flood){
		"of new connections at one host that answers": func(f *flood) {
			for i := range 3000 {
				f.ask(named("team", fmt.Sprint("new-", i)), &job{url: "https://well.example.com/mcp", takes: time.Second})
			}
		},
		"of new connections at a host that hangs": func(f *flood) {
			for i := range 1000 {
				f.ask(named("team", fmt.Sprint("new-", i)), &job{url: "https://hangs.example.com/mcp", takes: discoverTimeout})
			}
		},
		"of new connections at many hosts that hang, of many namespaces": func(f *flood) {
			for i := range 1000 {
				f.ask(named(fmt.Sprint("ns-", i%40), fmt.Sprint("new-", i)),
					&job{url: fmt.Sprintf("https://hangs-%d.example.com/mcp", i%50), takes: discoverTimeout})
			}
		},
		"of deletions at a host that hangs": func(f *flood) {
			for i := range 1000 {
				f.ask(named("team", fmt.Sprint("deleted-", i)), &job{url: "https://hangs.example.com/revoke", takes: 2 * sendBy})
			}
		},
		"of probes that hang at the very host": func(f *flood) {
			for i := range 1000 {
				f.ask(named("team", fmt.Sprint("probe-", i)), &job{url: "https://well.example.com/mcp", takes: hangs, again: true})
			}
		},
		"of refreshes that fail at a host that hangs": func(f *flood) {
			for i := range 200 {
				f.ask(named("team", fmt.Sprint("fails-", i)),
					&job{url: "https://hangs.example.com/token", urgency: RefreshUrgency(epoch, true), takes: hangs, again: true})
			}
		},
		"of refreshes that fail at the very host": func(f *flood) {
			for i := range 200 {
				f.ask(named("team", fmt.Sprint("fails-", i)), &job{url: "https://well.example.com/token",
					urgency: RefreshUrgency(epoch, true), takes: time.Second, again: true})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t)
			start(f)
			f.work()
			var urgent []*job
			for second := range 300 {
				f.tick()
				if second%3 > 0 {
					continue
				}
				urgent = append(urgent,
					f.ask(named("team", fmt.Sprint("code-", second)), &job{url: "https://well.example.com/token", urgency: DueExchange,
						takes: time.Second}),
					f.ask(named("team", fmt.Sprint("due-", second)), &job{url: "https://well.example.com/token",
						urgency: refreshBy(time.Hour + time.Duration(second)*time.Second), takes: time.Second}))
				f.work()
			}
			for range 10 {
				f.tick()
			}
			var worst time.Duration
			for _, j := range urgent {
				if j.done.IsZero() {
					t.Fatal("some were never done")
				}
				worst = max(worst, j.done.Sub(j.due)-j.takes)
			}
			if worst > 3*time.Second {
				t.Errorf("the worst waited %s", worst)
			}
		})
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	host := func(i int) string { return fmt.Sprintf("https://host-%d.example.com/mcp", i%5) }
	for name, test := range map[string]struct {
		job func(i int) *job
		// atOnce is how many can go on at a time: three namespaces with six each, or five hosts with six
		// ordinary ones or two hosts each.
		atOnce int
	}{
		"with one host each": {func(i int) *job { return &job{url: host(i), takes: time.Second} }, 18},
		"with two hosts each": {func(i int) *job {
			return &job{url: host(i), and: host(i + 1), takes: time.Second}
		}, 10},
		"with two hosts each, in any order": {func(i int) *job {
			return &job{url: host(i * 7), and: host(i*7 + 1 + i%4), takes: time.Second}
		}, 10},
		"with urgent work for two hosts": {func(i int) *job {
			return &job{url: host(i), and: host(i + 1), takes: time.Second, urgency: refreshBy(time.Hour)}
		}, 10},
		"with urgent work beside other work": {func(i int) *job {
			return &job{url: host(i), takes: time.Second, urgency: DueExchange * Urgency(i%2)}
		}, 18},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlood(t)
			for i := range 2000 {
				f.ask(named(fmt.Sprint("ns-", i%3), fmt.Sprint("new-", i)), test.job(i))
			}
			f.work()
			seconds := 0
			for ; len(f.jobs) > 0 && seconds < 1000; seconds++ {
				f.tick()
			}
			if len(f.jobs) > 0 {
				t.Errorf("after %d s %d are left", seconds, len(f.jobs))
			}
			nothingIsLeft(t, f.s)
			if seconds > 2*2000/test.atOnce {
				t.Errorf("it took %d s", seconds)
			}
		})
	}
}

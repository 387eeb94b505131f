package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// row is one kind of fault.
type row struct {
	name string
	// injected faults were got over, or cost a grant that is counted apart.
	injected, survived, apart int
}

// bound is a number that must be 0.
type bound struct {
	name  string
	count int
}

// table is the result of a run.
type table struct {
	mu   sync.Mutex
	rows []*row
	// counted apart, by grace and excuse.
	excused map[string]int

	doubleSpends, revoked, lost, wrong, removed, notReady, unclean bound
}

func newTable() *table {
	return &table{
		excused:      map[string]int{},
		doubleSpends: bound{name: "double spends"},
		revoked:      bound{name: "families revoked, those counted apart excluded"},
		lost:         bound{name: "grants lost otherwise"},
		wrong:        bound{name: "wrong tokens published"},
		removed:      bound{name: "published tokens removed while valid"},
		notReady:     bound{name: "connections not Ready after the faults"},
		unclean:      bound{name: "ends of a process with an unsaved answer"},
	}
}

// row returns that of a name.
func (t *table) row(name string) *row {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rows {
		if r.name == name {
			return r
		}
	}
	r := &row{name: name}
	t.rows = append(t.rows, r)
	return r
}

func (t *table) count(n *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*n++
}

// broken notes that a bound was broken.
func (t *table) broken(b *bound, format string, args ...any) {
	t.count(&b.count)
	harness.Stderr("BROKEN: %s: %s", b.name, fmt.Sprintf(format, args...))
}

// apart notes a grant whose loss nobody could have avoided.
func (t *table) apart(g grace, excuse string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.excused[fmt.Sprintf("grace %s: %s", g, excuse)]++
}

func (t *table) bounds() []*bound {
	return []*bound{&t.doubleSpends, &t.revoked, &t.lost, &t.wrong, &t.removed, &t.notReady, &t.unclean}
}

// failures is how often bounds were broken.
func (t *table) failures() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := 0
	for _, b := range t.bounds() {
		sum += b.count
	}
	return sum
}

func (t *table) print(out io.Writer, s settings, refreshes int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(out, "seed %d, %d connections, %d refreshes, %s\n\n", s.seed, s.connections, refreshes,
		took.Round(time.Second))
	_, _ = fmt.Fprintf(out, "%-44s %9s %9s %14s\n", "fault", "injected", "survived", "counted apart")
	for _, r := range t.rows {
		_, _ = fmt.Fprintf(out, "%-44s %9d %9d %14d\n", r.name, r.injected, r.survived, r.apart)
	}
	_, _ = fmt.Fprintln(out)
	for _, b := range t.bounds() {
		_, _ = fmt.Fprintf(out, "%-64s %d\n", b.name+" (must be 0)", b.count)
	}
	_, _ = fmt.Fprintln(out, "counted apart, families revoked that nobody could have kept:")
	for _, g := range graces {
		for _, excuse := range []string{lostAnswer, killed, takenOver} {
			key := fmt.Sprintf("grace %s: %s", g, excuse)
			if t.excused[key] > 0 || g == noGrace {
				_, _ = fmt.Fprintf(out, "  %-102s %d\n", key, t.excused[key])
			}
		}
	}
}

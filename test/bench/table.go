package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// print shows the figures as text.
func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("%d connections, %d server(s), %d namespace(s); %s; %s", r.N, r.Servers, r.Namespaces, r.Machine,
		r.Started.Format("2006-01-02"))
	line("")
	r.rates(line)
	line("")
	r.requests(line)
	line("")
	r.rest(line)
	line("")
	line("GOAL\tWANTED\tGOT\t")
	for _, g := range r.Goals {
		verdict := "met"
		if !g.Met {
			verdict = "MISSED"
		}
		line("%s\t%s\t%s\t%s", g.Name, g.Want, number(g.Got), verdict)
	}
	_ = w.Flush()
}

type liner func(format string, args ...any)

// rates shows throughput, CPU time and lateness.
func (r *report) rates(line liner) {
	cpu := func(c cpuUse, client string) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%.0f %%", number(c.MillisecondsPerUnit[client]),
			number(c.MillisecondsPerUnit[processAPIServer]),
			number(c.MillisecondsPerUnit[processEtcd]), number(c.sum(client)), c.OthersPercent)
	}
	line("RATE\tPER SECOND\tWRITES EACH\tCPU ms OF OPERATOR OR LOOP\tAPI SERVER\tETCD\tALL THREE\tOTHERS' CPU")
	line("provision to Ready\t%s\t%s\t%s", number(r.Provision.PerSecond), number(r.Provision.Traffic.Writes),
		cpu(r.Provision.CPU, processOperator))
	floor := func(name string, f floorFigures) {
		if f.PerSecond > 0 {
			line("  %s (%d at a time)\t%s\t%d\t%s", name, f.Concurrency, number(f.PerSecond), f.Writes, cpu(f.CPU, processBench))
		}
	}
	floor("floor, the same writes", r.Floor.ProvisionSame)
	floor("floor, the fewest writes", r.Floor.ProvisionFewest)
	line("refresh, all due at once\t%s\t%s\t%s", number(r.Refresh.Storm.PerSecond), number(r.Refresh.Storm.Traffic.Writes),
		cpu(r.Refresh.Storm.CPU, processOperator))
	floor("floor, the same writes", r.Floor.RefreshSame)
	floor("floor, the fewest writes", r.Floor.RefreshFewest)
	line("refresh, steady\t%s\t%s\t%s", number(r.Refresh.Steady.PerSecond), number(r.Refresh.Steady.Traffic.Writes),
		cpu(r.Refresh.Steady.CPU, processOperator))
	line("")
	line("LATENESS\tP50 ms\tP99 ms\tMAX ms\tLAST PUBLISHED AFTER\tEXPIRED")
	for _, p := range []struct {
		name string
		f    *phaseFigures
	}{{fmt.Sprintf("%d refreshes per second", r.Refresh.Rate), &r.Refresh.Steady}, {"all due at once", &r.Refresh.Storm}} {
		l := p.f.LatenessMilliseconds
		line("%s\t%s\t%s\t%s\t%.1f s\t%d", p.name, number(l.P50), number(l.P99), number(l.Max), p.f.LastPublishedSeconds,
			p.f.Expired)
	}
}

// requests shows API requests by verb and resource.
func (r *report) requests(line liner) {
	columns := []map[string]float64{r.Provision.Traffic.PerUnit, r.Refresh.Steady.Traffic.PerUnit,
		r.Refresh.Storm.Traffic.PerUnit, floats(r.Rest.Requests), floats(r.Restart.Requests)}
	kinds := map[string]bool{}
	for _, column := range columns {
		for kind := range column {
			kinds[kind] = true
		}
	}
	line("API REQUESTS\tPER PROVISION\tPER REFRESH, STEADY\tPER REFRESH, STORM\tREST, %.0f s\tRESTART", r.Rest.Seconds)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		cells := make([]string, 0, len(columns))
		for _, column := range columns {
			cells = append(cells, number(column[kind]))
		}
		line("%s\t%s", kind, strings.Join(cells, "\t"))
	}
	line("conflicts\t%d\t%d\t%d", r.Provision.Traffic.Conflicts, r.Refresh.Steady.Traffic.Conflicts,
		r.Refresh.Storm.Traffic.Conflicts)
	line("refused\t%d\t%d\t%d", r.Provision.Traffic.Refused, r.Refresh.Steady.Traffic.Refused,
		r.Refresh.Storm.Traffic.Refused)
}

// rest shows memory, the restart and outbound requests.
func (r *report) rest(line liner) {
	line("ANONYMOUS MEMORY OF THE OPERATOR\tMiB\tFOR 1,000 CONNECTIONS")
	line("without connections\t%s\t", number(r.Memory.BaseMiB))
	line("at rest\t%s\t%s", number(r.Memory.RestMiB), number(r.perThousand(r.Memory.RestMiB)))
	line("after a restart\t%s\t%s", number(r.Memory.RestartMiB), number(r.perThousand(r.Memory.RestartMiB)))
	line("")
	line("CPU of the operator over the whole rest\t%s ms", number(r.Rest.CPU.MillisecondsPerUnit[processOperator]))
	line("restart: ready after\t%.1f s\t%s", r.Restart.ReadySeconds,
		fmt.Sprintf("(requests over %.1f s, %d tokens in memory)", r.Restart.BusySeconds, r.Restart.Secrets))
	line("outbound requests per connection until Ready\t%s", number(r.outbound()))
	for _, name := range slices.Sorted(maps.Keys(r.Outbound)) {
		line("  %s\t%s", name, number(r.Outbound[name]))
	}
}

func floats(counts map[string]int) map[string]float64 {
	out := map[string]float64{}
	for kind, count := range counts {
		out[kind] = float64(count)
	}
	return out
}

// number shows as many digits as mean something.
func number(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x >= 100 || x <= -100 || x == float64(int64(x)):
		return fmt.Sprintf("%.0f", x)
	case x >= 10 || x <= -10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

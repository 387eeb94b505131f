// Command bench measures what the operator costs: it runs the operator with its default flags, under its own
// ServiceAccount, against a real kube-apiserver and etcd and a fast authorization server of its own, and beside it,
// on another fresh API server, a plain client-go loop that makes the same writes.
//
// It prints a table and writes the same figures as JSON. It judges nothing by its exit code: times depend on the
// machine.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// settings are the values of the flags.
type settings struct {
	n          int
	servers    int
	namespaces int
	rate       int
	rest       time.Duration
	json       string
	skipFloor  bool
	verbose    bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	flag.IntVar(&s.n, "n", 2000, "number of connections")
	flag.IntVar(&s.servers, "servers", 1, "number of hosts (ports) over which the MCP servers are spread")
	flag.IntVar(&s.namespaces, "namespaces", 1, "number of namespaces over which the connections are spread")
	flag.IntVar(&s.rate, "rate", 50, "refreshes per second of the steady phase")
	flag.DurationVar(&s.rest, "rest", time.Minute, "how long the operator is watched at rest")
	flag.StringVar(&s.json, "json", "", "file for the figures as JSON")
	flag.BoolVar(&s.skipFloor, "skip-floor", false, "leave out the floor")
	flag.BoolVar(&s.verbose, "v", false, "print the operator's log if something fails")
	flag.Parse()
	if s.n < 1 || s.servers < 1 || s.namespaces < 1 || s.rate < 1 || flag.NArg() > 0 {
		return fmt.Errorf("-n, -servers, -namespaces and -rate must be positive, and there are no arguments")
	}
	ctx, stop := harness.UntilStopped()
	defer stop()

	r := &report{N: s.n, Servers: s.servers, Namespaces: s.namespaces, Machine: describeMachine(),
		Started: time.Now().UTC().Truncate(time.Second)}
	if err := measure(ctx, s, r); err != nil {
		return err
	}
	r.judge()
	r.print(os.Stdout)
	return writeJSONFile(s.json, r)
}

// measure runs operator and plain loop side by side, each phase of one next to that of the other: what else goes on
// on the machine so hits both alike. One is idle while the other works.
func measure(ctx context.Context, s settings, r *report) error {
	b, err := startBench(ctx, s, r)
	if err != nil {
		return err
	}
	defer b.stop()
	provisions := func(context.Context) error { return nil }
	refreshes := provisions
	if !s.skipFloor {
		f, err := startPlainLoop(ctx, s)
		if err != nil {
			return err
		}
		defer f.stop()
		provisions = func(ctx context.Context) (err error) {
			if f.like, err = b.samples(ctx); err != nil {
				return err
			}
			return f.provisions(ctx, r)
		}
		refreshes = func(ctx context.Context) error { return f.refreshes(ctx, r) }
	}
	for _, phase := range []func(context.Context) error{
		b.base, b.provision, provisions, b.plan, b.atRest, b.restart, b.steady, b.storm, refreshes,
	} {
		if err := phase(ctx); err != nil {
			if s.verbose {
				fmt.Fprintln(os.Stderr, b.operator.LogTail(30))
			}
			return err
		}
	}
	return nil
}

func writeJSONFile(file string, r *report) error {
	if file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(raw, '\n'), 0o644)
}

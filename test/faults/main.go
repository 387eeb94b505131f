// Command faults proves that no grant is lost: it runs the operator, built with the tag faults and otherwise as it is,
// under its own ServiceAccount, against a real kube-apiserver and etcd and strict authorization servers, and has
// everything go wrong that may: processes killed between any two effects, API servers and authorization servers away,
// conflicts, frozen leaders, clocks that jump, answers that are lost.
//
// It prints what was injected and what came of it, and exits with 1 if a bound was broken.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

// settings are the values of the flags.
type settings struct {
	seed        uint64
	refreshes   int
	connections int
	quick       bool
	keepLog     string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	flag.Uint64Var(&s.seed, "seed", 0, "seed of what goes wrong and when; 0 for another one each time")
	flag.IntVar(&s.refreshes, "refreshes", 500, "least number of refreshes")
	flag.IntVar(&s.connections, "connections", 50, "number of connections")
	flag.BoolVar(&s.quick, "quick", false, "freeze the leader once only, which takes a minute, and play other "+
		"faults meanwhile")
	flag.StringVar(&s.keepLog, "log", "", "file for the operator's log")
	flag.Parse()
	if s.refreshes < 1 || s.connections < 1 || flag.NArg() > 0 {
		return errors.New("-refreshes and -connections must be positive, and there are no arguments")
	}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	harness.Stderr("seed %d", s.seed)
	ctx, stop := harness.UntilStopped()
	defer stop()

	w, err := newWorld(ctx, s)
	if err != nil {
		return err
	}
	defer w.stop()
	begun := time.Now()
	err = w.play(ctx)
	w.table.print(os.Stdout, s, w.ledger.count(), time.Since(begun))
	if broken := w.table.failures(); err == nil && broken > 0 {
		err = fmt.Errorf("bounds were broken %d times (seed %d)", broken, s.seed)
	}
	return err
}

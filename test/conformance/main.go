// Command conformance runs the official MCP conformance suite against the operator: every authorization scenario in
// every leg, strictly and one after the other, over one API server and one operator for the whole run. The client that
// the suite asks for is the driver in ./driver, which plays the operator's consumer.
//
// Its last line is "N passed, M failed" and counts runs of the suite. It exits 0 if none failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/mcp-connection/operator/test/harness"
)

func main() {
	selected := flag.String("run", "", "run only what this regular expression finds in \"LEG SCENARIO\"")
	flag.Parse()
	ctx, stop := harness.UntilStopped()
	defer stop()
	ok, err := conformance(ctx, *selected)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

// conformance reports whether all runs passed.
func conformance(ctx context.Context, selected string) (ok bool, err error) {
	started := time.Now()
	pattern, err := regexp.Compile(selected)
	if err != nil {
		return false, err
	}
	root, err := harness.RepoRoot()
	if err != nil {
		return false, err
	}
	s := &suite{dir: filepath.Join(root, "test", "conformance"), out: filepath.Join(root, "out", "conformance")}
	runs, err := s.runs(ctx)
	if err != nil {
		return false, err
	}
	if runs = matching(runs, pattern); len(runs) == 0 {
		return false, fmt.Errorf("no run matches %q", selected)
	}
	if err := os.RemoveAll(s.out); err != nil {
		return false, err
	}
	stop, err := s.setUp(ctx)
	if err != nil {
		return false, err
	}
	report := newReport()
	for _, run := range runs {
		if ctx.Err() != nil {
			break
		}
		report.add(s.play(ctx, run))
	}
	if err := stop(); err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return report.close(time.Since(started)), nil
}

// matching are the runs that a pattern selects.
func matching(runs []run, pattern *regexp.Regexp) []run {
	var found []run
	for _, r := range runs {
		if pattern.MatchString(r.String()) {
			found = append(found, r)
		}
	}
	return found
}

// Command mutants takes security controls out of the source, one at a time, and fails unless a test notices each. It
// changes no file: the compiler is handed the mutant in place of the original (go build -overlay).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("run", "", "regular expression: only mutants whose name matches")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer func() { _ = table.Flush() }()
	var failed []error
	for _, m := range mutants {
		if !wanted.MatchString(m.name) {
			continue
		}
		begin := time.Now()
		killer, err := m.kill(ctx, dir)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
			killer = "NOBODY"
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f s\n", m.name, killer, time.Since(begin).Seconds())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(failed...)
}

// kill runs the tests with the mutant, and returns the first test or spec that fails. An error says that none does, or
// that the tests could not be run.
func (m mutant) kill(ctx context.Context, dir string) (string, error) {
	overlay, err := m.overlay(dir)
	if err != nil {
		return "", err
	}
	args := []string{"test", "-v", "-count=1", "-failfast", "-timeout=5m", "-overlay=" + overlay, "-run=^TestSpecs$|" +
		m.tests}
	cmd := exec.CommandContext(ctx, "go", append(args, m.packages()...)...)
	cmd.Env = append(os.Environ(), "TESTFOCUS="+m.tests, "GINKGO_NO_COLOR=TRUE")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return killer(string(out), err)
}

// A failure before the first spec, such as that of an API server, is no spec's.
var (
	failures = regexp.MustCompile(`(?m)^--- FAIL: (\w+)|^ *\[(?:FAIL|PANICKED!)\] (.*)\[It\] (.*)`)
	runs     = regexp.MustCompile(`(?m)^=== RUN   (\w+)$|^Ran [1-9]\d* of`)
)

// killer reads in the output of go test -v, which ended with err, what failed first.
func killer(out string, err error) (string, error) {
	for _, f := range failures.FindAllStringSubmatch(out, -1) {
		if name := f[1] + f[2] + f[3]; name != "TestSpecs" { // but one of its specs
			return name, nil
		}
	}
	ran := slices.ContainsFunc(runs.FindAllStringSubmatch(out, -1),
		func(run []string) bool { return run[1] != "TestSpecs" })
	switch {
	case err != nil:
		return "", fmt.Errorf("the tests do not run: %w: %s", err, strings.TrimSpace(out))
	case !ran:
		return "", errors.New("no test and no spec has such a name")
	}
	return "", errors.New("no test notices")
}

// packages are those whose tests run. Specs of the reconciler notice some of what internal/lifecycle decides.
func (m mutant) packages() []string {
	packages := []string{"./" + filepath.Dir(m.file)}
	if strings.HasPrefix(m.file, lifecycle) {
		packages = append(packages, "./"+controller)
	}
	return packages
}

// overlay writes the mutant, and the file that tells the compiler of it.
func (m mutant) overlay(dir string) (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("%s holds the control %d times, not once", m.file, n)
	}
	mutated := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(source), m.old, m.mutated, 1)), 0o600); err != nil {
		return "", err
	}
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

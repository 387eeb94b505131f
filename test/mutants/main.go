// Command mutants takes security controls out of the source, one at a time, and fails unless a test notices each. It
// changes no file: the compiler is handed the mutant in place of the original (go build -overlay).
package main

import (
	"bytes"
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

// kill runs the tests with the mutant, and returns the first test that fails. An error says that none does, or that the
// tests could not be run.
func (m mutant) kill(ctx context.Context, dir string) (string, error) {
	overlay, err := m.overlay(dir)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-failfast", "-timeout=5m", "-overlay="+overlay,
		"-run="+m.tests, "./"+filepath.Dir(m.file))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	failure := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindStringSubmatch(out.String())
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", errors.New("no test notices")
	case failure == nil:
		return "", fmt.Errorf("the tests do not run: %s", strings.TrimSpace(out.String()))
	}
	return failure[1], nil
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

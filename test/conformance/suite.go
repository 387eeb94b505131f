package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcp-connection/operator/test/conformance/verdict"
	"github.com/mcp-connection/operator/test/harness"
)

const (
	// scenarioTimeout is how long the suite gives its client.
	scenarioTimeout = time.Minute
	// runLimit ends a suite that hangs by itself.
	runLimit = scenarioTimeout + 30*time.Second
)

// suite is the installed suite and what it runs against.
type suite struct {
	dir    string // package.json
	out    string // results
	node   string
	index  string
	driver string

	plane    *harness.ControlPlane
	operator *harness.Operator
}

// result is what came out of one run.
type result struct {
	run
	passed bool
	// why in a few words.
	why string
	// dir holds the suite's results, its output and the operator's log; empty for a run that passed.
	dir  string
	took time.Duration
}

// setUp builds the driver, and starts the control plane and the operator; the returned function stops them.
func (s *suite) setUp(ctx context.Context) (stop func() error, err error) {
	if s.plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{Logf: progress}); err != nil {
		return nil, err
	}
	stop = func() error {
		var stopped error
		if s.operator != nil {
			stopped = s.operator.Stop()
		}
		return errors.Join(stopped, s.plane.Stop())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	s.driver = filepath.Join(s.plane.Dir, "driver")
	progress("building the driver")
	if err := harness.Build(ctx, s.driver, "test/conformance/driver"); err != nil {
		return nil, err
	}
	for _, leg := range legs {
		if err := s.plane.Namespace(ctx, namespace(leg)); err != nil {
			return nil, err
		}
	}
	s.operator, err = harness.StartOperator(ctx, s.plane)
	return stop, err
}

func namespace(l leg) string { return "conformance-" + l.name }

func progress(format string, args ...any) { fmt.Printf("· "+format+"\n", args...) }

// play runs one scenario, and keeps what it left if it did not pass.
func (s *suite) play(ctx context.Context, r run) result {
	started := time.Now()
	dir := filepath.Join(s.out, r.leg.name, path.Base(r.scenario))
	logged := len(s.operator.Log())
	exit := s.runSuite(ctx, r, dir)
	v := verdict.Read(filepath.Join(dir, "verdict.txt"))
	res := result{run: r, passed: exit == nil && v.OK(), why: v.Text(), dir: dir, took: time.Since(started)}
	if res.passed {
		_ = os.RemoveAll(dir)
		res.dir = ""
		return res
	}
	if v.OK() {
		res.why = complaint(filepath.Join(dir, "suite.log"), exit)
	}
	if err := os.WriteFile(filepath.Join(dir, "operator.log"), []byte(s.operator.Log()[logged:]), 0o600); err != nil {
		res.why += "; " + err.Error()
	}
	return res
}

// runSuite runs the suite strictly: exit code 0 means no failure, no warning and no time-out.
func (s *suite) runSuite(ctx context.Context, r run, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(dir, "suite.log"))
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	arguments := append([]string{
		s.index, "client", "--command", s.driver, "--scenario", r.scenario,
		"--timeout", fmt.Sprint(scenarioTimeout.Milliseconds()), "-o", dir,
	}, r.leg.arguments...)
	environment := []string{
		"KUBECONFIG=" + s.plane.Kubeconfig,
		verdict.NamespaceVariable + "=" + namespace(r.leg),
		verdict.FileVariable + "=" + filepath.Join(dir, "verdict.txt"),
	}
	process, err := harness.StartProcess(output, s.dir, environment, s.node, arguments...)
	if err != nil {
		return err
	}
	defer process.Kill() // with its driver, if they still run
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	select {
	case <-process.Exited():
		return process.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// complaint finds the checks that the suite's last lines name, as "  - name: description".
func complaint(file string, exit error) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	var checks []string
	for line := range strings.Lines(string(text)) {
		if check, is := strings.CutPrefix(line, "  - "); is {
			checks = append(checks, strings.TrimSpace(check))
		}
	}
	if len(checks) == 0 {
		return fmt.Sprintf("the suite: %v", exit)
	}
	return strings.Join(checks, "; ")
}

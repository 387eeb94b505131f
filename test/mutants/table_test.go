package main

import (
	"errors"
	"testing"

	"github.com/mcp-connection/operator/test/harness"
)

func TestEachControlThatIsTakenOutStandsInTheSourceOnce(t *testing.T) {
	root, err := harness.RepoRoot()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("%s is there twice", m.name)
		}
		names[m.name] = true
		if _, err := m.overlay(t.TempDir()); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

func TestOnlyAFailureOfATestOrASpecKills(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, test := range []struct {
		name, out string
		err       error
		want      string // of the failure, or of the error
	}{
		{"A test that fails kills", "=== RUN   TestA\n--- FAIL: TestA (0.01s)\n", failed, "TestA"},
		{"A spec that fails kills", "=== RUN   TestSpecs\nRan 2 of 9 Specs in 1 seconds\n  [FAIL] A grant [It] stays\n--- " +
			"FAIL: TestSpecs (1s)\n", failed, "A grant stays"},
		{"A spec that panics kills", "Ran 1 of 9 Specs in 1 seconds\n  [PANICKED!] A grant [It] stays\n", failed,
			"A grant stays"},
		{"An API server that does not start kills nothing", "=== RUN   TestSpecs\nRan 0 of 9 Specs in 1 seconds\n  [FAIL] " +
			"[BeforeSuite]\n--- FAIL: TestSpecs (1s)", failed,
			"the tests do not run: exit status 1: === RUN   TestSpecs\nRan 0 of 9 Specs in 1 seconds\n  [FAIL] " +
				"[BeforeSuite]\n--- FAIL: TestSpecs (1s)"},
		{"A test that passes kills nothing", "=== RUN   TestA\n--- PASS: TestA (0.01s)\n", nil, "no test notices"},
		{"A spec that passes kills nothing", "=== RUN   TestSpecs\nRan 2 of 9 Specs in 1 seconds\n", nil, "no test notices"},
		{"A name that nothing has is an error", "testing: warning: no tests to run\n", nil,
			"no test and no spec has such a name"},
		{"A name that no spec has is an error", "=== RUN   TestSpecs\nRan 0 of 9 Specs in 0.002 seconds\n--- PASS: " +
			"TestSpecs (0.01s)\n", nil, "no test and no spec has such a name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := killer(test.out, test.err)
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

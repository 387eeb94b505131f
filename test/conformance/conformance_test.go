package main

import (
	"slices"
	"testing"
)

func TestRunsOfSortsAuthorizationScenariosIntoLegs(t *testing.T) {
	var names []string
	for _, run := range runsOf(`Client scenarios (test against a client):
  - initialize [2025-06-18,2025-11-25]
  - auth/basic-cimd [2025-11-25,2026-07-28]
  - auth/2025-03-26-oauth-endpoint-fallback [2025-03-26]
  - auth/dpop [extension]
  - sep-2640-client-verify-size [extension]
`) {
		names = append(names, run.String())
	}
	want := []string{
		"2025-11-25 auth/basic-cimd", "2026-07-28 auth/basic-cimd", "2025-03-26 auth/2025-03-26-oauth-endpoint-fallback",
		"extensions auth/dpop", "extensions-2026-07-28 auth/dpop",
	}
	if !slices.Equal(names, want) {
		t.Fatalf("got %q, want %q", names, want)
	}
}

func TestOneFailureFailsTheWhole(t *testing.T) {
	for name, test := range map[string]struct {
		results []bool
		ok      bool
	}{
		"all passed": {[]bool{true, true}, true},
		"one failed": {[]bool{true, false}, false},
	} {
		t.Run(name, func(t *testing.T) {
			report := newReport()
			for _, passed := range test.results {
				report.add(result{run: run{legs[0], "auth/a"}, passed: passed})
			}
			if report.close(0) != test.ok || report.passed+len(report.failed) != len(test.results) {
				t.Fatalf("counted %d passed, %d failed", report.passed, len(report.failed))
			}
		})
	}
}

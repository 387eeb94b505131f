package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestReadExpected(t *testing.T) {
	runs := []run{{legs[0], "auth/a"}, {legs[0], "auth/b"}}
	for name, test := range map[string]struct {
		text string
		want map[string]string
		err  string
	}{
		"entries and comments": {text: "# why\n\n2025-11-25 auth/a  not built # yet\n", want: map[string]string{"2025-11-25 auth/a": "not built"}},
		"no reason":            {text: "2025-11-25 auth/a\n", err: "no leg, scenario and reason"},
		"unknown run":          {text: "2025-11-25 auth/c not built\n", err: "there is no run"},
		"twice":                {text: "2025-11-25 auth/a x\n2025-11-25 auth/a y\n", err: "listed twice"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "expected")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readExpected(file, runs)
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Fatalf("got error %v, want %q", err, test.err)
			case test.err == "" && (err != nil || !maps.Equal(got, test.want)):
				t.Fatalf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestAnUnexpectedPassFailsLikeAnUnexpectedFailure(t *testing.T) {
	r := run{legs[0], "auth/a"}
	for name, test := range map[string]struct{ passed, expectedToFail, ok bool }{
		"pass":             {passed: true, ok: true},
		"failure":          {},
		"expected failure": {expectedToFail: true, ok: true},
		"unexpected pass":  {passed: true, expectedToFail: true},
	} {
		t.Run(name, func(t *testing.T) {
			expected := map[string]string{}
			if test.expectedToFail {
				expected[r.String()] = "not built"
			}
			report := newReport(expected)
			report.add(result{run: r, passed: test.passed})
			if report.close(0) != test.ok {
				t.Fatalf("want %v", test.ok)
			}
			if report.passed+report.failed != 1 || (report.passed == 1) != test.passed {
				t.Fatalf("counted %d passed, %d failed", report.passed, report.failed)
			}
		})
	}
}

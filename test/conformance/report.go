package main

import (
	"fmt"
	"time"
)

// report is the table, as it grows.
type report struct {
	expected       map[string]string // reasons of expected failures, by run
	passed, failed int
	surprises      []result
}

const row = "%-22s %-41s %-16s %7s  %s\n"

func newReport(expected map[string]string) *report {
	fmt.Println()
	fmt.Printf(row, "LEG", "SCENARIO", "RESULT", "SECONDS", "")
	return &report{expected: expected}
}

// add prints one row.
func (r *report) add(res result) {
	reason, expected := r.expected[res.String()]
	verdict, note := "passed", res.why
	switch {
	case res.passed && expected:
		verdict, note = "PASSED", "but listed as an expected failure: "+reason
	case !res.passed && expected:
		verdict, note = "failed, expected", reason
	case !res.passed:
		verdict = "FAILED"
	}
	if res.passed {
		r.passed++
	} else {
		r.failed++
	}
	if res.passed == expected {
		r.surprises = append(r.surprises, res)
	}
	fmt.Printf(row, res.leg.name, res.scenario, verdict, fmt.Sprintf("%.1f", res.took.Seconds()), note)
	if res.dir != "" {
		fmt.Printf(row, "", "", "", "", "↳ "+res.dir)
	}
}

// close prints what was unexpected and the closing lines, and says whether nothing was.
func (r *report) close(took time.Duration) bool {
	fmt.Println()
	for _, res := range r.surprises {
		if res.passed {
			fmt.Printf("UNEXPECTED PASS     %s: take it off expected-failures.txt\n", res)
		} else {
			fmt.Printf("UNEXPECTED FAILURE  %s: see %s\n", res, res.dir)
		}
	}
	if len(r.surprises) == 0 {
		fmt.Printf("All %d runs ended as expected in %s; what failed is listed in expected-failures.txt.\n", r.passed+r.failed, took.Round(time.Second))
	} else {
		fmt.Printf("%d of %d runs did not end as expected, in %s.\n", len(r.surprises), r.passed+r.failed, took.Round(time.Second))
	}
	fmt.Printf("%d passed, %d failed\n", r.passed, r.failed)
	return len(r.surprises) == 0
}

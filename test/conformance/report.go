package main

import (
	"fmt"
	"time"
)

// report is the table, as it grows.
type report struct {
	passed int
	failed []result
}

const row = "%-22s %-41s %-8s %7s  %s\n"

func newReport() *report {
	fmt.Println()
	fmt.Printf(row, "LEG", "SCENARIO", "RESULT", "SECONDS", "")
	return &report{}
}

// add prints one row.
func (r *report) add(res result) {
	verdict := "passed"
	if res.passed {
		r.passed++
	} else {
		verdict = "FAILED"
		r.failed = append(r.failed, res)
	}
	fmt.Printf(row, res.leg.name, res.scenario, verdict, fmt.Sprintf("%.1f", res.took.Seconds()), res.why)
	if res.dir != "" {
		fmt.Printf(row, "", "", "", "", "↳ "+res.dir)
	}
}

// close prints what failed and the closing lines, and reports whether nothing did.
func (r *report) close(took time.Duration) bool {
	fmt.Println()
	for _, res := range r.failed {
		fmt.Printf("FAILED  %s: see %s\n", res, res.dir)
	}
	fmt.Printf("%d runs in %s.\n", r.passed+len(r.failed), took.Round(time.Second))
	fmt.Printf("%d passed, %d failed\n", r.passed, len(r.failed))
	return len(r.failed) == 0
}

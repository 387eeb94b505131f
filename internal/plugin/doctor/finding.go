package doctor

import (
	"fmt"
	"slices"
)

// Level says how bad a finding is.
type Level int

// Levels of a finding.
const (
	// OK is as it should be.
	OK Level = iota
	// Skipped was not looked at: something before it failed, it is not needed, or it cannot be seen from here.
	Skipped
	// Warning works; somebody should look.
	Warning
	// Failure keeps the connection from working.
	Failure
)

// String is the word that stands before a finding.
func (l Level) String() string {
	return [...]string{"ok", "-", "warning", "failure"}[l]
}

// Finding is one numbered point of a report.
type Finding struct {
	Level Level
	// Title says what was looked at.
	Title string
	// Requests that were made for it.
	Requests []Exchange
	// Notes say what was read and which rule decided, one sentence or more each.
	Notes []string
}

func (f *Finding) note(format string, arguments ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, arguments...))
}

// warn raises the level to Warning, and says why.
func (f *Finding) warn(format string, arguments ...any) {
	f.Level = max(f.Level, Warning)
	f.note(format, arguments...)
}

// fail raises the level to Failure, and says why.
func (f *Finding) fail(format string, arguments ...any) {
	f.Level = Failure
	f.note(format, arguments...)
}

// skip says why nothing was looked at.
func (f *Finding) skip(format string, arguments ...any) {
	f.Level = max(f.Level, Skipped)
	f.note(format, arguments...)
}

// Report is what doctor found.
type Report struct {
	// Subject is what was examined.
	Subject string
	// Preface says from where, and what was not done.
	Preface []string
	// Findings in the order in which the operator would come by them.
	Findings []Finding
	// Advice says what Spec is.
	Advice []string
	// Spec is YAML to paste; empty if there is nothing to write.
	Spec string
}

// Failed reports whether any finding is a failure.
func (r *Report) Failed() bool { return r.count(Failure) > 0 }

func (r *Report) count(l Level) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Level == l {
			n++
		}
	}
	return n
}

func (r *Report) add(findings ...Finding) { r.Findings = slices.Concat(r.Findings, findings) }

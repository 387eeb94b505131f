package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width of a report.
const width = 80

// Write prints the report, at most 80 columns wide but for words that are longer: a URL is not broken.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Subject)
	for _, line := range r.Preface {
		wrap(&b, "", "", line)
	}
	for i := range r.Findings {
		b.WriteString("\n")
		r.Findings[i].write(&b, i+1)
	}
	b.WriteString("\n")
	for _, line := range r.Advice {
		wrap(&b, "", "", line)
	}
	if r.Spec != "" {
		for line := range strings.Lines(r.Spec) {
			b.WriteString("    " + line)
		}
	}
	if len(r.Advice) > 0 || r.Spec != "" {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d ok, %s, %s\n", r.count(OK), counted(r.count(Warning), "warning"),
		counted(r.count(Failure), "failure"))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (f *Finding) write(b *strings.Builder, number int) {
	wrap(b, fmt.Sprintf("%2d %-7s ", number, f.Level), strings.Repeat(" ", 11), f.Title)
	for i := range f.Requests {
		e := &f.Requests[i]
		wrap(b, "   > ", "     ", e.Method+" "+e.URL)
		wrap(b, "     ", "     ", e.outcome())
		for _, read := range e.Read {
			wrap(b, "       ", "         ", read)
		}
	}
	for _, note := range f.Notes {
		wrap(b, "   ", "   ", note)
	}
}

// wrap writes text with first before its first line and next before the others. What stands between backquotes stays
// together.
func wrap(b *strings.Builder, first, next, text string) {
	line, empty := first, true
	for _, word := range words(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// words of a text.
func words(text string) []string {
	var out []string
	quoted := false
	for _, word := range strings.Fields(text) {
		if quoted {
			out[len(out)-1] += " " + word
		} else {
			out = append(out, word)
		}
		quoted = quoted != (strings.Count(word, "`")%2 == 1)
	}
	return out
}

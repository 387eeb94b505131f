package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// screen prints the story: numbered steps, commands with their output, and remarks.
type screen struct {
	out      io.Writer
	steps    int
	terminal bool
	color    bool
}

func newScreen() *screen {
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: os.Stdout, terminal: terminal, color: terminal && os.Getenv("NO_COLOR") == ""}
}

// step begins the next numbered step.
func (s *screen) step(title string) {
	s.steps++
	fmt.Fprintf(s.out, "\n%s\n", s.bold(fmt.Sprintf("%d. %s", s.steps, title)))
}

// say prints a remark.
func (s *screen) say(format string, args ...any) {
	s.block(fmt.Sprintf(format, args...))
}

// again prints a remark in place of the line above, if it is on a terminal: what repeats itself does not scroll.
func (s *screen) again(format string, args ...any) {
	if !s.terminal {
		s.say(format, args...)
		return
	}
	const width = 76 // a longer line would take two, of which one would stay
	line := []rune(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
	fmt.Fprintf(s.out, "\033[1A\033[2K   %s\n", string(line[:min(width, len(line))]))
}

// command prints a command and what it answered.
func (s *screen) command(line, output string) {
	s.block(s.bold("$ " + line))
	s.block(output)
}

// block prints lines indented.
func (s *screen) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintln(s.out, "   "+strings.TrimRight(line, "\n"))
	}
}

func (s *screen) bold(text string) string {
	if !s.color {
		return text
	}
	return "\033[1m" + text + "\033[0m"
}

// conditions prints a connection's conditions as a table, with the messages below.
func (s *screen) conditions(m *v1alpha1.MCPConnection) {
	s.say("%-12s %-7s %-18s %s", "CONDITION", "STATUS", "REASON", "MESSAGE")
	const indent, width = 39, 80
	for _, c := range m.Status.Conditions {
		lines := wrap(c.Message, width)
		s.say("%-12s %-7s %-18s %s", c.Type, c.Status, c.Reason, lines[0])
		for _, line := range lines[1:] {
			s.say("%s %s", strings.Repeat(" ", indent), line)
		}
	}
}

// secret prints the keys of a token Secret; what is secret in it is masked.
func (s *screen) secret(keys map[string]string) {
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := keys[name]
		switch name {
		case v1alpha1.KeyTokenType, v1alpha1.KeyExpiresAt, v1alpha1.KeyScope, v1alpha1.KeyServerURL, v1alpha1.KeyResource:
		default:
			value = mask(value)
		}
		s.say("%-14s %s", name, value)
	}
}

// mask keeps the scheme and three characters of a secret value.
func mask(value string) string {
	scheme, token, found := strings.Cut(value, " ")
	if !found {
		scheme, token = "", value
	} else {
		scheme += " "
	}
	return fmt.Sprintf("%s%s…(%d bytes)", scheme, token[:min(3, len(token))], len(value))
}

// wrap breaks text between words; it returns at least one line.
func wrap(text string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len(*last)+1+len(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

// Package view draws connections for people: lines of at most a terminal's width, times as seen from now, colours where
// they are wanted. It is pure.
package view

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// Colours of a terminal (ECMA-48, section 8.3.117).
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// Style is how wide lines may be, and whether they are coloured.
type Style struct {
	// Width in characters; 0 is no limit.
	Width int
	// Colour reports whether escape sequences are written.
	Colour bool
}

// StyleOf a terminal.
func StyleOf(t kube.Terminal) Style { return Style{Width: t.Width, Colour: t.Colour} }

func (s Style) paint(colour, text string) string {
	if !s.Colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Wrap breaks a text at blanks, so that its lines fit beside an indent. Words longer than a line stay whole: they are
// URLs and commands to copy.
func (s Style) Wrap(text string, indent int) []string {
	width := s.Width - indent
	if s.Width <= 0 {
		width = 1 << 20
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(Plain(text)) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// cut shortens a text to a number of characters; 0 is no limit.
func cut(text string, width int) string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// pad fills a text up to a number of characters.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
}

// Plain is a text without what a terminal would act on. Status repeats words of servers, which are strangers.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

package mcpoauth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sanitize makes a stranger's text fit for a condition, an event or a log line: control, format (zero-width,
// bidirectional), private-use and invalid characters are removed, any white space becomes one space, and what is longer
// than maxRunes runes is cut and ends in "…". It does not escape for HTML.
func Sanitize(text string, maxRunes int) string {
	var b strings.Builder
	length, space := 0, false
	for i, r := range text {
		if unicode.IsSpace(r) {
			space = b.Len() > 0
			continue
		}
		if !printable(text[i:], r) {
			continue
		}
		// Counting before writing leaves room for the ellipsis.
		need := 1
		if space {
			need = 2
		}
		if length+need > maxRunes {
			return cut(b.String(), maxRunes)
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		length += need
	}
	return b.String()
}

func printable(rest string, r rune) bool {
	if r == utf8.RuneError {
		_, size := utf8.DecodeRuneInString(rest)
		return size > 1
	}
	// IsGraphic leaves out control, format, surrogate, private-use and unassigned characters.
	return unicode.IsGraphic(r)
}

// cut marks a text of at most maxRunes runes as shortened.
func cut(text string, maxRunes int) string {
	if maxRunes < 1 {
		return ""
	}
	runes := []rune(text)
	if len(runes) >= maxRunes {
		runes = runes[:maxRunes-1]
	}
	return strings.TrimRight(string(runes), " ") + "…"
}

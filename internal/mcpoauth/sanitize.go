package mcpoauth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sanitize makes a stranger's text fit for a condition, an event or a log line: control, format (zero-width,
// bidirectional, tag), invisible, private-use and invalid characters are removed, any white space becomes one space,
// and what is longer than maxRunes runes is cut and ends in "…". It does not escape for HTML.
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
	return shows(r)
}

// brailleBlank is a symbol without a dot.
const brailleBlank = '\u2800'

// shows is true for characters that a reader sees, and for white space.
func shows(r rune) bool {
	// IsGraphic leaves out control, format, surrogate, private-use and unassigned characters; fillers, joiners and
	// variation selectors are letters and marks that have no shape.
	return unicode.IsGraphic(r) && r != brailleBlank && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point,
		unicode.Variation_Selector)
}

// hiddenIn finds what has no place in a URL, because it does not show or turns around what follows. Blanks show.
func hiddenIn(text string) (hidden rune, found bool) {
	for i, r := range text {
		if (unicode.IsSpace(r) && r != ' ') || !printable(text[i:], r) {
			return r, true
		}
	}
	return 0, false
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

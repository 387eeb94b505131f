package report

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	// redacted stands where something was left out.
	redacted = "(redacted)"
	// minKnown is the shortest value that is looked for elsewhere: shorter ones are in too many words.
	minKnown = 6
	// minWord is the shortest word of a value, with a digit in it, that is looked for elsewhere.
	minWord = 8
	// minOpaque is how long a run of characters is that may be a token.
	minOpaque = 20
	// minSegment is how long a part of a URL's path with a digit in it is that may be a secret, as webhooks and capability
	// URLs have.
	minSegment = 16
)

var (
	// urls in a text, up to what ends one there.
	urls = regexp.MustCompile("[A-Za-z][A-Za-z0-9+.-]*://[^\\s\"'`<>\\\\]+")
	// connectPaths are links for consent, whoever wrote them.
	connectPaths = regexp.MustCompile(`/connect/[A-Za-z0-9_~-]+`)
	// credentials in a header; a parameter of a challenge is none.
	credentials = regexp.MustCompile(`(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9_~+/=.-]{8,}`)
	parameter   = regexp.MustCompile(`(?i)^\w+\s+[a-z_]+=$`)
	opaque      = regexp.MustCompile(`[A-Za-z0-9_~+=-]{20,}`)
	// plainOpaque has no separator: such as hexadecimal.
	plainOpaque = regexp.MustCompile(`[A-Za-z0-9]{20,}`)
	emails      = regexp.MustCompile(`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+`)
)

// scrubber takes out of texts what must not be shown.
type scrubber struct {
	known []string
}

// learn adds a value that was left out; in whatever text it stands, it goes. Of a URL the query,
// a link's ticket and what may be a secret in the path are learned too.
func (s *scrubber) learn(value string) {
	value = strings.TrimSpace(value)
	if len(value) < minKnown || slices.Contains(s.known, value) {
		return
	}
	s.known = append(s.known, value)
	if u, err := url.Parse(value); err == nil {
		s.learnURL(u)
	}
}

func (s *scrubber) learnURL(u *url.URL) {
	for _, values := range u.Query() {
		for _, v := range values {
			s.learn(v)
		}
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if secretSegment(segment) {
			s.learn(segment)
		}
	}
	if _, ticket, found := strings.Cut(u.Path, "/connect/"); found {
		s.learn(ticket)
	}
}

// learnWords learns what stands between quotes, brackets and white space in a value, where it may be a secret of its
// own.
func (s *scrubber) learnWords(value string) {
	for _, word := range strings.FieldsFunc(value,
		func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("\"'`{}[](),;", r) }) {
		if len(word) >= minWord && strings.ContainsFunc(word, isDigit) {
			s.learn(word)
		}
	}
}

// text returns a text without what must not be shown.
func (s *scrubber) text(text string) string {
	// The longest first: one may hold another.
	slices.SortStableFunc(s.known, func(a, b string) int { return len(b) - len(a) })
	for _, value := range s.known {
		for _, form := range spellings(value) {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	text = connectPaths.ReplaceAllString(text, "/connect/"+redacted)
	text = credentials.ReplaceAllStringFunc(text, credential)
	text = urls.ReplaceAllStringFunc(text, bareURL)
	text = opaque.ReplaceAllStringFunc(text, opaqueRun)
	text = plainOpaque.ReplaceAllStringFunc(text, plainRun)
	return emails.ReplaceAllString(text, redacted)
}

// spellings of a value: in URLs, JSON, Base64 and hexadecimal.
func spellings(value string) []string {
	raw := []byte(value)
	forms := []string{value, url.QueryEscape(value), url.PathEscape(value), base64.StdEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw)}
	if quoted, err := json.Marshal(value); err == nil {
		forms = append(forms, strings.Trim(string(quoted), `"`))
	}
	return forms
}

// credential leaves of a credential its scheme.
func credential(text string) string {
	if parameter.MatchString(text) {
		return text
	}
	return strings.Fields(text)[0] + " " + redacted
}

// bareURL is a URL without user name, password, query, fragment and what may be a secret in the path. What ends the
// sentence around it stays.
func bareURL(raw string) string {
	bare, cut := strings.CutSuffix(raw, "?"+redacted)
	end := ""
	if !cut {
		bare = strings.TrimRight(raw, ".,;:!)")
		end = raw[len(bare):]
	}
	u, err := url.Parse(bare)
	if err != nil {
		return redacted
	}
	bare = u.Scheme + "://" + u.Host + barePath(u.EscapedPath())
	if cut || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		bare, end = bare+"?"+redacted, strings.TrimLeft(end, ")") // which may be the query's
	}
	return bare + end
}

// barePath is a path without what may be a secret in it.
func barePath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if secretSegment(segment) {
			segments[i] = redacted
		}
	}
	return strings.Join(segments, "/")
}

// secretSegment reports whether a part of a path may be a secret, as every UUID may.
func secretSegment(segment string) bool {
	return len(segment) >= minSegment && strings.ContainsFunc(segment, isDigit)
}

// opaqueRun is redacted if it mixes capitals, small letters and digits, as tokens do and names do not.
func opaqueRun(run string) string {
	if strings.ContainsFunc(run, isUpper) && strings.ContainsFunc(run, isLower) && strings.ContainsFunc(run, isDigit) {
		return redacted
	}
	return run
}

// plainRun is redacted if it mixes letters and digits.
func plainRun(run string) string {
	letters := strings.ContainsFunc(run, func(r rune) bool { return isUpper(r) || isLower(r) })
	if len(run) >= minOpaque && letters && strings.ContainsFunc(run, isDigit) {
		return redacted
	}
	return run
}

func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }
func isLower(r rune) bool { return r >= 'a' && r <= 'z' }
func isDigit(r rune) bool { return r >= '0' && r <= '9' }

package mcpoauth

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// hiddenRunes do not show, or change how others do; one of each kind that is known.
var hiddenRunes = map[string]rune{
	"a NUL": 0, "an escape": 0x1b, "a line break": '\n', "DEL": 0x7f, "a control sequence introducer": 0x9b,
	"a soft hyphen":     0xad,
	"a grapheme joiner": 0x34f, "an Arabic letter mark": 0x61c, "a Hangul filler": 0x115f,
	"a Khmer inherent vowel":      0x17b4,
	"a Mongolian vowel separator": 0x180e, "a Mongolian variation selector": 0x180b, "a zero-width space": 0x200b,
	"a zero-width joiner": 0x200d, "a left-to-right mark": 0x200e,
	"a line separator": 0x2028, "a right-to-left override": 0x202e, "a word joiner": 0x2060, "an invisible times": 0x2062,
	"a right-to-left isolate": 0x2067,
	"a braille blank":         0x2800, "an ideographic space": 0x3000, "a Hangul filler of another block": 0x3164,
	"a variation selector": 0xfe0f, "a byte order mark": 0xfeff,
	"a halfwidth filler": 0xffa0, "an interlinear annotation": 0xfff9, "a private character": 0xe000,
	"a musical beam": 0x1d173, "a tag": 0xe0041, "a supplementary variation selector": 0xe0101,
	"an unassigned character": 0xe0fff, "no character": 0xffff,
}

func TestNothingThatIsHiddenIsShown(t *testing.T) {
	for name, r := range hiddenRunes {
		if got := Sanitize("a"+string(r)+"b", 10); got != "ab" && got != "a b" {
			t.Errorf("%s, %U: %q", name, r, got)
		}
	}
	for _, visible := range []string{"für Ελλάδα", "日本語", "עברית", "e\u0301", "🙂 ok", "क्ष", "\ufffd"} {
		if got := Sanitize(visible, 20); got != visible {
			t.Errorf("%q is shown as %q", visible, got)
		}
	}
}

func TestAnIdentifierWithHiddenCharactersIsRefused(t *testing.T) {
	c := NewClient(Options{Now: time.Now})
	server, _ := url.Parse("https://mcp.example/mcp?q=%s")
	metadata := `{"issuer":"https://as.example","authorization_endpoint":"%s","token_endpoint":"%s","registration_endpoint":"%s","code_challenge_methods_supported":["S256"]}`
	good := "https://as.example/x"
	for name, r := range hiddenRunes {
		if r == 0xffff || r == 0 { // JSON of fmt would hold neither as it is
			continue
		}
		escaped := fmt.Sprintf(`\u%04x`, r)
		if r > 0xffff {
			escaped = string(r)
		}
		odd := "https://as.example/a" + escaped + "b"
		for _, tt := range []struct{ what, text string }{
			{"an authorization endpoint", fmt.Sprintf(metadata, odd, good, good)},
			{"a token endpoint", fmt.Sprintf(metadata, good, odd, good)},
			{"a registration endpoint", fmt.Sprintf(metadata, good, good, odd)},
		} {
			_, e := c.parseServer([]byte(tt.text), "https://as.example/m", "https://as.example", trust{})
			wantHidden(t, tt.what+" with "+name, e)
		}
		_, e := parseResource([]byte(`{"resource":"https://mcp`+escaped+`.example/mcp"}`), "https://mcp.example/m", server)
		wantHidden(t, "a resource with "+name, e)
		_, e = c.loadServer(t.Context(), "https://as.example/a"+string(r)+"b", trust{})
		wantHidden(t, "an issuer with "+name, e)
		_, e = c.givenServer(DiscoveryRequest{Issuer: "https://as.example/a" + string(r) + "b",
			Endpoints: &AuthorizationServerMetadata{TokenEndpoint: good}, NoCodeFlow: true})
		wantHidden(t, "an issuer of the spec with "+name, e)
		if r >= 0x80 { // other escapes are refused in a host anyway
			_, e = c.loadServer(t.Context(), "https://as"+url.PathEscape(string(r))+".example/", trust{})
			wantHidden(t, "an issuer with an escaped host that holds "+name, e)
		}
	}
	for _, plain := range []string{"https://bücher.example/ä", "https://as.example/a%E2%80%AEb",
		"https://as.example/?x=%00"} {
		if _, e := c.parseURL(plain, "the URL", InvalidMetadata); e != nil {
			t.Errorf("%q is refused: %v", plain, e)
		}
	}
}

func wantHidden(t *testing.T, what string, e *Error) {
	t.Helper()
	if e == nil || e.Kind != Misconfigured || e.Code != InvalidMetadata || !strings.Contains(e.Message, "does not show") {
		t.Errorf("%s: %v", what, e)
		return
	}
	checkMessage(t, e)
}

func FuzzSanitize(f *testing.F) {
	for _, r := range hiddenRunes {
		f.Add("a "+string(r)+" b", 5)
	}
	f.Add("\xff\xfe e\u0301", 3)
	f.Fuzz(func(t *testing.T, text string, size int) {
		size = max(0, min(size, 1000))
		got := Sanitize(text, size)
		if r, found := hiddenIn(got); found || utf8.RuneCountInString(got) > size || !utf8.ValidString(got) ||
			strings.TrimSpace(got) != got {
			t.Errorf("%q within %d is shown as %q with %U", text, size, got, r)
		}
		if again := Sanitize(got, size); again != got {
			t.Errorf("%q becomes %q, then %q", text, got, again)
		}
	})
}

package main

import (
	"strings"
	"testing"
)

func TestWhatRepeatsItselfDoesNotScroll(t *testing.T) {
	for terminal, want := range map[bool]string{
		true:  "   first\n\033[1A\033[2K   second\n\033[1A\033[2K   third\n",
		false: "   first\n   second\n   third\n",
	} {
		var out strings.Builder
		s := &screen{out: &out, terminal: terminal}
		s.say("first")
		s.again("second")
		s.again("%s", "third")
		if out.String() != want {
			t.Errorf("on a terminal (%t) it prints %q, want %q", terminal, out.String(), want)
		}
	}
}

func TestALineThatIsReplacedIsOneLine(t *testing.T) {
	var out strings.Builder
	(&screen{out: &out, terminal: true}).again("%s\n%s", strings.Repeat("é", 100), "more")
	line := strings.TrimPrefix(out.String(), "\033[1A\033[2K")
	if strings.Count(line, "\n") != 1 || len([]rune(line)) > 80 {
		t.Errorf("it prints %q", line)
	}
}

func TestADemoWithAPersonTakesWhatThePersonAdds(t *testing.T) {
	want := counts{Registrations: 1, Grants: 1, Refreshes: 2, Revocations: 1}
	for name, test := range map[string]struct {
		seen            counts
		alone, together bool // whether that is as it should be, without and with a person
	}{
		"what the demo did":  {want, true, true},
		"more refreshes":     {counts{Registrations: 1, Grants: 1, Refreshes: 9, Revocations: 1}, true, true},
		"another connection": {counts{Registrations: 2, Grants: 2, Refreshes: 9, Revocations: 2}, false, true},
		"another consent":    {counts{Registrations: 1, Grants: 2, Refreshes: 9, Revocations: 1}, false, true},
		"no revocation":      {counts{Registrations: 1, Grants: 1, Refreshes: 2}, false, false},
		"a refresh token that is reused": {counts{Registrations: 1, Grants: 1, Refreshes: 2, Revocations: 1, Reuses: 1},
			false, false},
	} {
		if alone, together := test.seen.unexpected(want, false) == nil,
			test.seen.unexpected(want, true) == nil; alone != test.alone || together != test.together {
			t.Errorf("%s: without a person it is right: %t, with one: %t", name, alone, together)
		}
	}
}

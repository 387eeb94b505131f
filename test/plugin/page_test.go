package main

import (
	"strings"
	"testing"
)

func TestThePageHasTheHelpOfEveryVerb(t *testing.T) {
	_, text, err := readPage()
	must(t, err)
	if got, found := between(text, "verbs"); !found || got != help() {
		t.Errorf("%s tells of other verbs than --help: make docs", page)
	}
	for _, line := range strings.Split(text, "\n") {
		if command, is := strings.CutPrefix(line, "$ kubectl mcpc "); is &&
			!strings.Contains(text, "\n### "+strings.Fields(command)[0]+"\n") {
			t.Errorf("the session uses a verb that there is not: %s", line)
		}
	}
	if session, found := between(text, "session"); !found || strings.Count(session, "$ kubectl mcpc ") < 5 ||
		strings.Contains(session, "/connect/3") {
		t.Errorf("%s holds no session, or a link: make docs", page)
	}
}

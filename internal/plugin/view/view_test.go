package view_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/golden"
	"github.com/mcp-connection/operator/internal/plugin/view"
)

// now is when all screens are looked at.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// width that every screen fits.
var style = view.Style{Width: 80}

// compare compares a screen with a file of testdata.
func compare(t *testing.T, name, got string) {
	t.Helper()
	golden.Compare(t, name, got)
	for line := range strings.Lines(got) {
		// URLs are not broken.
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > style.Width && !strings.Contains(line, "/a/very/long/path/") {
			t.Errorf("%s has a line of %d characters: %s", name, n, line)
		}
	}
}

// connections of testdata/connections.yaml, by name.
func connections(t *testing.T) map[string]*v1alpha1.MCPConnection {
	t.Helper()
	text, err := os.ReadFile("testdata/connections.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*v1alpha1.MCPConnection{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		m := &v1alpha1.MCPConnection{}
		if err := yaml.Unmarshal([]byte(document), m); err != nil {
			t.Fatal(err)
		}
		all[m.Name] = m
	}
	return all
}

func TestStatusFitsAScreen(t *testing.T) {
	events := []corev1.Event{
		{Reason: "ConsentRequired", Type: corev1.EventTypeNormal, Message: "A person with an account at the server must " +
			"open the link in status.authorizationURL.", LastTimestamp: at(-3 * time.Hour)},
		{Reason: "RefreshFailing", Type: corev1.EventTypeWarning, Message: "The token endpoint answered 503 to a refresh.",
			EventTime: metav1.MicroTime{Time: now.Add(-4 * time.Minute)},
			Series:    &corev1.EventSeries{LastObservedTime: metav1.MicroTime{Time: now.Add(-10 * time.Second)}}},
		{Reason: "Succeeded", Type: corev1.EventTypeNormal, Message: "The grant is valid.",
			EventTime: metav1.MicroTime{Time: now.Add(-2 * time.Hour)}},
	}
	for name, m := range connections(t) {
		screen := view.Screen{Style: style, Now: now}
		if name == "failing" {
			screen.Events = events
		}
		compare(t, "status-"+name, screen.Status(m))
	}
}

func TestListsBeginWithThoseThatWaitForAPerson(t *testing.T) {
	var items []v1alpha1.MCPConnection
	for _, m := range connections(t) {
		items = append(items, *m)
	}
	view.Sort(items)
	for name, table := range map[string]view.Table{
		"list":   {Style: style, Now: now},
		"list-A": {Style: style, Now: now, Namespaces: true},
	} {
		var out bytes.Buffer
		if err := table.Write(&out, items); err != nil {
			t.Fatal(err)
		}
		compare(t, name, out.String())
	}
}

func TestAWideListCutsNothing(t *testing.T) {
	var out bytes.Buffer
	m := connections(t)["ready"]
	if err := (view.Table{Style: style, Now: now, Wide: true}).Write(&out, []v1alpha1.MCPConnection{*m}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AGE", "https://auth.notion.com", "files:read,offline_access", "ready-token",
		m.Spec.ServerURL} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("a wide list lacks %s:\n%s", want, out.String())
		}
	}
}

func TestColoursAreWrittenWhereTheyAreWanted(t *testing.T) {
	m := connections(t)["consent"]
	plain := view.Screen{Style: style, Now: now}.Status(m)
	coloured := view.Screen{Style: view.Style{Width: 80, Colour: true}, Now: now}.Status(m)
	if strings.Contains(plain, "\x1b") || !strings.Contains(coloured, "\x1b[31m✗\x1b[0m") {
		t.Errorf("colours are wrong:\n%q\n%q", plain, coloured)
	}
}

func TestWordsOfServersReachNoTerminalAsCommands(t *testing.T) {
	m := connections(t)["newer"]
	m.Status.Conditions[0].Message = "Look:\x1b]0;title\x07 \u009b2J\r\nover."
	if got := (view.Screen{Style: style, Now: now}).Status(m); strings.ContainsAny(got, "\x1b\x07\u009b\r") ||
		!strings.Contains(got, "over.") {
		t.Errorf("%q", got)
	}
	if got := view.Plain("\u202eevil"); got != "evil" {
		t.Errorf("%q", got)
	}
}

func TestTimesAreSeenFromNow(t *testing.T) {
	for want, offset := range map[string]time.Duration{"in 43m": 43 * time.Minute, "5s ago": -5 * time.Second,
		"now": 100 * time.Millisecond, "3d ago": -72 * time.Hour} {
		if got := view.Ago(now, ptr.To(at(offset))); got != want {
			t.Errorf("%s: %q, want %q", offset, got, want)
		}
	}
	if got := view.Ago(now, nil); got != "" {
		t.Error(got)
	}
}

func at(offset time.Duration) metav1.Time { return metav1.Time{Time: now.Add(offset)} }

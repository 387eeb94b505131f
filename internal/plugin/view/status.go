package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/reasons"
)

// column is where values begin.
const column = 12

// Screen draws one connection.
type Screen struct {
	Style
	// Now is what times are seen from.
	Now time.Time
	// Events of the connection, in any order; at most five are shown.
	Events []corev1.Event
}

// pipeline are the conditions in the order in which they are reached.
var pipeline = []string{
	v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered, v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed,
	v1alpha1.ConditionReady,
}

// Status is one screen about a connection: the pipeline, what is known, what fails, what to do, what happened last.
func (s Screen) Status(m *v1alpha1.MCPConnection) string {
	var out strings.Builder
	say := func(lines ...string) {
		for _, line := range lines {
			out.WriteString(strings.TrimRight(line, " ") + "\n")
		}
	}
	say(s.title(m), "")
	say(s.pipeline(m)...)
	say("")
	say(s.facts(m)...)
	if failures := s.failures(m); len(failures) > 0 {
		say("")
		say(failures...)
	}
	if next := s.next(m); len(next) > 0 {
		say("")
		say(next...)
	}
	if events := s.events(); len(events) > 0 {
		say("", "Events")
		say(events...)
	}
	return out.String()
}

func (s Screen) title(m *v1alpha1.MCPConnection) string {
	state := "not looked at yet"
	if ready := Condition(m, v1alpha1.ConditionReady); ready != nil {
		state = map[metav1.ConditionStatus]string{metav1.ConditionTrue: "Ready",
			metav1.ConditionFalse: "not Ready"}[ready.Status]
		if state == "" {
			state = "unknown"
		}
		state = s.paint(colourOf(string(ready.Status), ready.Reason), state)
	}
	if m.DeletionTimestamp != nil {
		state += ", being deleted since " + Ago(s.Now, m.DeletionTimestamp)
	}
	title := s.paint(bold, m.Namespace+"/"+m.Name) + "  " + state
	if observed := m.Status.ObservedGeneration; observed > 0 && observed < m.Generation {
		title += "  (the operator has not seen the last edit yet)"
	}
	return title
}

// pipeline has a tick for each condition that holds. A condition of a newer operator is shown too. The sentence stands
// where a person should read it: at what does not hold, or wants attention.
func (s Screen) pipeline(m *v1alpha1.MCPConnection) []string {
	kinds := slices.Clone(pipeline)
	for _, c := range m.Status.Conditions {
		if !v1alpha1.IsConditionType(c.Type) {
			kinds = append(kinds, Plain(c.Type))
		}
	}
	var lines []string
	said := ""
	for _, kind := range kinds {
		c := Condition(m, kind)
		lines = append(lines, s.tick(kind, c))
		if c == nil || c.Message == "" || c.Message == said || calm(c) {
			continue
		}
		said = c.Message
		for _, line := range s.Wrap(c.Message, 4) {
			lines = append(lines, "    "+line)
		}
	}
	return lines
}

func calm(c *metav1.Condition) bool {
	return c.Status == metav1.ConditionTrue && reasons.Is(c.Reason, reasons.Succeeds) ||
		c.Reason == v1alpha1.ReasonNotProbed
}

func (s Screen) tick(kind string, c *metav1.Condition) string {
	mark, colour, reason, since := "·", "", "", ""
	if c != nil {
		reason, since = Plain(c.Reason), Ago(s.Now, &c.LastTransitionTime)
		switch c.Status {
		case metav1.ConditionTrue:
			mark, colour = "✓", colourOf("True", c.Reason)
		case metav1.ConditionFalse:
			mark, colour = "✗", red
		case metav1.ConditionUnknown:
			mark, colour = "?", yellow
		}
	}
	return fmt.Sprintf("  %s %s %s %s", s.paint(colour, mark), pad(kind, column), pad(reason, 30), since)
}

// facts are what is known, one thing a line.
func (s Screen) facts(m *v1alpha1.MCPConnection) []string {
	status, lines := &m.Status, []string{}
	add := func(name string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		if len(parts) > 0 {
			lines = append(lines, s.field(name, strings.Join(parts, ", "))...)
		}
	}
	add("Server", m.Spec.ServerURL)
	add("", server(status.Server)...)
	add("Issuer", issuer(m))
	if c := status.Client; c != nil {
		add("Client", c.ID, string(c.Registration), c.AuthMethod, when(s.Now, "its secret expires ", c.ExpiresAt))
	}
	add("Scopes", strings.Join(status.Scopes, " "))
	add("By", status.AuthorizedBy)
	if t := status.Token; t != nil {
		add("Secret", t.SecretName)
		add("Token", when(s.Now, "issued ", t.IssuedAt), when(s.Now, refreshWord(s.Now, t.RefreshAt), t.RefreshAt),
			when(s.Now, expiresWord(s.Now, t.ExpiresAt), t.ExpiresAt))
		add("Grant", when(s.Now, "ends by itself ", t.GrantExpiresAt))
	}
	if status.AuthorizationURL != "" {
		add("Link", "there is one; whoever opens it binds their own account")
	}
	add("Planned", planned(s.Now, status.Next))
	add("Unknown", strings.Join(status.UnknownAnnotations, " "))
	return lines
}

func server(s *v1alpha1.ServerStatus) []string {
	if s == nil {
		return nil
	}
	parts := []string{strings.TrimSpace(s.Name + " " + s.Version)}
	if s.ProtocolVersion != "" {
		parts = append(parts, "MCP "+s.ProtocolVersion)
	}
	if s.Tools != nil {
		parts = append(parts, strings.TrimSuffix(fmt.Sprintf("%d tools", *s.Tools),
			map[bool]string{true: "s"}[*s.Tools == 1]))
	}
	return parts
}

// failures are the steps that fail, with a countdown to the next try.
func (s Screen) failures(m *v1alpha1.MCPConnection) []string {
	if m.Status.Failure == nil {
		return nil
	}
	var lines []string
	for _, f := range append([]v1alpha1.Failure{*m.Status.Failure}, m.Status.OtherFailures...) {
		text := fmt.Sprintf("%s: %d %s", Plain(f.Step), max(f.Attempts, 1),
			map[bool]string{true: "try", false: "tries"}[f.Attempts <= 1])
		if since := Ago(s.Now, f.Since); since != "" {
			text += ", the first " + since
		}
		switch retry := Ago(s.Now, f.RetryAt); {
		case f.RetryAt == nil:
			text += ", not tried again by itself"
		case f.RetryAt.After(s.Now):
			text += ", tried again " + retry
		default:
			text += ", tried again now"
		}
		lines = append(lines, s.field("Fails", text)...)
		if !told(m, f.Message) {
			lines = append(lines, s.field("", f.Message)...)
		}
	}
	return lines
}

// told reports whether a condition holds a sentence already.
func told(m *v1alpha1.MCPConnection, sentence string) bool {
	return slices.ContainsFunc(m.Status.Conditions, func(c metav1.Condition) bool {
		return strings.Contains(c.Message, strings.TrimSuffix(sentence, "."))
	})
}

// next is what to do, with the command unbroken on a line of its own.
func (s Screen) next(m *v1alpha1.MCPConnection) []string {
	sentence, command := Next(m)
	lines := s.field("Next", sentence)
	if command != "" && len(lines) > 0 {
		return append(lines, pad("", column)+command)
	}
	if command != "" {
		return []string{pad("Next", column) + command}
	}
	return lines
}

// field is a name and a value, which is broken at blanks.
func (s Screen) field(name, value string) []string {
	var lines []string
	for _, line := range s.Wrap(value, column) {
		lines = append(lines, pad(name, column)+line)
		name = ""
	}
	return lines
}

// shownEvents is how many fit the screen.
const shownEvents = 5

func (s Screen) events() []string {
	all := slices.Clone(s.Events)
	slices.SortStableFunc(all, func(a, b corev1.Event) int { return lastSeen(&b).Compare(lastSeen(&a)) })
	all = all[:min(len(all), shownEvents)]
	width := 0
	for i := range all {
		width = max(width, len([]rune(Plain(all[i].Reason))))
	}
	var lines []string
	for _, e := range all {
		at := metav1.Time{Time: lastSeen(&e)}
		reason := s.paint(map[bool]string{true: yellow}[e.Type == corev1.EventTypeWarning], pad(Plain(e.Reason), width))
		lines = append(lines, "  "+pad(Ago(s.Now, &at), column-2)+reason+"  "+cut(Plain(e.Message), s.rest(column+width+2)))
	}
	return lines
}

// rest is how much of a line is left; 0 is no limit.
func (s Screen) rest(used int) int {
	if s.Width <= 0 {
		return 0
	}
	return max(s.Width-used, 12)
}

func lastSeen(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

package report

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/doctor"
)

const (
	// maxLine of a log; longer ones are cut off by the reader.
	maxLine = 64 << 10
	// maxLines of one pod are kept, the newest.
	maxLines = 5000
)

// event is what is kept of an Event.
type event struct {
	Type      string      `json:"type"`
	Reason    string      `json:"reason"`
	Message   string      `json:"message"`
	Count     int32       `json:"count,omitempty"`
	FirstSeen metav1.Time `json:"firstSeen,omitempty"`
	LastSeen  metav1.Time `json:"lastSeen,omitempty"`
	From      string      `json:"from,omitempty"`
}

// events of the connection, in order of time.
func events(ctx context.Context, c kubernetes.Interface, conn *v1alpha1.MCPConnection, s *scrubber) ([]event, error) {
	list, err := c.CoreV1().Events(conn.Namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.AndSelectors(
		fields.OneTermEqualSelector("involvedObject.kind", "MCPConnection"),
		fields.OneTermEqualSelector("involvedObject.name", conn.Name),
	).String()})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	var out []event
	for i := range list.Items {
		out = append(out, eventOf(&list.Items[i], s))
	}
	slices.SortStableFunc(out, func(a, b event) int { return a.LastSeen.Compare(b.LastSeen.Time) })
	return out, nil
}

func eventOf(e *corev1.Event, s *scrubber) event {
	out := event{Type: e.Type, Reason: e.Reason, Message: s.text(e.Message), Count: e.Count, FirstSeen: e.FirstTimestamp,
		LastSeen: e.LastTimestamp, From: e.ReportingController}
	if out.From == "" {
		out.From = e.Source.Component
	}
	if out.LastSeen.IsZero() {
		out.FirstSeen = metav1.Time{Time: e.EventTime.Time}
		out.LastSeen = out.FirstSeen
		if e.Series != nil {
			out.Count, out.LastSeen = e.Series.Count, metav1.Time{Time: e.Series.LastObservedTime.Time}
		}
	}
	return out
}

// logs are the operator's lines about the connection, pod by pod, with what could not be read.
func logs(ctx context.Context, c kubernetes.Interface, o *doctor.Operator, conn *v1alpha1.MCPConnection,
	since time.Duration, s *scrubber) string {
	if o.Deployment == nil {
		return "# The operator's pods were not seen. " + o.Unseen + "\n"
	}
	pods, err := o.Pods(ctx, c)
	if err != nil {
		return "# " + s.text(oneLine(err.Error())) + "\n"
	}
	if len(pods) == 0 {
		return "# The operator has no pods.\n"
	}
	var read []podLog
	for i := range pods {
		l := podLog{pod: pods[i].Name}
		l.lines, l.err = podLines(ctx, c, &pods[i], o.Container(), conn, since)
		read = append(read, l)
	}
	return printed(read, s)
}

// podLog is what was read of one pod.
type podLog struct {
	pod   string
	lines []string
	err   error
}

// printed has the scrubber learn from all pods before a line of any is shown: one replica may name whom another audits.
func printed(read []podLog, s *scrubber) string {
	for _, l := range read {
		for _, line := range l.lines {
			learnPeople(line, s)
		}
	}
	var all strings.Builder
	for _, l := range read {
		fmt.Fprintf(&all, "# pod %s\n", l.pod)
		for _, line := range l.lines {
			all.WriteString(redactLine(line, s) + "\n")
		}
		if l.err != nil {
			fmt.Fprintf(&all, "# The log could not be read: %s\n", s.text(oneLine(l.err.Error())))
		}
	}
	return all.String()
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func podLines(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, container string,
	conn *v1alpha1.MCPConnection, since time.Duration) ([]string, error) {
	stream, err := c.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, SinceSeconds: ptr.To(int64(since / time.Second)), // no LimitBytes, which keeps the oldest
	}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("pods/log: %w", err)
	}
	defer func() { _ = stream.Close() }()
	return linesOf(stream, conn.Namespace+"/"+conn.Name)
}

// linesOf are the newest lines of a log whose key connection has that value, in both of the operator's formats.
func linesOf(log io.Reader, connection string) ([]string, error) {
	var out []string
	reader := bufio.NewReaderSize(log, maxLine)
	for {
		raw, err := reader.ReadSlice('\n')
		if line := strings.TrimSpace(string(raw)); isAbout(line, connection) {
			out = append(out, line)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is too long
			_, err = reader.ReadSlice('\n')
		}
		if len(out) > maxLines {
			out = slices.Delete(out, 0, len(out)-maxLines)
		}
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return out, fmt.Errorf("read the log: %w", err)
		}
	}
}

func isAbout(line, connection string) bool {
	at := strings.IndexByte(line, '{')
	if at < 0 {
		return false
	}
	var keys struct {
		Connection string `json:"connection"`
	}
	return json.Unmarshal([]byte(line[at:]), &keys) == nil && keys.Connection == connection
}

// people are keys of the log that say who did something, and from where.
var people = []string{"user", "client", "stacktrace"}

// members of a line, and where they begin; nil if it has none.
func members(line string) (map[string]json.RawMessage, int) {
	at := strings.IndexByte(line, '{')
	var m map[string]json.RawMessage
	if at < 0 || json.Unmarshal([]byte(line[at:]), &m) != nil {
		return nil, 0
	}
	return m, at
}

// learnPeople has the scrubber learn who is named in a line. Addresses are not learned: servers have some too.
func learnPeople(line string, s *scrubber) {
	m, _ := members(line)
	var user string
	if json.Unmarshal(m["user"], &user) == nil {
		s.learn(user)
	}
}

// redactLine leaves out who did something, and scrubs the rest.
func redactLine(line string, s *scrubber) string {
	m, at := members(line)
	if m == nil {
		return s.text(line)
	}
	for _, key := range people {
		if _, has := m[key]; has {
			m[key] = json.RawMessage(`"` + redacted + `"`)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return redacted
	}
	return s.text(line[:at]) + s.text(string(text))
}

package view

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/reasons"
)

// Table says which columns a list has.
type Table struct {
	Style
	// Namespaces adds the column NAMESPACE.
	Namespaces bool
	// Wide adds ISSUER, SCOPES and SECRET, and cuts nothing off.
	Wide bool
	// Now is what times are seen from.
	Now time.Time
}

// Sort orders connections: those that wait for a person first, of them those without a token; then by expiry, the
// soonest first and those without one last; then by name.
func Sort(items []v1alpha1.MCPConnection) {
	slices.SortStableFunc(items, func(a, b v1alpha1.MCPConnection) int {
		if d := rank(&a) - rank(&b); d != 0 {
			return d
		}
		if d := expiry(&a).Compare(expiry(&b)); d != 0 {
			return d
		}
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}

func rank(m *v1alpha1.MCPConnection) int {
	switch {
	case NeedsPerson(m) && !Ready(m):
		return 0
	case NeedsPerson(m):
		return 1
	case !Ready(m) && !Suspended(m):
		return 2
	}
	return 3
}

// expiry of the token; far away if there is none.
func expiry(m *v1alpha1.MCPConnection) time.Time {
	if m.Status.Token == nil || m.Status.Token.ExpiresAt == nil {
		return time.Unix(1<<40, 0)
	}
	return m.Status.Token.ExpiresAt.Time
}

// Write draws a list. The last column is cut to the width; nothing else is.
func (t Table) Write(w io.Writer, items []v1alpha1.MCPConnection) error {
	rows := [][]string{t.header()}
	for i := range items {
		rows = append(rows, t.row(&items[i]))
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for number, row := range rows {
		if _, err := fmt.Fprintln(w, t.line(row, widths, number > 0)); err != nil {
			return err
		}
	}
	return nil
}

func (t Table) header() []string {
	header := []string{"NAME", "READY", "REASON", "EXPIRES"}
	if t.Namespaces {
		header = append([]string{"NAMESPACE"}, header...)
	}
	if t.Wide {
		header = append(header, "AGE", "ISSUER", "SCOPES", "SECRET")
	}
	return append(header, "SERVER")
}

func (t Table) row(m *v1alpha1.MCPConnection) []string {
	ready := "Unknown"
	if c := Condition(m, v1alpha1.ConditionReady); c != nil {
		ready = string(c.Status)
	}
	row := []string{m.Name, ready, orNone(Plain(Reason(m))), orNone(expires(m, t.Now))}
	if t.Namespaces {
		row = append([]string{m.Namespace}, row...)
	}
	if t.Wide {
		row = append(row, strings.TrimSuffix(Ago(t.Now, &m.CreationTimestamp), " ago"), orNone(issuer(m)),
			orNone(strings.Join(m.Status.Scopes, ",")), orNone(secretName(m)))
	}
	if !t.Wide {
		return append(row, strings.TrimPrefix(Plain(m.Spec.ServerURL), "https://"))
	}
	return append(row, Plain(m.Spec.ServerURL))
}

// line is one row; the reason is coloured by what it means.
func (t Table) line(row []string, widths []int, coloured bool) string {
	var line strings.Builder
	used, last, ready := 0, len(row)-1, 1
	if t.Namespaces {
		ready++
	}
	for i, cell := range row {
		if i == last {
			if !t.Wide && t.Width > 0 {
				cell = cut(cell, max(t.Width-used, 12))
			}
			line.WriteString(cell)
			break
		}
		text := pad(cell, widths[i])
		used += utf8.RuneCountInString(text) + 3
		if coloured && (i == ready || i == ready+1) {
			text = t.paint(colourOf(row[ready], row[ready+1]), text)
		}
		line.WriteString(text + "   ")
	}
	return strings.TrimRight(line.String(), " ")
}

func colourOf(ready, reason string) string {
	switch {
	case ready == "True" && reasons.Is(reason, reasons.Succeeds):
		return green
	case ready == "False":
		return red
	}
	return yellow
}

func expires(m *v1alpha1.MCPConnection, now time.Time) string {
	if m.Status.Token == nil {
		return ""
	}
	return Ago(now, m.Status.Token.ExpiresAt)
}

func issuer(m *v1alpha1.MCPConnection) string {
	if m.Status.AuthorizationServer == nil {
		return ""
	}
	return m.Status.AuthorizationServer.Issuer
}

func secretName(m *v1alpha1.MCPConnection) string {
	if m.Status.Token == nil {
		return ""
	}
	return m.Status.Token.SecretName
}

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

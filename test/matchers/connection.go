// Package matchers holds Gomega matchers for MCPConnections. Their messages show the connection's conditions and when
// its token was issued, and never a link: who reads a test's log must not be able to consent.
package matchers

import (
	"fmt"
	"strings"
	"time"

	"github.com/onsi/gomega/types"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

// HaveCondition succeeds if a condition has the status and, unless it is empty, the reason, for the connection's
// current generation.
func HaveCondition(kind string, status metav1.ConditionStatus, reason string) types.GomegaMatcher {
	return &connection{
		wanted: strings.TrimSpace(fmt.Sprintf("have the condition %s=%s %s", kind, status, reason)),
		holds: func(c *v1alpha1.MCPConnection) bool {
			got := meta.FindStatusCondition(c.Status.Conditions, kind)
			return got != nil && got.Status == status && got.ObservedGeneration == c.Generation &&
				(reason == "" || got.Reason == reason)
		},
	}
}

// HoldToken succeeds if status names the Secret with a token, and the token was issued after the time. The zero time
// takes any token.
func HoldToken(after metav1.Time) types.GomegaMatcher {
	wanted := "hold a token"
	if !after.IsZero() {
		wanted += " issued after " + after.UTC().Format(time.RFC3339)
	}
	return &connection{wanted: wanted, holds: func(c *v1alpha1.MCPConnection) bool {
		token := c.Status.Token
		return token != nil && token.SecretName != "" && token.IssuedAt != nil && after.Before(token.IssuedAt)
	}}
}

// BeAtRest succeeds if status plans the next look for later than now: until then the operator leaves the connection
// alone.
func BeAtRest(now time.Time) types.GomegaMatcher {
	return &connection{wanted: "be at rest at " + now.UTC().Format(time.RFC3339),
		holds: func(c *v1alpha1.MCPConnection) bool {
			next := c.Status.Next
			return next != nil && next.At != nil && next.At.After(now)
		}}
}

// ObeyStatusLaws succeeds if the status of a connection that was reconciled at an instant breaks no law of status.
func ObeyStatusLaws(now time.Time) types.GomegaMatcher {
	return &connection{
		wanted:  "obey the laws of status",
		holds:   func(c *v1alpha1.MCPConnection) bool { return len(lifecycle.CheckStatusLaws(c, now)) == 0 },
		explain: func(c *v1alpha1.MCPConnection) []string { return lifecycle.CheckStatusLaws(c, now) },
	}
}

// connection is a matcher: wanted completes the sentence "the connection should".
type connection struct {
	wanted string
	holds  func(*v1alpha1.MCPConnection) bool
	// explain says what keeps it from holding; nil if what is there says it.
	explain func(*v1alpha1.MCPConnection) []string
}

// Match reports whether the connection is as wanted. What is no connection is an error.
func (m *connection) Match(actual any) (bool, error) {
	c, ok := actual.(*v1alpha1.MCPConnection)
	if !ok || c == nil {
		return false, fmt.Errorf("only a *MCPConnection can %s, not %T", m.wanted, actual)
	}
	return m.holds(c), nil
}

// FailureMessage says what was wanted and what is there.
func (m *connection) FailureMessage(actual any) string { return m.message(actual, "should") }

// NegatedFailureMessage says what was not wanted and what is there.
func (m *connection) NegatedFailureMessage(actual any) string { return m.message(actual, "should not") }

func (m *connection) message(actual any, verb string) string {
	c, ok := actual.(*v1alpha1.MCPConnection)
	if !ok || c == nil {
		return fmt.Sprintf("%T %s %s", actual, verb, m.wanted)
	}
	why, link := "", c.Status.AuthorizationURL
	if m.explain != nil {
		why = strings.Join(m.explain(c), "; ") + "\n"
	}
	message := fmt.Sprintf("connection %s/%s of generation %d %s %s; %sit has\n%s",
		c.Namespace, c.Name, c.Generation, verb, m.wanted, why, described(c))
	// A message that holds it is a fault.
	for _, secret := range []string{link, link[strings.LastIndexByte(link, '/')+1:]} {
		if secret != "" {
			message = strings.ReplaceAll(message, secret, "(link)")
		}
	}
	return message
}

// described are the conditions of a connection, what comes next and its token, one per line.
func described(c *v1alpha1.MCPConnection) string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, "    "+fmt.Sprintf(format, args...)) }
	for _, has := range c.Status.Conditions {
		add("%s=%s %s of generation %d: %s", has.Type, has.Status, has.Reason, has.ObservedGeneration, has.Message)
	}
	if len(lines) == 0 {
		add("no conditions")
	}
	if next := c.Status.Next; next != nil && next.At != nil {
		add("next %s at %s", next.Step, next.At.UTC().Format(time.RFC3339))
	}
	switch token := c.Status.Token; {
	case token == nil:
		add("no token")
	case token.IssuedAt == nil:
		add("a token in the Secret %q, issued nobody knows when", token.SecretName)
	default:
		add("a token in the Secret %q, issued %s", token.SecretName, token.IssuedAt.UTC().Format(time.RFC3339))
	}
	return strings.Join(lines, "\n")
}

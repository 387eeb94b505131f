package matchers

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var noon = metav1.NewTime(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC))

// ready is a connection that holds a token of noon, with changes.
func ready(change ...func(*v1alpha1.MCPConnection)) *v1alpha1.MCPConnection {
	issued := noon
	c := &v1alpha1.MCPConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "c", Generation: 2},
		Status: v1alpha1.MCPConnectionStatus{
			AuthorizationURL: "https://connect.test/connect/ticket",
			Conditions: []metav1.Condition{{
				Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded,
				ObservedGeneration: 2, Message: "It is.",
			}},
			Token: &v1alpha1.TokenStatus{SecretName: "c-token", IssuedAt: &issued},
		},
	}
	for _, edit := range change {
		edit(c)
	}
	return c
}

func TestMatchers(t *testing.T) {
	const (
		is  = "\n    Ready=True Succeeded of generation 2: It is."
		has = is + "\n    a token in the Secret \"c-token\", issued 2026-12-01T12:00:00Z"
	)
	stale := func(c *v1alpha1.MCPConnection) { c.Generation = 3 }
	nowhere := func(c *v1alpha1.MCPConnection) { c.Status.Token.SecretName = "" }
	timeless := func(c *v1alpha1.MCPConnection) { c.Status.Token.IssuedAt = nil }
	whole := func(c *v1alpha1.MCPConnection) {
		c.Status.ObservedGeneration, c.Status.AuthorizationURL = 2, ""
		c.Status.Conditions[0].LastTransitionTime = noon
	}
	timeAhead := func(c *v1alpha1.MCPConnection) {
		c.Status.Conditions[0].LastTransitionTime = metav1.NewTime(noon.Add(time.Second))
	}
	tellsLink := func(c *v1alpha1.MCPConnection) {
		c.Status.AuthorizationURL = "https://connect.test/connect/ticket"
		c.Status.Conditions[0].Message = "Open https://connect.test/connect/ticket."
	}
	later, earlier := metav1.NewTime(noon.Add(time.Second)), metav1.NewTime(noon.Add(-time.Second))
	for _, test := range []struct {
		name    string
		matcher types.GomegaMatcher
		c       *v1alpha1.MCPConnection
		want    string // the message of a failure; empty where the matcher succeeds
	}{
		{"HaveCondition takes the reason that was asked for", HaveCondition("Ready", "True", "Succeeded"), ready(), ""},
		{"HaveCondition takes any reason where none was asked for", HaveCondition("Ready", "True", ""), ready(), ""},
		{"HaveCondition refuses another reason", HaveCondition("Ready", "True", "Suspended"), ready(),
			"connection team-a/c of generation 2 should have the condition Ready=True Suspended; it has" + has},
		{"HaveCondition refuses another status", HaveCondition("Ready", "False", ""), ready(),
			"connection team-a/c of generation 2 should have the condition Ready=False; it has" + has},
		{"HaveCondition refuses a condition that is not there", HaveCondition("Probed", "True", ""), ready(),
			"connection team-a/c of generation 2 should have the condition Probed=True; it has" + has},
		{"HaveCondition refuses a condition of an older generation", HaveCondition("Ready", "True", ""), ready(stale),
			"connection team-a/c of generation 3 should have the condition Ready=True; it has" + has},
		{"HoldToken takes any token where no time was given", HoldToken(metav1.Time{}), ready(), ""},
		{"HoldToken takes a token of a later second", HoldToken(earlier), ready(), ""},
		{"HoldToken refuses a token of the same second", HoldToken(noon), ready(),
			"connection team-a/c of generation 2 should hold a token issued after 2026-12-01T12:00:00Z; it has" + has},
		{"HoldToken refuses an older token", HoldToken(later), ready(),
			"connection team-a/c of generation 2 should hold a token issued after 2026-12-01T12:00:01Z; it has" + has},
		{"HoldToken refuses a connection without one", HoldToken(metav1.Time{}), &v1alpha1.MCPConnection{},
			"connection / of generation 0 should hold a token; it has\n    no conditions\n    no token"},
		{"HoldToken refuses a token in no Secret", HoldToken(metav1.Time{}), ready(nowhere),
			"connection team-a/c of generation 2 should hold a token; it has" + strings.Replace(has, "c-token", "", 1)},
		{"HoldToken refuses a token of no time", HoldToken(metav1.Time{}), ready(timeless),
			"connection team-a/c of generation 2 should hold a token; it has" + is +
				"\n    a token in the Secret \"c-token\", issued nobody knows when"},
		{"BeAtRest takes a plan for later", BeAtRest(noon.Time), ready(nextAt(noon.Add(time.Second))), ""},
		{"BeAtRest refuses a plan for now", BeAtRest(noon.Time), ready(nextAt(noon.Time)),
			"connection team-a/c of generation 2 should be at rest at 2026-12-01T12:00:00Z; it has" + is +
				"\n    next refresh at 2026-12-01T12:00:00Z\n    a token in the Secret \"c-token\", issued 2026-12-01T12:00:00Z"},
		{"BeAtRest refuses a connection without a plan", BeAtRest(noon.Time), ready(),
			"connection team-a/c of generation 2 should be at rest at 2026-12-01T12:00:00Z; it has" + has},
		{"ObeyStatusLaws takes a whole status", ObeyStatusLaws(noon.Time), ready(whole), ""},
		{"ObeyStatusLaws says which law is broken", ObeyStatusLaws(noon.Time), ready(whole, timeAhead),
			"connection team-a/c of generation 2 should obey the laws of status; Ready changed at 2026-12-01 12:00:01 +0000 " +
				"UTC, and now is 2026-12-01 12:00:00 +0000 UTC\nit has" + has},
		{"ObeyStatusLaws prints no link that a message holds", ObeyStatusLaws(noon.Time), ready(whole, tellsLink),
			"connection team-a/c of generation 2 should obey the laws of status; the message of Ready holds the link\nit has" +
				strings.Replace(has, "It is.", "Open (link).", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.matcher.Match(test.c)
			if err != nil || got != (test.want == "") {
				t.Fatalf("it matches: %v (%v)", got, err)
			}
			message := test.matcher.FailureMessage(test.c)
			if test.want != "" && message != test.want {
				t.Errorf("the message is\n%s\nwant\n%s", message, test.want)
			}
			negated := test.matcher.NegatedFailureMessage(test.c)
			if want := strings.Replace(message, " should ", " should not ", 1); negated != want {
				t.Errorf("the negated message is\n%s\nwant\n%s", negated, want)
			}
			if strings.Contains(message, "ticket") {
				t.Error("the message holds the link")
			}
		})
	}
}

// nextAt plans a refresh.
func nextAt(at time.Time) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		c.Status.Next = &v1alpha1.NextStatus{Step: "refresh", At: &metav1.Time{Time: at}}
	}
}

func TestMatchersAreForConnectionsOnly(t *testing.T) {
	var missing *v1alpha1.MCPConnection
	for name, actual := range map[string]any{"nothing": nil, "no connection yet": missing, "another kind": "c"} {
		for _, matcher := range []types.GomegaMatcher{HaveCondition("Ready", "True", ""), HoldToken(metav1.Time{}),
			BeAtRest(noon.Time), ObeyStatusLaws(noon.Time)} {
			if got, err := matcher.Match(actual); got || err == nil {
				t.Errorf("%s matches: %v (%v)", name, got, err)
			}
			if matcher.FailureMessage(actual) == "" {
				t.Errorf("%s has no message", name)
			}
		}
	}
}

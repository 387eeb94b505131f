package lifecycle

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestAChangeOfStateIsToldAsWhatItIs(t *testing.T) {
	at := func(minute int) *metav1.Time {
		return &metav1.Time{Time: time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC)}
	}
	authorized := func(issued *metav1.Time) v1alpha1.MCPConnectionStatus {
		return v1alpha1.MCPConnectionStatus{
			Token:      &v1alpha1.TokenStatus{IssuedAt: issued},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAuthorized, Status: metav1.ConditionTrue}},
		}
	}
	failing := func(s Step, reason string) v1alpha1.MCPConnectionStatus {
		return v1alpha1.MCPConnectionStatus{Failure: &v1alpha1.Failure{Step: string(s), Reason: reason}}
	}
	linked := authorized(at(1))
	linked.AuthorizationURL = "https://connect.example.com/connect/x"
	revoked := v1alpha1.MCPConnectionStatus{LastHandled: &v1alpha1.LastHandled{Revoke: "1"}}
	for name, test := range map[string]struct {
		before, after v1alpha1.MCPConnectionStatus
		notes         []Note
		want          string
	}{
		"nothing changed":               {before: authorized(at(1)), after: authorized(at(1))},
		"a token is new":                {after: authorized(at(1)), want: "authorized"},
		"a token is another":            {before: authorized(at(1)), after: authorized(at(2)), want: "refreshed"},
		"a token is of another consent": {before: linked, after: authorized(at(2)), want: "authorized"},
		"a step fails in another way": {before: failing(StepDiscover, "A"), after: failing(StepDiscover, "B"),
			want: "failed"},
		"another step fails":  {before: failing(StepDiscover, "A"), after: failing(StepRegister, "A"), want: "failed healed"},
		"a grant was revoked": {after: revoked, want: "revoked"},
		"a grant could not be revoked": {after: revoked, notes: []Note{{Reason: revocationFailed}},
			want: "failed"},
		"a grant was revoked at last": {before: failing(StepRevoke, "A"), after: revoked, want: "revoked"},
		"a grant could not be revoked and is let go": {before: failing(StepRevoke, "A"), after: revoked,
			notes: []Note{{Reason: revocationFailed}}, want: "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, c := range Changes(&test.before, &test.after, test.notes) {
				got = append(got, c.What)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("it says %q, want %q", got, test.want)
			}
		})
	}
}

// TestTheReferenceHasTheLinesOfTheLog reads the source, so that no line is forgotten.
func TestTheReferenceHasTheLinesOfTheLog(t *testing.T) {
	source, err := os.ReadFile("changes.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Log\n")
	table, _, _ = strings.Cut(table, "\n## ")
	messages := map[string]bool{}
	change := regexp.MustCompile(`Change\{(?:What: |\d, )"(\w+)"(?:, (?:Values: )?\[\]any\{([^{}]*)\})?\}`)
	for _, line := range change.FindAllStringSubmatch(strings.Join(strings.Fields(string(source)), " "), -1) {
		messages[line[1]] = true
		_, row, found := strings.Cut(table, "| `"+line[1]+"` |")
		if row, _, _ = strings.Cut(row, "\n"); !found {
			t.Errorf("the reference lacks %s", line[1])
		}
		for _, key := range regexp.MustCompile(`"(\w+)", `).FindAllStringSubmatch(line[2]+", ", -1) {
			if !strings.Contains(row, "`"+key[1]+"`") {
				t.Errorf("the reference lacks %s of %s", key[1], line[1])
			}
		}
	}
	if rows := strings.Count(table, "\n| `"); rows != len(messages) || rows == 0 {
		t.Errorf("the reference has %d lines, the source %d: %v", rows, len(messages), messages)
	}
}

package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// isSentence ends with a full stop, or with what is to be pasted: in quotes, or on lines of its own.
var isSentence = regexp.MustCompile("(?s)([.]|\"[^\"]+\"|`[^`]+`|:\n.+)$")

var reasonForm = regexp.MustCompile(`^[A-Z][A-Za-z]*$`)

// checkStatusLaws says which laws of status a connection breaks, as one sentence each. now is when it was reconciled.
func checkStatusLaws(conn *v1alpha1.MCPConnection, now time.Time) []string {
	l := &laws{now: now}
	status := &conn.Status
	if status.ObservedGeneration != conn.Generation {
		l.broken("observedGeneration is %d at generation %d", status.ObservedGeneration, conn.Generation)
	}
	seen := map[string]bool{}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if seen[c.Type] {
			l.broken("%s is there twice", c.Type)
		}
		seen[c.Type] = true
		l.condition(conn, c)
	}
	l.readiness(conn)
	l.failures(status)
	return l.out
}

type laws struct {
	now time.Time
	out []string
}

func (l *laws) broken(format string, args ...any) {
	l.out = append(l.out, fmt.Sprintf(format, args...))
}

// condition checks what holds for each condition by itself.
func (l *laws) condition(conn *v1alpha1.MCPConnection, c *metav1.Condition) {
	if c.ObservedGeneration != conn.Status.ObservedGeneration {
		l.broken("%s speaks of generation %d, the status of %d", c.Type, c.ObservedGeneration, conn.Status.ObservedGeneration)
	}
	if c.LastTransitionTime.IsZero() || c.LastTransitionTime.After(l.now) {
		l.broken("%s changed at %s, and now is %s", c.Type, c.LastTransitionTime, l.now)
	}
	if !reasonForm.MatchString(c.Reason) {
		l.broken("%s has the reason %q", c.Type, c.Reason)
	}
	l.message(conn, c.Type, c.Message)
	abnormal := c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled
	switch {
	case abnormal && c.Status != metav1.ConditionTrue:
		l.broken("%s is %s: abnormal conditions are True or absent", c.Type, c.Status)
	case !abnormal && c.Type != v1alpha1.ConditionProbed && c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse:
		l.broken("%s is %q", c.Type, c.Status)
	case abnormal || c.Type == v1alpha1.ConditionReady: // see readiness
	case !v1alpha1.IsConditionType(c.Type):
		l.broken("%s is no condition of the contract", c.Type)
	case !slices.Contains(reasonsAt(c.Type, c.Status), c.Reason):
		l.broken("%s=%s cannot have the reason %s", c.Type, c.Status, c.Reason)
	}
}

// message checks that a text is a sentence for a person and holds no link.
func (l *laws) message(conn *v1alpha1.MCPConnection, where, text string) {
	if text == "" || text != strings.TrimSpace(text) || !isSentence.MatchString(text) || strings.HasSuffix(text, "..") || len(text) > 32768 {
		l.broken("the message of %s is no sentence: %q", where, text)
	}
	link := conn.Status.AuthorizationURL
	ticket := link[strings.LastIndexByte(link, '/')+1:]
	if strings.Contains(text, "/connect/") || (ticket != "" && strings.Contains(text, ticket)) {
		l.broken("the message of %s holds the link", where)
	}
}

// readiness checks Ready against the other conditions and the token.
func (l *laws) readiness(conn *v1alpha1.MCPConnection) {
	conditions := conn.Status.Conditions
	ready := findCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil {
		l.broken("Ready is missing")
		return
	}
	reconciling, stalled := findCondition(conditions, v1alpha1.ConditionReconciling), findCondition(conditions, v1alpha1.ConditionStalled)
	suspended := ready.Reason == v1alpha1.ReasonSuspended
	switch {
	case reconciling != nil && stalled != nil:
		l.broken("Reconciling and Stalled are both present")
	case ready.Status == metav1.ConditionTrue && (reconciling != nil || stalled != nil):
		l.broken("Reconciling or Stalled is present while Ready is True")
	case ready.Status == metav1.ConditionFalse && !suspended && reconciling == nil && stalled == nil:
		l.broken("neither Reconciling nor Stalled is present while Ready is False")
	}
	for _, c := range []*metav1.Condition{reconciling, stalled} {
		if c != nil && c.Reason != ready.Reason {
			l.broken("%s says %s and Ready says %s", c.Type, c.Reason, ready.Reason)
		}
	}
	if suspended && conn.Status.AuthorizationURL != "" {
		l.broken("a link is shown while the connection is suspended")
	}
	if f := failures(append([]v1alpha1.Failure{ptr.Deref(conn.Status.Failure, v1alpha1.Failure{})}, conn.Status.OtherFailures...)).find(stepFinalize); f != nil {
		if ready.Reason != f.Reason {
			l.broken("Ready says %s, and the deletion fails with %s", ready.Reason, f.Reason)
		}
	} else {
		l.readyReason(conditions, ready)
	}
	token := conn.Status.Token
	if ready.Status == metav1.ConditionTrue && (token == nil || token.SecretName == "" || (token.ExpiresAt != nil && !token.ExpiresAt.After(l.now))) {
		l.broken("Ready is True with the token %+v", token)
	}
}

// readyReason checks that Ready's reason is its own or that of a condition it follows from.
func (l *laws) readyReason(conditions []metav1.Condition, ready *metav1.Condition) {
	probed := findCondition(conditions, v1alpha1.ConditionProbed)
	wants := map[string]metav1.ConditionStatus{v1alpha1.ReasonProbeUnauthorized: metav1.ConditionFalse, v1alpha1.ReasonInsufficientScope: metav1.ConditionTrue}
	if probed != nil && wants[probed.Reason] == ready.Status && probed.Reason == ready.Reason {
		return
	}
	if probed != nil && (wants[probed.Reason] != "" && is(ready.Reason, yields) ||
		probed.Reason == v1alpha1.ReasonProbeUnauthorized && ready.Status == metav1.ConditionTrue) {
		l.broken("Ready=%s says %s, and Probed=%s says %s", ready.Status, ready.Reason, probed.Status, probed.Reason)
	}
	if slices.Contains(reasonsAt(v1alpha1.ConditionReady, ready.Status), ready.Reason) {
		return
	}
	for _, name := range []string{v1alpha1.ConditionDiscovered, v1alpha1.ConditionRegistered, v1alpha1.ConditionAuthorized} {
		c := findCondition(conditions, name)
		if c == nil || (ready.Status == metav1.ConditionTrue && name != v1alpha1.ConditionAuthorized) {
			continue
		}
		if ready.Status == metav1.ConditionTrue || c.Status != metav1.ConditionTrue {
			if c.Reason != ready.Reason {
				l.broken("Ready=%s says %s, but %s=%s says %s", ready.Status, ready.Reason, name, c.Status, c.Reason)
			}
			return
		}
	}
	if ready.Status != metav1.ConditionTrue || ready.Reason != v1alpha1.ReasonSucceeded {
		l.broken("Ready=%s says %s, and no condition says why", ready.Status, ready.Reason)
	}
}

// failures checks that status.failure and status.otherFailures are whole.
func (l *laws) failures(status *v1alpha1.MCPConnectionStatus) {
	if status.Failure == nil {
		if len(status.OtherFailures) > 0 {
			l.broken("there are other failures but no failure")
		}
		return
	}
	var steps []string
	for _, f := range append([]v1alpha1.Failure{*status.Failure}, status.OtherFailures...) {
		if slices.Contains(steps, f.Step) || importance(step(f.Step)) < 0 {
			l.broken("a failure of step %q after %v", f.Step, steps)
		}
		steps = append(steps, f.Step)
		if f.Attempts < 1 || f.Since == nil || f.Since.After(l.now.Add(time.Second)) || f.Reason == "" || f.Trigger == "" {
			l.broken("the failure of %s is not whole: %+v", f.Step, f)
		}
		if f.RetryAt != nil && f.Since != nil && f.RetryAt.Before(f.Since) {
			l.broken("%s is retried at %s, before it failed at %s", f.Step, f.RetryAt, f.Since)
		}
		l.message(&v1alpha1.MCPConnection{Status: *status}, "the failure of "+f.Step, f.Message)
	}
}

func TestTheLawsOfStatusNoticeWhatIsBroken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := func() *v1alpha1.MCPConnection {
		conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
		conn.Status = v1alpha1.MCPConnectionStatus{ObservedGeneration: 2, AuthorizationURL: "https://connect.example.com/connect/secret",
			Failure: &v1alpha1.Failure{Step: "discover", Attempts: 1, Since: timeOf(now), RetryAt: timeOf(now.Add(time.Second)), Reason: "ServerUnreachable", Trigger: "x", Message: "No answer."}}
		for _, name := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionDiscovered, v1alpha1.ConditionReconciling} {
			c := metav1.Condition{Type: name, Status: metav1.ConditionFalse, Reason: "ServerUnreachable", Message: "No answer.", ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(now)}
			if name == v1alpha1.ConditionReconciling {
				c.Status = metav1.ConditionTrue
			}
			conn.Status.Conditions = append(conn.Status.Conditions, c)
		}
		return conn
	}
	if broken := checkStatusLaws(whole(), now); broken != nil {
		t.Fatalf("a whole status breaks %q", broken)
	}
	for name, harm := range map[string]func(*v1alpha1.MCPConnectionStatus){
		"an old generation":            func(s *v1alpha1.MCPConnectionStatus) { s.ObservedGeneration = 1 },
		"a condition's old generation": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].ObservedGeneration = 1 },
		"a condition twice":            func(s *v1alpha1.MCPConnectionStatus) { s.Conditions = append(s.Conditions, s.Conditions[1]) },
		"no Ready":                     func(s *v1alpha1.MCPConnectionStatus) { s.Conditions = s.Conditions[1:] },
		"no message":                   func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Message = "" },
		"half a sentence":              func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Message = "no answer" },
		"a link in a message":          func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Message = "Open x/connect/y." },
		"a ticket in a failure":        func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Message = "Take secret." },
		"a foreign reason":             func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Reason = "TokenExpired" },
		"a time ahead":                 func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].LastTransitionTime = metav1.NewTime(now.Add(1)) },
		"no time":                      func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].LastTransitionTime = metav1.Time{} },
		"an Unknown":                   func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Status = metav1.ConditionUnknown },
		"Reconciling False":            func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[2].Status = metav1.ConditionFalse },
		"Reconciling of another mind":  func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[2].Reason = "Progressing" },
		"Reconciling while Ready":      func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Status = metav1.ConditionTrue },
		"neither of the two":           func(s *v1alpha1.MCPConnectionStatus) { s.Conditions = s.Conditions[:2] },
		"Ready of another mind":        func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Reason = "TokenExpired" },
		"Ready without a reason":       func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Reason = "" },
		"Ready without a token": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions = s.Conditions[:1]
			s.Conditions[0].Status = "True"
		},
		"a link while suspended": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Reason = v1alpha1.ReasonSuspended },
		"an unknown condition":   func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Type = "Heard" },
		"a refused token that Ready does not mention": func(s *v1alpha1.MCPConnectionStatus) {
			s.Token = &v1alpha1.TokenStatus{SecretName: "x"}
			s.Conditions = s.Conditions[:2]
			s.Conditions[0].Status, s.Conditions[0].Reason = "True", v1alpha1.ReasonSucceeded
			s.Conditions[1].Type, s.Conditions[1].Reason = v1alpha1.ConditionProbed, v1alpha1.ReasonInsufficientScope
		},
		"others without a failure": func(s *v1alpha1.MCPConnectionStatus) {
			s.OtherFailures, s.Failure = []v1alpha1.Failure{*s.Failure}, nil
		},
		"a failure twice":            func(s *v1alpha1.MCPConnectionStatus) { s.OtherFailures = []v1alpha1.Failure{*s.Failure} },
		"a failure of nothing":       func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Step = "dance" },
		"a failure without attempts": func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Attempts = 0 },
		"a retry before the failure": func(s *v1alpha1.MCPConnectionStatus) { s.Failure.RetryAt = timeOf(now.Add(-time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			conn := whole()
			harm(&conn.Status)
			if checkStatusLaws(conn, now) == nil {
				t.Error("nobody noticed")
			}
		})
	}
}

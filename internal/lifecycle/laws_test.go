package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestTheLawsOfStatusNoticeWhatIsBroken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := func() *v1alpha1.MCPConnection {
		conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
		conn.Status = v1alpha1.MCPConnectionStatus{ObservedGeneration: 2,
			AuthorizationURL: "https://connect.example.com/connect/secret",
			Failure: &v1alpha1.Failure{Step: "discover", Attempts: 1, Since: TimeOf(now),
				RetryAt: TimeOf(now.Add(time.Second)), Reason: "ServerUnreachable", Trigger: "x", Message: "No answer."}}
		for _, name := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionDiscovered, v1alpha1.ConditionReconciling} {
			c := metav1.Condition{Type: name, Status: metav1.ConditionFalse, Reason: "ServerUnreachable", Message: "No answer.",
				ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(now)}
			if name == v1alpha1.ConditionReconciling {
				c.Status = metav1.ConditionTrue
			}
			conn.Status.Conditions = append(conn.Status.Conditions, c)
		}
		return conn
	}
	if broken := CheckStatusLaws(whole(), now); broken != nil {
		t.Fatalf("a whole status breaks %q", broken)
	}
	for name, harm := range map[string]func(*v1alpha1.MCPConnectionStatus){
		"an old generation":            func(s *v1alpha1.MCPConnectionStatus) { s.ObservedGeneration = 1 },
		"a condition's old generation": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].ObservedGeneration = 1 },
		"a condition twice": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions = append(s.Conditions, s.Conditions[1])
		},
		"no Ready":        func(s *v1alpha1.MCPConnectionStatus) { s.Conditions = s.Conditions[1:] },
		"no message":      func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Message = "" },
		"half a sentence": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Message = "no answer" },
		"a link in a message": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[1].Message = "Open x/connect/y."
		},
		"a ticket in a failure": func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Message = "Take secret." },
		"a foreign reason":      func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[1].Reason = "TokenExpired" },
		"a time ahead": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[1].LastTransitionTime = metav1.NewTime(now.Add(1))
		},
		"no time": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[1].LastTransitionTime = metav1.Time{}
		},
		"an Unknown": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[1].Status = metav1.ConditionUnknown
		},
		"Reconciling False": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[2].Status = metav1.ConditionFalse
		},
		"Reconciling of another mind": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[2].Reason = "Progressing" },
		"Reconciling while Ready": func(s *v1alpha1.MCPConnectionStatus) {
			s.Conditions[0].Status = metav1.ConditionTrue
		},
		"neither of the two":     func(s *v1alpha1.MCPConnectionStatus) { s.Conditions = s.Conditions[:2] },
		"Ready of another mind":  func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Reason = "TokenExpired" },
		"Ready without a reason": func(s *v1alpha1.MCPConnectionStatus) { s.Conditions[0].Reason = "" },
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
		"a failure twice": func(s *v1alpha1.MCPConnectionStatus) {
			s.OtherFailures = []v1alpha1.Failure{*s.Failure}
		},
		"a failure of nothing":       func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Step = "dance" },
		"a failure without attempts": func(s *v1alpha1.MCPConnectionStatus) { s.Failure.Attempts = 0 },
		"a retry before the failure": func(s *v1alpha1.MCPConnectionStatus) {
			s.Failure.RetryAt = TimeOf(now.Add(-time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn := whole()
			harm(&conn.Status)
			if CheckStatusLaws(conn, now) == nil {
				t.Error("nobody noticed")
			}
		})
	}
}

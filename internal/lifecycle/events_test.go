package lifecycle

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAnEventTellsWhatChanged(t *testing.T) {
	of := func(conditions ...string) []metav1.Condition {
		out := []metav1.Condition{}
		for _, c := range conditions {
			parts := strings.Fields(c)
			out = append(out, metav1.Condition{Type: parts[0], Status: metav1.ConditionStatus(parts[1]), Reason: parts[2],
				Message: c + "."})
		}
		return out
	}
	for name, test := range map[string]struct {
		before, after []metav1.Condition
		reason        string
		warning       bool
	}{
		"nothing":        {before: of("Ready True Succeeded"), after: of("Ready True Succeeded")},
		"the first look": {after: of("Ready False Progressing"), reason: "Progressing"},
		"a consent is wanted": {before: of("Ready False Progressing"), after: of("Ready False ConsentRequired"),
			reason: "ConsentRequired"},
		"a token is there": {before: of("Ready False ConsentRequired"), after: of("Ready True Succeeded"),
			reason: "Succeeded"},
		"a token expired": {before: of("Ready True Succeeded"), after: of("Ready False TokenExpired"),
			reason: "TokenExpired", warning: true},
		"a refresh fails": {before: of("Ready True Succeeded"), after: of("Ready True RefreshFailing"),
			reason: "RefreshFailing", warning: true},
		"a request is refused": {before: of("Ready False ConsentRequired"),
			after: of("Ready False AuthorizationRequestRejected"), reason: "AuthorizationRequestRejected", warning: true},
		"a grant ended": {before: of("Ready True Succeeded"), after: of("Ready True RefreshRejected"),
			reason: "RefreshRejected", warning: true},
		"a suspension": {before: of("Ready True Succeeded"), after: of("Ready True Suspended"),
			reason: "Suspended"},
		"no refresh token": {before: of("Ready True Succeeded"), after: of("Ready True NoRefreshToken"),
			reason: "NoRefreshToken"},
		"Ready speaks for the others": {before: of("Ready True Succeeded", "Authorized True Succeeded"),
			after: of("Ready False TokenExpired", "Authorized False TokenExpired"), reason: "TokenExpired", warning: true},
		"another condition by itself": {before: of("Ready True RefreshRejected", "Discovered True Succeeded"),
			after: of("Ready True RefreshRejected", "Discovered False ServerUnreachable"), reason: "ServerUnreachable",
			warning: true},
		"a condition that is just there": {before: of("Ready False Progressing"),
			after: of("Ready False Progressing", "Discovered True Succeeded")},
		"a condition that went": {before: of("Ready False Progressing", "Authorized False ConsentRequired"),
			after: of("Ready False Progressing")},
		"another message": {before: of("Ready True Succeeded"),
			after: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Succeeded", Message: "Other."}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := EventOf(test.before, test.after)
			switch {
			case test.reason == "" && got != nil:
				t.Errorf("the event %+v", got)
			case test.reason != "" && (got == nil || got.Reason != test.reason || got.Warning != test.warning ||
				got.Message == ""):
				t.Errorf("the event is %+v, want %s", got, test.reason)
			}
		})
	}
}

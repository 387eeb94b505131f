package view

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// planned is what the operator does next by itself.
func planned(now time.Time, next *v1alpha1.NextStatus) string {
	if next == nil || next.At == nil {
		return ""
	}
	what := cmp.Or(map[string]string{"observe": "another look", "startAuthorization": "another link",
		"requestToken": "another token"}[next.Step], Plain(next.Step))
	if next.At.After(now) {
		return what + " " + Ago(now, next.At)
	}
	return what + ", due " + Ago(now, next.At)
}

func refreshWord(now time.Time, t *metav1.Time) string {
	if t != nil && !t.After(now) {
		return "refresh due "
	}
	return "refreshed "
}

func expiresWord(now time.Time, t *metav1.Time) string {
	if t != nil && !t.After(now) {
		return "expired "
	}
	return "expires "
}

func when(now time.Time, word string, t *metav1.Time) string {
	if text := Ago(now, t); text != "" {
		return word + text
	}
	return ""
}

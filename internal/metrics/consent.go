package metrics

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// consentSince is since when a person could help: since there is no grant, since the server demands more scopes, or
// since two thirds of the life of a token that cannot be refreshed. It is nil if nobody is waited for, and where a link
// is open beside a token that is refreshed all the same: status does not tell since when that is.
func consentSince(status *v1alpha1.MCPConnectionStatus) *metav1.Time {
	authorized := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionAuthorized)
	if authorized == nil || (status.AuthorizationURL == "" && authorized.Reason != v1alpha1.ReasonConsentUnavailable) {
		return nil
	}
	if authorized.Status != metav1.ConditionTrue {
		return &authorized.LastTransitionTime
	}
	probed := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionProbed)
	if probed != nil && probed.Reason == v1alpha1.ReasonInsufficientScope && probed.Status == metav1.ConditionFalse {
		return &probed.LastTransitionTime
	}
	if t := status.Token; t != nil && t.RefreshAt == nil && t.IssuedAt != nil && t.ExpiresAt != nil {
		since := metav1.NewTime(t.IssuedAt.Add(t.ExpiresAt.Sub(t.IssuedAt.Time) * 2 / 3).Truncate(time.Second))
		return &since
	}
	return nil
}

package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/slots"
)

// urgency is that of the next step, by what was read.
func (o *observed) urgency(now time.Time) slots.Urgency {
	g := o.grant()
	switch {
	case o.conn == nil, o.deleted(), o.suspended(), o.unusable != nil, o.saving != nil:
		return slots.Ordinary
	case o.response() != nil && !o.failures.waiting(stepExchangeCode, now):
		return slots.DueExchange
	case !renewable(g), g.SetAside != nil, g.Revoke != "", o.renewalTime(g, now).After(now):
		return slots.Ordinary
	case o.failures.waiting(stepRefresh, now), o.failures.waiting(stepRequestToken, now), fateUnknown(g, now):
		return slots.Ordinary
	}
	return slots.RefreshUrgency(g.RefreshAt, g.ExpiresAt, o.renewalFails())
}

// expectedUrgency is the same, as far as caches can tell.
func expectedUrgency(now time.Time, conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) slots.Urgency {
	t, failed := conn.Status.Token, failuresOf(conn)
	switch {
	case !conn.DeletionTimestamp.IsZero(), ptr.Deref(conn.Spec.Suspend, false):
		return slots.Ordinary
	case codeRecorded(held) && !failed.waiting(stepExchangeCode, now):
		return slots.DueExchange
	case t == nil, t.RefreshAt == nil, failed.waiting(stepRefresh, now), failed.waiting(stepRequestToken, now):
		return slots.Ordinary
	case RefreshMoment(conn.UID, t.RefreshAt.Time).After(now):
		return slots.Ordinary
	}
	return slots.RefreshUrgency(t.RefreshAt.Time, ptr.Deref(t.ExpiresAt, metav1.Time{}).Time, failed.has(stepRefresh) || failed.has(stepRequestToken))
}

// codeRecorded reports whether an authorization response waits for the reconciler.
func codeRecorded(held *metav1.PartialObjectMetadata) bool {
	return held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled]
}

// ordered is a result whose turn comes by what will be due at its time.
func ordered(result ctrl.Result, now time.Time, urgencyAt func(time.Time) slots.Urgency) ctrl.Result {
	result.Priority = ptr.To(int(urgencyAt(now.Add(result.RequeueAfter))))
	return result
}

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

// urgency is that of the most urgent step that is due, by what was read.
func urgency(now time.Time, o *observed) slots.Urgency {
	most := slots.Ordinary
	if o.conn == nil { // it was let go
		return most
	}
	for t := range tasks(now, o) {
		switch {
		case !t.due(now):
		case t.step == stepExchangeCode:
			most = max(most, slots.DueExchange)
		case !t.deadline.IsZero():
			most = max(most, slots.RefreshUrgency(t.deadline, o.renewalFails()))
		}
	}
	return most
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
	return slots.RefreshUrgency(deadline(t.RefreshAt.Time, ptr.Deref(t.ExpiresAt, metav1.Time{}).Time), failed.has(stepRefresh) || failed.has(stepRequestToken))
}

// codeRecorded reports whether an authorization response waits for the reconciler.
func codeRecorded(held *metav1.PartialObjectMetadata) bool {
	return held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled]
}

// wakeAt turns an instant into a result whose turn comes by what will be due then; the zero time wakes nobody.
func wakeAt(now, at time.Time, urgencyAt func(time.Time) slots.Urgency) ctrl.Result {
	result := ctrl.Result{}
	if !at.IsZero() {
		result.RequeueAfter = at.Sub(now)
	}
	result.Priority = ptr.To(int(urgencyAt(now.Add(result.RequeueAfter))))
	return result
}

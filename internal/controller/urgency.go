package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// urgency orders work: what has more comes first, in the work queue and, within a namespace, in the lines for slots. It names an instant, never
// how long is left, so that it stays right while it waits.
type urgency int

const (
	// ordinary is all work but the exchange of a code and a refresh that is due. Requeued work that failed is ordinary too.
	ordinary urgency = 0
	// called is ordinary work that waited for something else than a slot, and need not wait any longer.
	called urgency = 1
	// failedRefresh and dueRefresh, less the deadline in seconds, are of refreshes that are due. One that failed already comes after all others.
	failedRefresh urgency = 1 << 48
	dueRefresh    urgency = 1 << 49
	// dueExchange is of a code: a person has consented, and it is good for minutes.
	dueExchange urgency = 1 << 50
	// served is of who was woken because slots were taken for it: until it is back they lie idle.
	served urgency = 1 << 51
)

// reserved reports whether slots that are kept free for it serve this work.
func (u urgency) reserved() bool { return u > called }

// byDeadline is the urgency of a refresh that is due: before the token's expiry, or its planned time if nobody knows that.
func byDeadline(refreshAt, expiresAt time.Time, failed bool) urgency {
	deadline := expiresAt
	if deadline.IsZero() {
		deadline = refreshAt
	}
	if failed {
		return failedRefresh - urgency(deadline.Unix())
	}
	return dueRefresh - urgency(deadline.Unix())
}

// urgency is that of the next step, by what was read.
func (o *observed) urgency(now time.Time) urgency {
	g := o.grant()
	switch {
	case o.conn == nil, o.deleted(), o.suspended(), o.unusable != nil, o.saving != nil:
		return ordinary
	case o.response() != nil && !o.failures.waiting(stepExchangeCode, now):
		return dueExchange
	case !renewable(g), g.SetAside != nil, g.Revoke != "", !timeToRenew(o.conn.UID, g, now):
		return ordinary
	case o.failures.waiting(stepRefresh, now), o.failures.waiting(stepRequestToken, now), fateUnknown(g, now):
		return ordinary
	}
	return byDeadline(g.RefreshAt, g.ExpiresAt, o.renewalFails())
}

// expectedUrgency is the same, as far as caches can tell.
func expectedUrgency(now time.Time, conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) urgency {
	t, failed := conn.Status.Token, failuresOf(conn)
	switch {
	case !conn.DeletionTimestamp.IsZero(), ptr.Deref(conn.Spec.Suspend, false):
		return ordinary
	case codeRecorded(held) && !failed.waiting(stepExchangeCode, now):
		return dueExchange
	case t == nil, t.RefreshAt == nil, failed.waiting(stepRefresh, now), failed.waiting(stepRequestToken, now):
		return ordinary
	case RefreshMoment(conn.UID, t.RefreshAt.Time).After(now):
		return ordinary
	}
	return byDeadline(t.RefreshAt.Time, ptr.Deref(t.ExpiresAt, metav1.Time{}).Time, failed.has(stepRefresh) || failed.has(stepRequestToken))
}

// codeRecorded reports whether an authorization response waits for the reconciler.
func codeRecorded(held *metav1.PartialObjectMetadata) bool {
	return held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled]
}

// ordered is a result whose turn comes by what will be due at its time.
func ordered(result ctrl.Result, now time.Time, urgencyAt func(time.Time) urgency) ctrl.Result {
	result.Priority = ptr.To(int(urgencyAt(now.Add(result.RequeueAfter))))
	return result
}

package lifecycle

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/slots"
)

// ExpectedCall is the URL that will be asked first, as far as caches can tell; empty if something else may come before.
// It decides only who waits, never where anything is sent.
func ExpectedCall(now time.Time, conn *v1alpha1.MCPConnection, seen *Cached, u slots.Urgency) string {
	status := &conn.Status
	as := ptr.Deref(status.AuthorizationServer, v1alpha1.AuthorizationServerStatus{})
	switch next := status.Next; {
	case !conn.DeletionTimestamp.IsZero():
		if conn.Spec.DeletionPolicy == v1alpha1.DeletionPolicyOrphan || seen.Held.Name == "" {
			return ""
		}
		return as.RevocationEndpoint
	case ptr.Deref(conn.Spec.Suspend, false), tellsExpired(now, status):
		return ""
	case len(status.Conditions) == 0:
		return conn.Spec.ServerURL
	case status.ObservedGeneration != conn.Generation, requestedBeforeRefresh(conn):
		return ""
	case u.Reserved() && (next == nil || Step(next.Step) != StepUpdateRegistration): // which comes before a refresh
		return as.TokenEndpoint
	case next == nil || next.Basis != seen.Basis || next.At == nil || now.Before(dueAt(conn.UID, next)):
		return ""
	default:
		return urlOf(Step(next.Step).asks(), conn, &as)
	}
}

// urlOf is where a peer of a connection is, as far as status tells.
func urlOf(p peer, conn *v1alpha1.MCPConnection, as *v1alpha1.AuthorizationServerStatus) string {
	switch p {
	case mcpServer:
		return conn.Spec.ServerURL
	case tokenEndpointOf:
		return as.TokenEndpoint
	case registrationEndpointOf:
		return as.RegistrationEndpoint
	case revocationEndpointOf:
		return as.RevocationEndpoint
	case nobody:
	}
	return ""
}

// tellsExpired reports whether a token has expired that status tells as valid. That it is told otherwise waits for no
// slot.
func tellsExpired(now time.Time, status *v1alpha1.MCPConnectionStatus) bool {
	t := status.Token
	return t != nil && t.ExpiresAt != nil && !now.Before(t.ExpiresAt.Time) && meta.IsStatusConditionTrue(status.Conditions,
		v1alpha1.ConditionReady)
}

// Urgency is that of the most urgent step that is due, by what was read.
func Urgency(now time.Time, s *State) slots.Urgency {
	most := slots.Ordinary
	if s.Conn == nil { // it was let go
		return most
	}
	for t := range tasks(now, s) {
		switch {
		case !t.due(now):
		case t.Step == StepExchangeCode:
			most = max(most, slots.DueExchange)
		case !t.deadline.IsZero():
			most = max(most, slots.RefreshUrgency(t.deadline, s.renewalFails()))
		}
	}
	return most
}

// ExpectedUrgency is the same, as far as caches can tell.
func ExpectedUrgency(now time.Time, conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) slots.Urgency {
	t, failed := conn.Status.Token, failuresOf(conn)
	switch {
	case !conn.DeletionTimestamp.IsZero(), ptr.Deref(conn.Spec.Suspend, false):
		return slots.Ordinary
	case codeRecorded(held) && !failed.waiting(StepExchangeCode, now):
		return slots.DueExchange
	case t == nil, t.RefreshAt == nil, failed.waiting(StepRefresh, now), failed.waiting(StepRequestToken, now):
		return slots.Ordinary
	case RefreshMoment(conn.UID, t.RefreshAt.Time).After(now):
		return slots.Ordinary
	}
	return slots.RefreshUrgency(deadline(t.RefreshAt.Time, ptr.Deref(t.ExpiresAt, metav1.Time{}).Time),
		failed.Has(StepRefresh) || failed.Has(StepRequestToken))
}

// codeRecorded reports whether an authorization response waits for the reconciler.
func codeRecorded(held *metav1.PartialObjectMetadata) bool {
	return held.Annotations[credential.AnnotationRevision] != held.Annotations[credential.AnnotationHandled]
}

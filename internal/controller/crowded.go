package controller

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/slots"
)

// crowded takes a worker, and the slots of the request that will probably be made, before anything is read live. When many are due at
// once, those that have to wait so cost the API server nothing. It is true if there are none, and tells when to look again.
func crowded(now time.Time, conn *v1alpha1.MCPConnection, seen *cached, p *slots.Pass) (time.Time, bool) {
	u := expectedUrgency(now, conn, &seen.held)
	url := expectedCall(now, conn, seen, u)
	if p.Enter(u) && (url == "" || p.Granted() || p.Take(url, u, now)) {
		return time.Time{}, false
	}
	tasks := []task{{at: now.Add(patience(u))}}
	if t := conn.Status.Token; t != nil {
		if t.ExpiresAt != nil {
			tasks = append(tasks, task{at: t.ExpiresAt.Time})
		}
		if t.RefreshAt != nil { // it becomes urgent
			tasks = append(tasks, task{at: RefreshMoment(conn.UID, t.RefreshAt.Time)})
		}
	}
	next, _ := earliest(now, tasks)
	return next.at, true
}

// expectedCall is the URL that will be asked first, as far as caches can tell; empty if something else may come before.
// It decides only who waits, never where anything is sent.
func expectedCall(now time.Time, conn *v1alpha1.MCPConnection, seen *cached, u slots.Urgency) string {
	status := &conn.Status
	as := ptr.Deref(status.AuthorizationServer, v1alpha1.AuthorizationServerStatus{})
	switch next := status.Next; {
	case !conn.DeletionTimestamp.IsZero():
		if conn.Spec.DeletionPolicy == v1alpha1.DeletionPolicyOrphan || seen.held.Name == "" {
			return ""
		}
		return as.RevocationEndpoint
	case ptr.Deref(conn.Spec.Suspend, false), tellsExpired(now, status):
		return ""
	case len(status.Conditions) == 0:
		return conn.Spec.ServerURL
	case status.ObservedGeneration != conn.Generation, requestedBesideRefresh(conn):
		return ""
	case u.Reserved() && (next == nil || step(next.Step) != stepUpdateRegistration): // which comes before a refresh
		return as.TokenEndpoint
	case next == nil || next.Basis != seen.basis || next.At == nil || now.Before(dueAt(conn.UID, next)):
		return ""
	default:
		return urlOf(step(next.Step).asks(), conn, &as)
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

// tellsExpired reports whether a token has expired that status tells as valid. That it is told otherwise waits for no slot.
func tellsExpired(now time.Time, status *v1alpha1.MCPConnectionStatus) bool {
	t := status.Token
	return t != nil && t.ExpiresAt != nil && !now.Before(t.ExpiresAt.Time) && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)
}

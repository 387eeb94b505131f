package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// crowded takes a worker, and the slots of the request that will probably be made, before anything is read live. When many are due at
// once, those that have to wait so cost the API server nothing.
func (r *Reconciler) crowded(ctx context.Context, conn *v1alpha1.MCPConnection, p *pass) (ctrl.Result, bool) {
	held := secretMetadata()
	// What is not in the cache counts as not there: this is a guess, and observe makes sure.
	_ = r.Metadata.Get(ctx, types.NamespacedName{Namespace: r.Store.Namespace(), Name: credential.SecretName(conn.UID)}, held)
	now := r.Clock.Now()
	u, url := expectedUrgency(now, conn, held), expectedCall(now, conn, held)
	if p.enter(u) && (url == "" || p.called() || p.take(url, u, now)) {
		return ctrl.Result{}, false
	}
	times := []time.Time{now.Add(patience(u))}
	if t := conn.Status.Token; t != nil {
		if t.ExpiresAt != nil {
			times = append(times, t.ExpiresAt.Time)
		}
		if t.RefreshAt != nil { // it becomes urgent
			times = append(times, RefreshMoment(conn.UID, t.RefreshAt.Time))
		}
	}
	return ordered(wakeAt(now, times), now, func(at time.Time) urgency { return expectedUrgency(at, conn, held) }), true
}

// expectedCall is the URL that will be asked first, as far as caches can tell; empty if something else may come before.
// It decides only who waits, never where anything is sent.
func expectedCall(now time.Time, conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) string {
	status := &conn.Status
	handled := ptr.Deref(status.LastHandled, v1alpha1.LastHandled{})
	_, reauthorize := asked(conn, v1alpha1.AnnotationReauthorize, handled.Reauthorize)
	_, refresh := asked(conn, v1alpha1.AnnotationRefresh, handled.Refresh)
	_, revoke := asked(conn, v1alpha1.AnnotationRevoke, handled.Revoke)
	as := ptr.Deref(status.AuthorizationServer, v1alpha1.AuthorizationServerStatus{})
	switch {
	case !conn.DeletionTimestamp.IsZero():
		if conn.Spec.DeletionPolicy == v1alpha1.DeletionPolicyOrphan || held.Name == "" {
			return ""
		}
		return as.RevocationEndpoint
	case ptr.Deref(conn.Spec.Suspend, false):
		return ""
	case len(status.Conditions) == 0:
		return conn.Spec.ServerURL
	case status.ObservedGeneration != conn.Generation, reauthorize, revoke, challengeID(conn) != handled.Challenge:
		return ""
	case codeRecorded(held):
		return as.TokenEndpoint
	}
	if c := status.Client; c != nil && c.UpdateAt != nil && !c.UpdateAt.After(now) && !failuresOf(conn).has(stepUpdateRegistration) {
		return as.RegistrationEndpoint
	}
	t := status.Token
	over := t != nil && t.ExpiresAt != nil && !t.ExpiresAt.After(now)
	switch {
	case t == nil, over && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady): // that Ready ends comes first
		return ""
	case t.RefreshAt != nil && (refresh || !RefreshMoment(conn.UID, t.RefreshAt.Time).After(now)):
		return as.TokenEndpoint
	case !over && expectsProbe(now, conn, held):
		return conn.Spec.ServerURL
	}
	return ""
}

// expectsProbe says whether a published token is to be tried now, as far as caches can tell.
func expectsProbe(now time.Time, conn *v1alpha1.MCPConnection, held *metav1.PartialObjectMetadata) bool {
	failed := failuresOf(conn)
	if failed.has(stepProbe) {
		return !failed.waiting(stepProbe, now)
	}
	times := probeTimes(conn, held, failed)
	return awaitsProbe(conn) || (len(times) > 0 && !times[0].After(now))
}

package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

const (
	// planVersion is another one whenever the same state is to lead to another plan: each connection is then looked at
	// once.
	planVersion = "1"
	// maxRest is how far ahead a plan is believed: whoever may write status puts no connection to sleep for longer.
	maxRest = 24*time.Hour + ClockSlack
)

// Cached is what caches know of a connection's Secrets: metadata only, of an empty name where there is none.
type Cached struct {
	Held, Token metav1.PartialObjectMetadata
	// Basis of a plan; empty if it cannot be told.
	Basis string
}

// BasisOf is a fingerprint of what a plan depends on besides the time and status itself, as far as it is watched. Of
// the credential Secret it holds what the reconciler wrote and how many responses were recorded: a page that somebody
// opens changes no plan.
func BasisOf(conn *v1alpha1.MCPConnection, externalURL string, token metav1.Object, held credential.Stamp) string {
	parts := []string{planVersion, externalURL, string(token.GetUID()), token.GetResourceVersion()}
	for _, name := range slices.Sorted(maps.Keys(conn.Annotations)) {
		if strings.HasPrefix(name, v1alpha1.Prefix) {
			parts = append(parts, name, conn.Annotations[name])
		}
	}
	return credential.Hash(fmt.Sprintf("%q %d %t %+v", parts, conn.Generation,
		slices.Contains(conn.Finalizers, v1alpha1.Finalizer), held))
}

// basis is that of what was read live, and written since.
func (s *State) basis() string {
	token := &metav1.ObjectMeta{}
	if s.Secret != nil {
		token = &s.Secret.ObjectMeta
	}
	return BasisOf(s.Conn, s.ExternalURL, token, s.Held.Stamp())
}

// RestsUntil reports whether nothing is due for a connection, as its status tells, and until when. What status tells is
// believed as long as its basis fits and for a day at most, never from the future, and never past the end of a token
// that it tells as valid.
func RestsUntil(now time.Time, conn *v1alpha1.MCPConnection, basis string) (time.Time, bool) {
	next := conn.Status.Next
	if !conn.DeletionTimestamp.IsZero() || next == nil || next.At == nil || next.ComputedAt == nil || basis == "" ||
		next.Basis != basis {
		return time.Time{}, false
	}
	if conn.Status.ObservedGeneration != conn.Generation || requested(conn) ||
		meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady) == nil {
		return time.Time{}, false // something was taken out of status, and is to be put back
	}
	at, computed := dueAt(conn.UID, next), next.ComputedAt.Time
	if !now.Before(at) || SetBack(now, computed) || at.Sub(computed) > maxRest {
		return time.Time{}, false
	}
	if t := conn.Status.Token; t != nil && t.ExpiresAt != nil && t.ExpiresAt.Time.Before(at) &&
		meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionReady) {
		return time.Time{}, false
	}
	return at, true
}

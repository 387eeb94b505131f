package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const (
	// contestWithin is the time in which putBacks edits of a token Secret are put back at once. Another one says that somebody
	// else keeps changing it.
	contestWithin = time.Minute
	putBacks      = 3
)

// maxContested bounds how many fields a message names.
const maxContested = 5

// edits counts how often this process put a token Secret back that others had edited.
type edits struct {
	mu   sync.Mutex
	seen map[types.UID][]time.Time
}

// add notes one more edit, and says how many there were within contestWithin.
func (e *edits) add(uid types.UID, now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = map[types.UID][]time.Time{}
	}
	recent := slices.DeleteFunc(e.seen[uid], func(at time.Time) bool { return now.Sub(at) >= contestWithin || at.After(now) })
	e.seen[uid] = append(recent, now)
	return len(e.seen[uid])
}

func (e *edits) forget(uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.seen, uid)
}

// putBackTooOften reports whether others keep changing what is published, so that putting it back at once leads nowhere.
// Neither a new token nor an edit of the spec counts.
func (r *Reconciler) putBackTooOften(o *work, desired *corev1.Secret) bool {
	if o.secret == nil || sameSecret(o.secret, desired) || o.conn.Status.ObservedGeneration != o.conn.Generation || o.failures.has(stepPublish) ||
		o.secretValue(v1alpha1.KeyAccessToken) != string(desired.Data[v1alpha1.KeyAccessToken]) {
		return false
	}
	return r.edits.add(o.conn.UID, r.Clock.Now()) > putBacks
}

// contestedFailure reports whether a publication fails because others change what was written.
func contestedFailure(f *v1alpha1.Failure) bool {
	return f != nil && f.Step == string(stepPublish) && strings.HasPrefix(f.Inputs, "c")
}

// contested reports whether others may still be changing the token Secret.
func (o *observed) contested(now time.Time) bool {
	return contestedFailure(o.failures.find(stepPublish)) && o.failures.waiting(stepPublish, now)
}

// differences names the fields in which a Secret is not as it should be, and their managers where these are known.
func differences(found, desired *corev1.Secret) []string {
	if found == nil {
		return nil
	}
	var out []string
	note := func(what string, path ...string) {
		if manager := managerOf(found.ManagedFields, path); manager != "" {
			what += " (changed by " + manager + ")"
		}
		out = append(out, what)
	}
	for _, key := range changed(found.Labels, desired.Labels) {
		note("the label "+key, "f:metadata", "f:labels", "f:"+key)
	}
	for _, key := range changed(found.Annotations, desired.Annotations) {
		note("the annotation "+key, "f:metadata", "f:annotations", "f:"+key)
	}
	for _, key := range changed(plain(found.Data), plain(desired.Data)) {
		note("the key "+key, "f:data", "f:"+key)
	}
	if !sameOwners(found, desired) {
		note("the owner reference", "f:metadata", "f:ownerReferences")
	}
	if len(out) > maxContested {
		out = append(out[:maxContested], fmt.Sprintf("and %d more", len(out)-maxContested))
	}
	return out
}

// changed are the keys whose values differ, in order.
func changed(found, desired map[string]string) []string {
	keys := map[string]bool{}
	for key := range overlay(found, desired) {
		a, there := found[key]
		b, wanted := desired[key]
		if there != wanted || a != b {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func plain(data map[string][]byte) map[string]string {
	out := make(map[string]string, len(data))
	for key, value := range data {
		out[key] = string(value)
	}
	return out
}

// managerOf is the field manager that wrote a field last; empty if nobody's record of fields holds it.
func managerOf(entries []metav1.ManagedFieldsEntry, path []string) string {
	for _, entry := range entries {
		if entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			continue // nobody can be named
		}
		for _, name := range path {
			fields, _ = fields[name].(map[string]any)
		}
		if fields != nil {
			return entry.Manager
		}
	}
	return ""
}

// conflict notes that the token Secret's name is taken.
func (o *observed) conflict(now time.Time) {
	o.recordFailure(stepPublish, v1alpha1.ReasonSecretConflict,
		fmt.Sprintf("The Secret %s exists and does not belong to this connection, so it is left alone. Delete it, or choose another name in spec.tokenSecret.name.", o.secret.Name),
		now, func(attempts int32) time.Time { return refusedRetry(now, o.conn.UID, stepPublish, attempts) })
	o.rememberSecret(false)
}

// contest notes what others make of the token Secret, and who. It is put back now and then; refreshes go on.
func (o *observed) contest(now time.Time, found, desired *corev1.Secret) {
	message := "Something changes the Secret " + desired.Name + " after the operator has written it. Have it leave alone what the operator writes"
	if fields := differences(found, desired); len(fields) > 0 {
		message += ": " + strings.Join(fields, ", ")
	} else if f := o.failures.find(stepPublish); f != nil {
		message = f.Message // found was as it should be this time
	}
	o.recordFailure(stepPublish, v1alpha1.ReasonSecretWriteFailing, message, now, func(attempts int32) time.Time {
		return refusedRetry(now, o.conn.UID, stepPublish, attempts)
	})
	o.rememberSecret(true)
}

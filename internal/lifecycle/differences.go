package lifecycle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxContested bounds how many fields a message names.
const maxContested = 5

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
	for _, key := range changed(plainBytes(found.Data), plainBytes(desired.Data)) {
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

func plainBytes(data map[string][]byte) map[string]string {
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

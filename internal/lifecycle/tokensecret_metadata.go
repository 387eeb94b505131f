package lifecycle

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// annotationFromSpec on a token Secret names the labels and annotations that spec.tokenSecret put there, so that they
// can be taken off again: what others set stays. Absent if there are none.
const annotationFromSpec = v1alpha1.Prefix + "from-spec"

// fromSpec is the value of that annotation.
type fromSpec struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// label puts the labels and annotations of the spec on the token Secret, and takes off those that an earlier spec put
// there.
func label(secret *corev1.Secret, spec v1alpha1.TokenSecretSpec) {
	var before fromSpec
	// What cannot be read names nothing: it is somebody's edit, and is written anew.
	_ = json.Unmarshal([]byte(secret.Annotations[annotationFromSpec]), &before)
	secret.Labels = overlay(less(secret.Labels, before.Labels), plainStrings(spec.Labels))
	secret.Annotations = overlay(less(secret.Annotations, before.Annotations), plainStrings(spec.Annotations))
	delete(secret.Annotations, annotationFromSpec)
	now := fromSpec{Labels: namesIn(spec.Labels), Annotations: namesIn(spec.Annotations)}
	if len(now.Labels)+len(now.Annotations) == 0 {
		return
	}
	raw, err := json.Marshal(now)
	if err != nil {
		panic("a list of names encodes: " + err.Error())
	}
	secret.Annotations = overlay(secret.Annotations, map[string]string{annotationFromSpec: string(raw)})
}

// namesIn are the keys of a map, less those of the operator.
func namesIn[T any](all map[string]T) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), operatorsOwn)
}

func operatorsOwn(key string) bool {
	return key == v1alpha1.LabelManagedBy || strings.HasPrefix(key, v1alpha1.Prefix)
}

// less is a map without some of its keys. Those of the operator stay, whatever names them.
func less(all map[string]string, keys []string) map[string]string {
	kept := maps.Clone(all)
	maps.DeleteFunc(kept, func(key, _ string) bool { return slices.Contains(keys, key) && !operatorsOwn(key) })
	return kept
}

// plainStrings is a map of a named string type as plain strings.
func plainStrings[T ~string](named map[string]T) map[string]string {
	plain := make(map[string]string, len(named))
	for k, v := range named {
		plain[k] = string(v)
	}
	return plain
}

// overlay is a new map with the entries of all layers; later ones win.
func overlay(layers ...map[string]string) map[string]string {
	var out map[string]string
	for _, layer := range layers {
		for k, v := range layer {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

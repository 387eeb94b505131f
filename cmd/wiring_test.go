package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestTheOperatorKnowsItsSecretsByItsOwnLabel(t *testing.T) {
	for name, c := range map[string]struct {
		set  labels.Set
		want bool
	}{
		"with both labels": {labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
			v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken}, true},
		"with the common label rewritten": {labels.Set{v1alpha1.LabelManagedBy: "platform",
			v1alpha1.LabelSecretType: v1alpha1.SecretTypeCredential}, true},
		"with the common label alone, it is another program's": {labels.Set{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy},
			false},
	} {
		if got := written().Matches(c.set); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

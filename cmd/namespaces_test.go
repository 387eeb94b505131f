package main

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestAConnectionOfANamespaceThatIsNotWatchedIsNotThere(t *testing.T) {
	there := client.ObjectKey{Namespace: "team-a", Name: "c"}
	reader := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(
		&v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: there.Namespace, Name: there.Name}},
	).Build()
	for name, test := range map[string]struct {
		namespaces []string
		missing    bool
	}{
		"all namespaces are watched":      {nil, false},
		"its namespace is watched":        {[]string{"team-b", "team-a"}, false},
		"only other namespaces are":       {[]string{"team-b"}, true},
		"a name that begins like its own": {[]string{"team"}, true},
	} {
		err := servedConnections{Reader: reader, namespaces: test.namespaces}.Get(t.Context(), there,
			&v1alpha1.MCPConnection{})
		if apierrors.IsNotFound(err) != test.missing || (err != nil && !test.missing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

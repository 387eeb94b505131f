package callback

import (
	"context"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// newFake is a fixture of an API server in memory, for what is about time (the bubble of a test reaches no network),
// for fuzzing, for crowds, and for pages that read no more than that there is a connection.
func newFake(t testing.TB, changes ...change) *fixture {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var f *fixture
	api := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.MCPConnection{}).Build()
	f = build(t, interceptor.NewClient(api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if review, ok := obj.(*authorizationv1.SubjectAccessReview); ok {
				review.Status.Allowed = slices.Contains(f.allowed, review.Spec.User)
				return nil
			}
			return c.Create(ctx, obj, opts...)
		},
	}), changes)
	return f
}

package imported

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// TestSecretGoesAgainWhereTheConnectionIsRefusedAtLast is about what a rehearsal cannot foresee.
func TestSecretGoesAgainWhereTheConnectionIsRefusedAtLast(t *testing.T) {
	boom := errors.New("the quota was used up meanwhile")
	ctx, cancel := context.WithCancel(t.Context())
	c := fake.NewClientBuilder().WithScheme(kube.Scheme()).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			_, connection := object.(*v1alpha1.MCPConnection)
			if rehearsed := (&client.CreateOptions{}).ApplyOptions(options).DryRun; connection && len(rehearsed) == 0 {
				cancel() // ctrl-C at the same moment
				return boom
			}
			return c.Create(ctx, object, options...)
		},
	}).Build()
	g := &grant{RefreshToken: refreshToken, ClientID: "c", Issuer: "https://auth.example.test", ServerURL: "https://mcp.example.test/mcp"}
	secret, connection := g.objects("team-a", "files", "https://mcp.example.test")
	if err := apply(ctx, c, secret, connection); !errors.Is(err, boom) {
		t.Errorf("the error is %v", err)
	}
	var left corev1.SecretList
	if err := c.List(t.Context(), &left); err != nil || len(left.Items) != 0 {
		t.Errorf("%d Secrets are left (%v)", len(left.Items), err)
	}
	if connection.Spec.Compatibility.Resource.Value != "https://mcp.example.test" {
		t.Error("--resource is not in the spec")
	}
}

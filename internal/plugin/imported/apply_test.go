package imported

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// TestSecretIsNeitherLeftUnannouncedNorTakenFromAConnection is about what a rehearsal cannot foresee.
func TestSecretIsNeitherLeftUnannouncedNorTakenFromAConnection(t *testing.T) {
	lost := errors.New("the connection to the API server was lost")
	refusal := apierrors.NewForbidden(schema.GroupResource{Resource: "mcpconnections"}, "files",
		errors.New("the quota was used up meanwhile"))
	for _, tt := range []struct {
		name               string
		ofSecret, ofConn   error
		created, undeleted bool
		secrets            int
		left               string
	}{
		{name: "A Secret whose creation was refused is not spoken of", ofSecret: refusal},
		{name: "A Secret that may have been created is named", ofSecret: lost, created: true, secrets: 1,
			left: "kubectl -n team-a delete secret files-import"},
		{name: "A Secret goes again where the connection is refused", ofConn: refusal},
		{name: "A Secret that cannot be deleted again is named", ofConn: refusal, undeleted: true, secrets: 1,
			left: "kubectl -n team-a delete secret files-import"},
		{name: "A Secret stays where the connection may have been created", ofConn: lost, created: true, secrets: 1,
			left: "MCPConnection files"},
		{name: "A Secret stays where the API server failed at the connection", ofConn: apierrors.NewInternalError(lost),
			secrets: 1, left: "MCPConnection files"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := fake.NewClientBuilder().WithScheme(kube.Scheme()).WithInterceptorFuncs(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
					fails := tt.ofSecret
					if _, connection := object.(*v1alpha1.MCPConnection); connection {
						fails = tt.ofConn
					}
					if fails == nil || len((&client.CreateOptions{}).ApplyOptions(options).DryRun) > 0 {
						return c.Create(ctx, object, options...)
					}
					cancel() // ctrl-C at the same moment
					if tt.created {
						return errors.Join(fails, c.Create(ctx, object, options...))
					}
					return fails
				},
				Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
					if tt.undeleted {
						return refusal
					}
					return errors.Join(ctx.Err(), c.Delete(ctx, object, options...))
				},
			}).Build()
			g := &grant{RefreshToken: refreshToken, ClientID: "c", Issuer: "https://auth.example.test",
				ServerURL: "https://mcp.example.test/mcp"}
			secret, connection := g.objects("team-a", "files", "https://mcp.example.test")
			left, err := apply(ctx, c, secret, connection)
			if err == nil || strings.Contains(err.Error(), "\n") || (left == "") != (tt.left == "") ||
				!strings.Contains(left, tt.left) || strings.Contains(left, "\n") {
				t.Errorf("%q is left, the error is %v", left, err)
			}
			var there corev1.SecretList
			if err := c.List(t.Context(), &there); err != nil || len(there.Items) != tt.secrets {
				t.Errorf("%d Secrets are there (%v)", len(there.Items), err)
			}
			if connection.Spec.Compatibility.Resource.Value != "https://mcp.example.test" {
				t.Error("--resource is not in the spec")
			}
		})
	}
}

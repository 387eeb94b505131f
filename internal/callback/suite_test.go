package callback

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/specs"
)

// cluster is a client of the API server that all specs share.
var cluster client.WithWatch

func TestSpecs(t *testing.T) { specs.Run(t, "callback") }

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	server, err := harness.StartAPIServer(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	cluster = server.Client
	for _, name := range []string{operatorNamespace, team} {
		Expect(cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	}
})

// sweep removes what an earlier fixture left, but for its credential Secret, whose name is that of a UID. It lists
// nothing: a list takes its time until it is sure to be the latest.
func sweep(ctx context.Context) {
	GinkgoHelper()
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	Expect(client.IgnoreNotFound(cluster.Patch(ctx, newConnection(""), release))).To(Succeed())
	for _, left := range []client.Object{
		newConnection(""),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: credential.SigningKeySecret}},
		&rbacv1.RoleBinding{ObjectMeta: authorizers},
	} {
		Expect(client.IgnoreNotFound(cluster.Delete(ctx, left))).To(Succeed())
	}
}

// authorizers are those who may authorize the connection: a Role and its binding.
var authorizers = metav1.ObjectMeta{Namespace: team, Name: "authorize-files"}

// permit has the API server allow these users, and nobody else, to authorize the connection. The Role is the one that a
// page tells of.
func (f *fixture) permit(users ...string) {
	GinkgoHelper()
	role := &rbacv1.Role{ObjectMeta: authorizers}
	_, err := controllerutil.CreateOrUpdate(f.Context(), cluster, role, func() error {
		role.Rules = []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"mcpconnections"},
			ResourceNames: []string{"files"}, Verbs: []string{VerbAuthorize},
		}}
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
	binding := &rbacv1.RoleBinding{ObjectMeta: authorizers}
	asked := users
	_, err = controllerutil.CreateOrUpdate(f.Context(), cluster, binding, func() error {
		for _, before := range binding.Subjects {
			asked = append(asked, before.Name)
		}
		binding.RoleRef, binding.Subjects = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: authorizers.Name},
			nil
		for _, user := range users {
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind,
				Name: user})
		}
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
	for _, user := range asked { // it is so a moment later
		Eventually(f.Context(), func(ctx context.Context) (bool, error) {
			return NewAccess(cluster).Allowed(ctx, user, Meta{Namespace: team, Name: "files"})
		}).Should(Equal(slices.Contains(users, user)), user)
	}
}

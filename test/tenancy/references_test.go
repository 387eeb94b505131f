package tenancy

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// author may edit connections and read one Secret; more adds to what the author may. Each name is another author's: the
// API server takes a while to see that a Role is gone.
func author(ctx context.Context, name string, more ...rbacv1.PolicyRule) client.Client {
	GinkgoHelper()
	create(ctx,
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: name}, Rules: append([]rbacv1.PolicyRule{
			{APIGroups: []string{"mcp-connection.dev"}, Resources: []string{"mcpconnections"},
				Verbs: []string{"get", "create", "update", "delete"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"hers"}, Verbs: []string{"get"}},
		}, more...)},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: name},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}})
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	as, err := client.New(config, client.Options{Scheme: plane.Client.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	// config/namespaced brings the policy; it refuses the author once the API server has seen the Role.
	Eventually(ctx, tried(as, plain("c", referring["importSecretRef"]("theirs")))).Should(beDenied(""))
	return as
}

// referring are specs that name a Secret in each way there is, by the path of the reference.
var referring = map[string]func(name string) edit{
	"client.credentialsSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://i.example.com",
				CredentialsSecretRef: &v1alpha1.SecretReference{Name: name}}
		}
	},
	"client.initialAccessTokenSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: name}}
		}
	},
	"assertion.secretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType, s.Assertion = v1alpha1.GrantTypeJWTBearer,
				&v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: name}}
		}
	},
	"identityProvider.credentialsSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType = v1alpha1.GrantTypeTokenExchange
			s.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "hers"}}
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://i.example.com",
				CredentialsSecretRef: &v1alpha1.SecretReference{Name: "hers"}}
			s.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: "https://idp.example.com",
				CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
		}
	},
	"importSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) { s.ImportSecretRef = &v1alpha1.SecretReference{Name: name} }
	},
}

// shaping and exchanging are specs that make the operator create what the author may not be allowed to create.
func shaping(spec v1alpha1.TokenSecretSpec) edit {
	return func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = &spec }
}

func exchanging(serviceAccount string) edit {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.GrantType, s.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, serviceAccount
	}
}

var _ = Describe("The policy of references", Label("security"), func() {
	Describe("asks whether the author may read the Secret:", Ordered, ContinueOnFailure, func() {
		var alice client.Client
		var older *v1alpha1.MCPConnection

		BeforeAll(func(ctx SpecContext) {
			older = plain("older", referring["importSecretRef"]("theirs"))
			Expect(plane.Client.Create(ctx, older)).To(Succeed())
			alice = author(ctx, "alice")
		})

		judgeAlice := func(ctx SpecContext, c *v1alpha1.MCPConnection, want string) { judgeAs(ctx, alice, c, want) }
		var references []TableEntry
		for _, path := range slices.Sorted(maps.Keys(referring)) {
			references = append(references,
				Entry("that names her own in "+path, plain("c", referring[path]("hers")), accepted),
				Entry("that names another one in "+path, plain("c", referring[path]("theirs")), path+" names a Secret that you "+
					"may not read"))
		}
		DescribeTable("a connection of hers", judgeAlice, references,
			Entry("without a reference", plain("c"), accepted),
			Entry("with a shape for the Secret", plain("c", shaping(v1alpha1.TokenSecretSpec{
				Labels: map[string]v1alpha1.LabelValue{"argocd.argoproj.io/secret-type": "cluster"}})),
				"tokenSecret shapes a Secret"),
			Entry("with a ServiceAccount", plain("c", exchanging("builder")), "ServiceAccount that you may not "+
				"request tokens for"),
		)

		It("allows an administrator any", func(ctx SpecContext) {
			judge(ctx, plain("c", referring["importSecretRef"]("theirs")), accepted)
		})

		It("allows an older connection to be annotated and deleted, but not to send somebody's Secret elsewhere",
			func(ctx SpecContext) {
				older.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "1"}
				Expect(alice.Update(ctx, older)).To(Succeed())
				older.Spec.ServerURL = "https://evil.example.org/mcp"
				Expect(alice.Update(ctx, older)).To(beDenied(""))
				Expect(alice.Delete(ctx, older)).To(Succeed())
			})
	})

	Describe("accepts who may do the same without the operator:", Ordered, ContinueOnFailure, func() {
		var carol client.Client

		BeforeAll(func(ctx SpecContext) {
			carol = author(ctx, "carol",
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"},
					ResourceNames: []string{"builder"}, Verbs: []string{"create"}})
		})

		DescribeTable("a connection", func(ctx SpecContext, c *v1alpha1.MCPConnection, want string) {
			judgeAs(ctx, carol, c, want)
		},
			Entry("with a shape for the Secret", plain("c", shaping(v1alpha1.TokenSecretSpec{Name: "shaped"})), accepted),
			Entry("with her ServiceAccount", plain("c", exchanging("builder")), accepted),
			Entry("with another ServiceAccount", plain("c", exchanging("deployer")), "ServiceAccount"),
		)
	})
})

// TestThePolicyOfReferencesKnowsAllReferences walks the schema, so that a new reference cannot be forgotten.
func TestThePolicyOfReferencesKnowsAllReferences(t *testing.T) {
	policy, err := os.ReadFile(harness.InRepository("config", "policies", "references", "references.yaml"))
	must(t, err)
	found := specSchema(t).references(nil)
	if len(found) != len(referring) {
		t.Errorf("the schema has %d references to Secrets, the test knows %d: %v", len(found), len(referring), found)
	}
	for _, path := range found {
		if referring[strings.Join(path, ".")] == nil {
			t.Errorf("the test does not know spec.%s", strings.Join(path, "."))
		}
		if expression := "object.spec.?" + strings.Join(path, ".?") + ".?name"; !strings.Contains(string(policy),
			expression) {
			t.Errorf("the policy does not look at spec.%s", strings.Join(path, "."))
		}
	}
}

var _ = Describe("A reference", Label("security"), func() {
	// There is no word for another one.
	It("never leaves its namespace", func(ctx SpecContext) {
		spec := specSchema(GinkgoTB())
		for _, path := range spec.references(nil) {
			Expect(slices.Collect(maps.Keys(spec.at(path).Properties))).To(HaveEach(BeElementOf("name", "key")), "spec.%s",
				strings.Join(path, "."))
		}
		c := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MCPConnection",
			"metadata": map[string]any{"namespace": watched, "name": "reaching-out"},
			"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp",
				"importSecretRef": map[string]any{"name": "theirs", "namespace": unwatched}},
		}}
		Expect(plane.Client.Create(ctx, c, client.FieldValidation(metav1.FieldValidationStrict), client.DryRunAll)).To(
			MatchError(apierrors.IsBadRequest, "a bad request"))
	})
})

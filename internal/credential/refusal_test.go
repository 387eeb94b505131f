package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// forbidUpdates has a policy refuse every update of a Secret in a namespace, with the words of an expression.
func forbidUpdates(ctx context.Context, namespace, words string) {
	GinkgoHelper()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{
					{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
						Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"},
							Resources: []string{"secrets"}},
					}}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", MessageExpression: words}},
		}}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: namespace, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}},
		}}
	Expect(cluster.Create(ctx, policy)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, policy)).To(Succeed()) })
	Expect(cluster.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cluster.Delete(ctx, binding)).To(Succeed()) })
}

var _ = Describe("A refusal of the API server", func() {
	It("repeats no value of the Secret, whatever a policy repeats", Label("security"), func(ctx SpecContext) {
		api, store := newAPIServer(ctx)
		create(ctx, store)
		forbidUpdates(ctx, api.namespace, `"denied: " + object.data["grants"] + " by the policy frozen"`)
		var refused *WriteError
		Eventually(ctx, func(ctx context.Context) error { // a policy is in force a moment after it was made
			held, err := store.Get(ctx, uid)
			if err != nil {
				return err
			}
			_, err = store.Update(ctx, held, func(c *Credential) error { c.Grants[0].Generation++; return nil })
			return err
		}).WithTimeout(patience).Should(Satisfy(func(err error) bool { return errors.As(err, &refused) }))
		grants := base64.StdEncoding.EncodeToString(api.secret(ctx).Data[keyGrants])
		for _, part := range []string{grants, grants[:40], "rt-1"} {
			Expect(strings.Contains(refused.Error(), part)).To(BeFalse(), "it repeats the grants")
		}
		Expect(refused.Error()).To(HavePrefix("cannot update the Secret " + SecretName(uid) + " in namespace " +
			api.namespace))
		Expect(refused.Error()).To(ContainSubstring("denied: (hidden) by the policy frozen"))
	})

	It("says that the Secret is immutable", func(ctx SpecContext) {
		api, store := newAPIServer(ctx)
		held := create(ctx, store)
		api.edit(ctx, SecretName(uid), func(s *corev1.Secret) { s.Immutable = ptr.To(true) })
		_, err := store.Update(ctx, held, addGrant)
		var refused *WriteError
		Expect(errors.As(err, &refused)).To(BeTrue())
		Expect(refused.Immutable).To(BeTrue())
		Expect(refused.NamespaceMissing()).To(BeFalse())
	})

	It("says that there is no namespace", func(ctx SpecContext) {
		_, err := NewStore(cluster, "nowhere").Create(ctx, owner, first)
		var refused *WriteError
		Expect(errors.As(err, &refused)).To(BeTrue())
		Expect(refused.NamespaceMissing()).To(BeTrue())
	})

	DescribeTable("is told from others if it is for the size", func(ctx SpecContext, size int) {
		api, _ := newAPIServer(ctx)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: api.namespace, Name: "large"},
			Data: map[string][]byte{"it": make([]byte, size)}}
		err := cluster.Create(ctx, secret)
		Expect(err).To(HaveOccurred())
		Expect(refusedForSize(err)).To(BeTrue(), err.Error()[:min(200, len(err.Error()))])
	},
		Entry("of the Secret", corev1.MaxSecretSize+1),
		Entry("of the request", 4<<20),
	)

	It("is told from others if it is for the size of a label", func(ctx SpecContext) {
		api, _ := newAPIServer(ctx)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: api.namespace, Name: "labelled",
			Labels: map[string]string{"it": strings.Repeat("x", 64)}}}
		err := cluster.Create(ctx, secret)
		Expect(err).To(HaveOccurred())
		Expect(refusedForSize(err)).To(BeFalse())
	})
})

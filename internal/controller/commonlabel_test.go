package controller

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var _ = Describe("A policy that rewrites the common label", func() {
	It("does no harm", func(ctx SpecContext) {
		w := newWorld()
		writes := 0
		platform := when(isToken, func(s *corev1.Secret) error {
			writes++
			s.Labels[v1alpha1.LabelManagedBy] = "platform"
			return nil
		})
		w.before(apiRules{create: platform, update: platform})
		w.apply()
		w.consent()
		for range 2 {
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.untilRefresh()
			w.restart()
			w.before(apiRules{create: platform, update: platform})
			w.reconcile()
		}
		Expect(writes).To(Equal(3))
		Expect(w.get().Status.Failure).To(BeNil())
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(),
			"the token that is published is not valid")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeTrue(), "the object is left")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
	})
})

package controller

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// emptyStatus takes status away, as a restore without it does, or a careless controller.
func (w *world) emptyStatus() {
	GinkgoHelper()
	conn := w.get()
	conn.Status = v1alpha1.MCPConnectionStatus{}
	Expect(api.Status().Update(w.ctx, conn)).To(Succeed())
}

// counts are the requests that the server got: at the token and the revocation endpoint.
func (w *world) counts() [2]int {
	return [2]int{w.server.Count(oauthtest.TokenPath), w.server.Count(oauthtest.RevokePath)}
}

var _ = Describe("An emptied status", func() {
	DescribeTable("is rebuilt, and nothing is done twice:", func(annotation, value string) {
		w := connected()
		w.annotate(annotation, value)
		if w.offersLink() {
			w.consent()
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		before, token, counts := w.get().Status, w.secret()[v1alpha1.KeyAccessToken], w.counts()
		w.restart()
		w.emptyStatus()
		after := w.reconcile().Status
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(after.LastHandled).To(HaveValue(Equal(*before.LastHandled)))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeTrue(), "the token is another one")
		Expect(w.counts()).To(Equal(counts), "requests of tokens and revocations")
	},
		Entry("a revocation", v1alpha1.AnnotationRevoke, "leak"),
		Entry("a refresh", v1alpha1.AnnotationRefresh, "1"),
		Entry("a consent", v1alpha1.AnnotationReauthorize, "1"),
		Entry("a challenge", v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`),
	)
})

var _ = Describe("A revocation that was asked for before the consent", func() {
	It("does not end the new grant once status is lost", func() {
		w := newWorld()
		w.apply(func(c *v1alpha1.MCPConnection) { c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "old"} })
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.emptyStatus()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "the new grant was revoked")
	})
})

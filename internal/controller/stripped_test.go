package controller

import (
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// strip removes the finalizer, as another manager that replaces the object does, and makes other changes with it.
func (w *world) strip(change ...func(*v1alpha1.MCPConnection)) {
	GinkgoHelper()
	conn := w.get()
	conn.Finalizers = nil
	for _, c := range change {
		c(conn)
	}
	w.must(api.Update(w.ctx, conn, client.FieldOwner("somebodys-controller")))
}

func (w *world) hasFinalizer() bool {
	GinkgoHelper()
	return slices.Contains(w.get().Finalizers, v1alpha1.Finalizer)
}

// requests is the number of requests to the server until now.
func (w *world) requests() int { return len(w.server.Requests()) }

var _ = Describe("A revocation", Label("security"), func() {
	DescribeTable("is done although the write that asks for it strips the finalizer from", func(suspended bool) {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.server.Handle(oauthtest.MCPPath, answers503)
		w.strip(func(c *v1alpha1.MCPConnection) {
			c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "leaked"}
			c.Spec.Suspend = ptr.To(suspended)
		})
		conn := w.reconcile()
		Expect(conn.Status.LastHandled).To(HaveValue(HaveField("Revoke", "leaked")))
		Expect(w.holdsToken("")).To(BeTrue(), "the token is still published")
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the token is still valid")
		Expect(w.hasFinalizer()).To(BeTrue(), "the finalizer is not back")
	},
		Entry("a running connection", false),
		Entry("a suspended connection", true),
	)

	It("is done while suspended", func() {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.suspend()
		w.server.HandleTimes(oauthtest.RevokePath, 2, answers503)
		conn := w.annotate(v1alpha1.AnnotationRevoke, "leaked")
		w.want(ready, isFalse, v1alpha1.ReasonSuspended)
		Expect(w.holdsToken("")).To(BeTrue(), "the token is published")
		Expect(conn.Status.Failure).To(HaveValue(HaveField("Step", string(lifecycle.StepRevoke))))
		w.restart()
		Expect(w.oneLook()).To(BeNumerically(">", 0), "nobody tries the revocation again")
		w.untilRetry()
		conn = w.reconcile()
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the token is still valid")
		Expect(conn.Status.Failure).To(BeNil())
		kept := len(w.stored().Grants)
		Expect(kept).To(BeZero(), "the grant is kept")
		asked := w.requests()
		w.clock.SetTime(w.clock.Now().Add(time.Hour))
		w.reconcile()
		Expect(w.offersLink()).To(BeFalse(), "a link is offered while suspended")
		Expect(w.requests()).To(Equal(asked), "a server was asked while suspended")
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = nil })
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})
})

var _ = Describe("A stripped finalizer", func() {
	DescribeTable("is put back, and nothing is done anew, when it was stripped",
		func(change func(*v1alpha1.MCPConnection)) {
			w := connected()
			before := w.requests()
			w.strip(change)
			conn := w.reconcile()
			Expect(w.hasFinalizer()).To(BeTrue(), "the finalizer is not back")
			Expect(w.requests()).To(Equal(before), "a server was asked")
			Expect(conn.Status.Failure).To(BeNil())
		},
		Entry("alone", func(*v1alpha1.MCPConnection) {}),
		Entry("with a suspension", func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) }),
	)

	It("is put back later when it is stripped again, and its manager is named", func() {
		w := connected()
		w.strip()
		w.reconcile()
		w.drainEvents()
		last := time.Duration(0)
		for range 4 {
			w.strip(func(c *v1alpha1.MCPConnection) { c.Labels = map[string]string{"at": w.clock.Now().Format("150405")} })
			wait := w.oneLook()
			Expect(w.hasFinalizer()).To(BeFalse(), "it is put back at once")
			Expect(wait).To(BeNumerically(">", last), "it is put back no later than the last time")
			Expect(w.get().Status.Failure).To(HaveValue(HaveField("Step", string(lifecycle.StepAddFinalizer))))
			events := strings.Join(w.drainEvents(), "\n")
			Expect(events).To(And(ContainSubstring(lifecycle.ReasonFinalizerRemoved), ContainSubstring("somebodys-controller")))
			last = wait
			w.clock.SetTime(w.clock.Now().Add(wait))
			w.reconcile()
			Expect(w.hasFinalizer()).To(BeTrue(), "it is not put back on time")
			Expect(w.get().Status.Failure).To(BeNil())
		}
		w.strip()
		w.oneLook()
		w.untilRefresh()
		spent := w.server.Count(oauthtest.TokenPath)
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(spent+1), "the refresh waits for the finalizer")
	})
})

var _ = Describe("A deleted connection that another's finalizer holds", func() {
	It("is ended all the same", func(ctx SpecContext) {
		w := connected()
		uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
		const other = "example.com/other"
		conn := w.get()
		conn.Finalizers = []string{other}
		Expect(api.Update(ctx, conn)).To(Succeed())
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.oneLook()
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the token is still valid")
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "the credential Secret is left")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
		Expect(w.get().Finalizers).To(Equal([]string{other}))
		asked := w.requests()
		Expect(w.oneLook()).To(BeZero(), "what is ended is looked at again")
		Expect(w.requests()).To(Equal(asked), "what is ended is ended again")
		conn = w.get()
		conn.Finalizers = nil
		Expect(api.Update(ctx, conn)).To(Succeed())
	})
})

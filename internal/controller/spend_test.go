package controller

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// frozenAfter has a policy refuse every update of a credential Secret once an endpoint has answered, until thaw is
// called.
func (w *world) frozenAfter(path string) (thaw func()) {
	GinkgoHelper()
	asked := w.server.Count(path)
	var thawed atomic.Bool
	w.before(apiRules{update: when(isCredential, func(s *corev1.Secret) error {
		if thawed.Load() || w.server.Count(path) == asked || api.Get(context.Background(), client.ObjectKeyFromObject(s),
			&corev1.Secret{}) != nil {
			return nil // policies are asked about what exists
		}
		return denied(s)
	})})
	thaw = func() { thawed.Store(true) }
	DeferCleanup(thaw)
	return thaw
}

// saved waits until nothing is in memory only, and reconciles.
func (w *world) saved() {
	GinkgoHelper()
	Expect(w.r.Drain(time.Minute)).To(BeTrue(), "an answer is still not saved")
	w.reconcile()
}

// whileUnsaved is a connection with a published token whose refresh was answered, which cannot be saved.
func whileUnsaved() (w *world, thaw func()) {
	GinkgoHelper()
	w = connected()
	w.untilRefresh()
	thaw = w.frozenAfter(oauthtest.TokenPath)
	w.reconcile()
	Expect(w.unsaved()).To(BeEquivalentTo(1), "the answer is not in memory only")
	return w, thaw
}

// deletedWhileUnsaved is such a connection that is being deleted. brought is the refresh token of the answer.
func deletedWhileUnsaved(ctx context.Context) (w *world, brought string, thaw func()) {
	GinkgoHelper()
	w, thaw = whileUnsaved()
	Expect(api.Delete(ctx, w.get())).To(Succeed())
	w.reconcile()
	return w, w.server.Grants()[0].RefreshToken, thaw
}

var _ = Describe("An answer that cannot be saved", func() {
	// meets has the operator get an answer that it cannot save.
	DescribeTable("at once is saved beside the reconciles:", func(path string, meets func(w *world, freeze func())) {
		w := newWorld()
		idle, thaw := w.free(), func() {}
		meets(w, func() { thaw = w.frozenAfter(path) })
		asked := w.server.Count(path)
		Expect(w.unsaved()).To(BeEquivalentTo(1))
		Expect(w.r.Drain(0)).To(BeFalse(), "a stop would not wait")
		Expect(w.free()).To(Equal(idle), "slots that are free")
		Expect(w.get().Status.Failure).To(HaveValue(And(
			HaveField("Step", string(lifecycle.StepSave)), HaveField("Reason", v1alpha1.ReasonSecretWriteFailing),
			HaveField("RetryAt", Not(BeNil())),
			HaveField("Message", And(ContainSubstring("in memory only"), ContainSubstring("frozen"))))))
		w.later(time.Minute)
		w.later(time.Hour)
		Expect(w.server.Count(path)).To(Equal(asked), "it was asked again while the answer was not saved")
		thaw()
		w.saved()
		Expect(w.get().Status.Failure).To(Or(BeNil(), HaveField("Step", Not(Equal(string(lifecycle.StepSave))))),
			"it is saved, and status says otherwise")
		if w.offersLink() {
			w.consent()
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "no valid token is published")
		Expect(w.unsaved()).To(BeZero())
	},
		Entry("to a code", oauthtest.TokenPath, func(w *world, freeze func()) { w.apply(); freeze(); w.consent() }),
		Entry("that refuses a code", oauthtest.TokenPath, func(w *world, freeze func()) {
			w.apply()
			w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusBadRequest)
				_, _ = rw.Write([]byte(`{"error":"invalid_grant"}`))
			})
			freeze()
			w.consent()
		}),
		Entry("to a refresh", oauthtest.TokenPath, func(w *world, freeze func()) {
			w.apply()
			w.consent()
			w.untilRefresh()
			freeze()
			w.reconcile()
		}),
		Entry("to client credentials", oauthtest.TokenPath, func(w *world, freeze func()) {
			w.registerByHand(firstSecret, "")
			w.keepCredentials(firstSecret)
			freeze()
			w.apply(w.clientCredentials)
		}),
		Entry("to a registration", oauthtest.RegisterPath, func(w *world, freeze func()) { freeze(); w.apply() }),
	)

	It("lets Ready end on time", func() {
		w, thaw := whileUnsaved()
		w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		thaw()
		w.saved()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("wakes its connection meanwhile, and once it is saved", func(ctx SpecContext) {
		w := connected()
		w.untilRefresh()
		var woken atomic.Int32
		w.r.slots.SetWake(func(types.NamespacedName, slots.Urgency) { woken.Add(1) })
		thaw := w.frozenAfter(oauthtest.TokenPath)
		w.reconcile()
		Eventually(func() int32 { w.reconcile(); return woken.Load() }).WithContext(ctx).WithTimeout(time.Minute).ShouldNot(
			BeZero())
		w.reconcile()
		Expect(w.get().Status.Failure).To(HaveField("Attempts", BeNumerically(">=", 2)), "the failure after another try")
		before := woken.Load()
		thaw()
		w.saved()
		Expect(woken.Load()).NotTo(Equal(before), "it was not woken once its answer was saved")
	})
})

var _ = Describe("A deletion", func() {
	It("waits for an answer and revokes what it brought", Label("security"), func(ctx SpecContext) {
		w, brought, thaw := deletedWhileUnsaved(ctx)
		Expect(w.get().Status.Failure).To(HaveValue(And(
			HaveField("Step", string(lifecycle.StepFinalize)), HaveField("Message", ContainSubstring("cannot be saved yet")))))
		published := w.secret() != nil
		Expect(published).To(BeFalse(), "the token is still published")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "the old tokens were revoked and would be all")
		thaw()
		w.saved()
		w.retried()
		gone := w.get() == nil
		Expect(gone).To(BeTrue(), "the object is still there")
		Expect(slices.Contains(w.revoked(), brought)).To(BeTrue(), "what the answer brought was not revoked")
	})

	It("gives up an answer that cannot be saved in time, and gives it back", Label("security"), func(ctx SpecContext) {
		w, brought, _ := deletedWhileUnsaved(ctx)
		w.later(finalizeWithin)
		gone := w.get() == nil
		Expect(gone).To(BeTrue(), "the object is still there")
		Expect(w.r.Drain(time.Minute)).To(BeTrue(), "there is nothing to save it in, and saving goes on")
		Expect(slices.Contains(w.revoked(), brought)).To(BeTrue(), "what the answer brought was not revoked")
	})
})

var _ = Describe("A revocation that is asked for while an answer is not saved", Label("security"), func() {
	It("ends what the answer brought", func() {
		w, thaw := whileUnsaved()
		brought := w.server.Grants()[0].RefreshToken
		w.annotate(v1alpha1.AnnotationRevoke, "leaked")
		Expect(w.get().Status.LastHandled).To(Or(BeNil(), HaveField("Revoke", BeEmpty())), "it is told as done")
		thaw()
		w.saved()
		w.later(time.Minute)
		published := w.secret()[v1alpha1.KeyAccessToken] != ""
		Expect(published).To(BeFalse(), "a token is published")
		Expect(slices.Contains(w.revoked(), brought)).To(BeTrue(), "what the answer brought was not revoked")
	})
})

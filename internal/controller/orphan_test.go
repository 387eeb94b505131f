package controller

import (
	"maps"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// orphans is one look of the OrphanReconciler at a credential Secret, and when it wants the next.
func (w *world) orphans(key client.ObjectKey) time.Duration {
	GinkgoHelper()
	result, err := (&OrphanReconciler{Reconciler: w.r}).Reconcile(ctrl.LoggerInto(w.ctx, w.log.logger()),
		ctrl.Request{NamespacedName: key})
	w.must(err)
	return result.RequeueAfter
}

// vanish removes the connection past its finalizer, as somebody in a hurry does.
func (w *world) vanish() {
	GinkgoHelper()
	conn := w.get()
	before := conn.DeepCopy()
	conn.Finalizers = nil
	w.must(api.Patch(w.ctx, conn, client.MergeFrom(before)))
	w.must(api.Delete(w.ctx, conn))
	Expect(w.gone()).To(BeTrue(), "the object is still there")
}

// credentialSecret is the Secret itself; nil if there is none.
func (w *world) credentialSecret(uid types.UID) *corev1.Secret {
	GinkgoHelper()
	secret := &corev1.Secret{}
	if err := api.Get(w.ctx, credentialKey(uid), secret); err != nil {
		w.must(client.IgnoreNotFound(err))
		return nil
	}
	return secret
}

// spoil edits the credential Secret behind the operator's back.
func (w *world) spoil(change func(*corev1.Secret)) *corev1.Secret {
	GinkgoHelper()
	secret := w.credentialSecret(w.get().UID)
	change(secret)
	w.must(api.Update(w.ctx, secret))
	return secret
}

func corrupt(s *corev1.Secret) { s.Data["grants"] = []byte(`[{"refreshToken":`) }

func newer(s *corev1.Secret) { s.Data["format"] = []byte("99") }

func foreign(s *corev1.Secret) { s.Annotations[credential.AnnotationUID] = "another" }

// marked is when a credential Secret was first seen without its connection; empty if it was not.
func (w *world) marked(uid types.UID) string {
	GinkgoHelper()
	return w.credentialSecret(uid).Annotations[annotationOrphanedSince]
}

// isRevoked reports whether the first grant is revoked at the server.
func (w *world) isRevoked() bool { return w.server.Grants()[0].Revoked }

var _ = Describe("A credential whose connection vanished", func() {
	It("is revoked and deleted after a day", func() {
		w := connected()
		uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
		w.vanish()
		Expect(w.orphans(credentialKey(uid))).To(Equal(orphanLifetime), "the next look")
		since := w.clock.Now().UTC().Format(time.RFC3339)
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime - time.Second))
		w.restart()
		Expect(w.orphans(credentialKey(uid))).To(Equal(time.Second), "the next look, a second before its time")
		Expect(w.has(credentialKey(uid))).To(BeTrue(), "the Secret goes before the day is over")
		Expect(w.marked(uid)).To(Equal(since), "it is not marked with the first look")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "a revocation was asked for before the day is over")
		Expect(w.isRevoked()).To(BeFalse(), "the grant is revoked before the day is over")
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		Expect(w.orphans(credentialKey(uid))).To(BeZero(), "the next look")
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "the Secret is left")
		Expect(w.isRevoked()).To(BeTrue(), "the grant was not revoked")
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the token is still valid")
		Expect(w.orphans(credentialKey(uid))).To(BeZero(), "a look at what is gone asks for another")
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(2), "a token was revoked twice")
	})

	It("is deleted although its server is down", func() {
		w := connected()
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.server.Close()
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.orphans(credentialKey(uid))
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "a server that is gone keeps the Secret for ever")
	})

	It("is an orphan although another connection took the name", func() {
		w := connected()
		uid := w.get().UID
		w.vanish()
		w.apply()
		w.orphans(credentialKey(uid))
		w.orphans(credentialKey(w.get().UID))
		Expect(w.marked(uid)).NotTo(BeEmpty(), "the Secret of the connection that vanished is not marked")
		Expect(w.marked(w.get().UID)).To(BeEmpty(), "that of the new connection is marked")
	})

	It("has a day when its name becomes free again", func() {
		w := connected()
		uid := w.get().UID
		w.vanish()
		w.apply()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(10 * 24 * time.Hour))
		w.vanish()
		Expect(w.orphans(credentialKey(uid))).To(Equal(orphanLifetime), "the next look")
		Expect(w.has(credentialKey(uid))).To(BeTrue(), "the Secret went at once")
		Expect(w.isRevoked()).To(BeFalse(), "the grant was revoked at once")
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.orphans(credentialKey(uid))
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "a day later the Secret is left")
		Expect(w.isRevoked()).To(BeTrue(), "a day later the grant is left")
	})

	keepsGrant := func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan }
	DescribeTable("ends by a deletion policy", func(change func(*world)) {
		w := newWorld(managing)
		change(w)
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.restart()
		w.orphans(credentialKey(uid))
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "the Secret is left")
		Expect(w.isRevoked()).To(BeFalse(), "the grant was revoked")
		clients := len(w.server.Clients())
		Expect(clients).To(Equal(1), "the client was unregistered")
	},
		Entry("from the beginning", func(w *world) {
			w.apply(keepsGrant)
			w.consent()
		}),
		Entry("edited later", func(w *world) {
			w.apply()
			w.consent()
			w.edit(keepsGrant)
		}),
		Entry("edited while suspended", func(w *world) {
			w.apply()
			w.consent()
			w.edit(func(c *v1alpha1.MCPConnection) {
				keepsGrant(c)
				c.Spec.Suspend = ptr.To(true)
			})
		}),
	)
})

var _ = Describe("A credential whose connection exists", func() {
	DescribeTable("is left alone,", func(change func(*corev1.Secret)) {
		w := connected()
		before := w.spoil(change)
		for range 2 {
			Expect(w.orphans(client.ObjectKeyFromObject(before))).To(BeZero(), "the next look")
			w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		}
		same := equality.Semantic.DeepEqual(before, w.credentialSecret(w.get().UID))
		Expect(same).To(BeTrue(), "the Secret was written or deleted")
		Expect(w.isRevoked()).To(BeFalse(), "the grant was revoked")
	},
		Entry("as it is", func(*corev1.Secret) {}),
		Entry("corrupt", corrupt),
		Entry("of nobody", func(s *corev1.Secret) { s.Annotations = nil }),
		Entry("of another connection", foreign),
	)

	It("loses its mark when the connection is seen again", func() {
		w := connected()
		uid := w.get().UID
		w.spoil(func(s *corev1.Secret) {
			s.Annotations[annotationOrphanedSince], s.Annotations[annotationReplacedBy] = "2001-02-03T04:05:06Z", "another"
		})
		w.orphans(credentialKey(uid))
		Expect(w.credentialSecret(uid).Annotations).NotTo(Or(HaveKey(annotationOrphanedSince), HaveKey(annotationReplacedBy)))
		Expect(w.isRevoked()).To(BeFalse(), "the grant was revoked")
		w.vanish()
		Expect(w.orphans(credentialKey(uid))).To(Equal(orphanLifetime), "the next look after it vanished")
		Expect(w.has(credentialKey(uid))).To(BeTrue(), "the Secret went with the connection")
	})
})

var _ = Describe("A credential whose connection was made anew", func() {
	It("is neither revoked nor used, and goes after thirty days", func() {
		w := connected()
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.apply() // as a restore does
		marked := w.clock.Now()
		for w.clock.Now().Before(marked.Add(replacedLifetime)) {
			wait, after := w.orphans(credentialKey(uid)), w.clock.Now().Sub(marked)
			Expect(w.isRevoked()).To(BeFalse(), "%s after the restore it is revoked", after)
			Expect(w.credentialSecret(uid).Annotations).To(And(
				HaveKeyWithValue(annotationOrphanedSince, Not(BeEmpty())),
				HaveKeyWithValue(annotationReplacedBy, string(w.get().UID)),
			), "%s after the restore", after)
			Expect(w.r.orphaned.states).To(HaveKeyWithValue(credential.SecretName(uid), stateReplaced), "%s after the restore",
				after)
			Expect(wait).To(And(BeNumerically(">", 0), BeNumerically("<=", orphanLifetime)), "the next look")
			w.clock.SetTime(w.clock.Now().Add(wait))
		}
		w.orphans(credentialKey(uid))
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "after thirty days the Secret is left")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "something was revoked")
		w.orphans(credentialKey(uid))
		Expect(w.r.orphaned.states[credential.SecretName(uid)]).To(BeEmpty(), "it is still counted")
		Expect(w.has(credentialKey(w.get().UID))).To(BeTrue(), "the credential of the new connection went")
	})
})

var _ = Describe("A copy of a credential", Label("security"), func() {
	// It has the annotations of the original, and an older mark.
	It("ends nothing", func(ctx SpecContext) {
		w := connected()
		uid := w.get().UID
		original := w.credentialSecret(uid)
		w.vanish()
		copied := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: original.Name + "-copy",
			Labels:      original.Labels,
			Annotations: maps.Clone(original.Annotations)}, Data: original.Data}
		copied.Annotations[annotationOrphanedSince] = "2001-02-03T04:05:06Z"
		Expect(api.Create(ctx, copied)).To(Succeed())
		w.orphans(client.ObjectKeyFromObject(copied))
		Expect(w.has(credentialKey(uid))).To(BeTrue(), "the copy ended the original")
		Expect(w.isRevoked()).To(BeFalse(), "the grant was revoked")
		Expect(w.has(client.ObjectKeyFromObject(copied))).To(BeTrue(), "the copy was deleted")
	})
})

var _ = Describe("An orphan that cannot be read", func() {
	DescribeTable("goes if it is corrupt:", func(spoil func(*corev1.Secret), stays bool) {
		w := connected()
		uid := w.get().UID
		w.spoil(spoil)
		w.vanish()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.orphans(credentialKey(uid))
		Expect(w.has(credentialKey(uid))).To(Equal(stays), "whether it stays")
	},
		Entry("corrupt", corrupt, false),
		Entry("of a newer format", newer, true),
	)
})

var _ = Describe("A credential that cannot be used", Label("security"), func() {
	DescribeTable("is never written and never holds up a deletion:", func(ctx SpecContext, spoil func(*corev1.Secret),
		policy v1alpha1.DeletionPolicy, stays bool) {
		w := newWorld()
		w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = policy })
		w.consent()
		uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
		before := w.spoil(spoil)
		asItWas := func() bool { return equality.Semantic.DeepEqual(before, w.credentialSecret(uid)) }
		w.annotate(v1alpha1.AnnotationRefresh, "now")
		w.annotate(v1alpha1.AnnotationReauthorize, "now")
		w.want(authorized, isFalse, v1alpha1.ReasonCredentialUnreadable)
		w.want(ready, isTrue, v1alpha1.ReasonCredentialUnreadable)
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.restart()
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonCredentialUnreadable)
		w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonCredentialUnreadable)
		Expect(w.holdsToken(token)).To(BeTrue(), "the token Secret was written")
		Expect(asItWas()).To(BeTrue(), "the credential Secret was written")
		w.drainEvents()
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeTrue(), "the object is left")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
		Expect(w.has(credentialKey(uid))).To(Equal(stays), "whether the credential Secret stays")
		Expect(!stays || asItWas()).To(BeTrue(), "the credential Secret was written during the deletion")
		if policy == v1alpha1.DeletionPolicyOrphan {
			Expect(w.drainEvents()).To(BeEmpty(), "the grant was to live on")
		} else {
			Expect(w.drainEvents()).To(ConsistOf(ContainSubstring("RevocationFailed")), "the grant lives on")
		}
	},
		Entry("corrupt", corrupt, v1alpha1.DeletionPolicy(""), false),
		Entry("corrupt, and nothing is to be ended", corrupt, v1alpha1.DeletionPolicyOrphan, false),
		Entry("of a newer format", newer, v1alpha1.DeletionPolicy(""), true),
		Entry("of another connection", foreign, v1alpha1.DeletionPolicy(""), true),
	)
})

package controller

import (
	"context"
	"maps"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// racing is a client beside which somebody else is faster, once: between the decision to write and the write.
type racing struct {
	client.Client
	create, update, remove func()
}

// once runs what somebody does, if it was not run before.
func once(f *func()) {
	if run := *f; run != nil {
		*f = nil
		run()
	}
}

func (r *racing) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	once(&r.create)
	return r.Client.Create(ctx, o, options...)
}

func (r *racing) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	once(&r.update)
	return r.Client.Update(ctx, o, options...)
}

func (r *racing) Delete(ctx context.Context, o client.Object, options ...client.DeleteOption) error {
	once(&r.remove)
	return r.Client.Delete(ctx, o, options...)
}

// somebodysSecret is what must be found unchanged after every race.
var somebodysSecret = map[string]string{"password": "theirs"}

// somebodyCreates a Secret of the token Secret's name.
func (w *world) somebodyCreates() {
	GinkgoHelper()
	w.must(api.Create(w.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}, StringData: somebodysSecret,
	}))
}

// somebodyReplaces the token Secret by one of their own.
func (w *world) somebodyReplaces() {
	GinkgoHelper()
	w.must(api.Delete(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}}))
	w.somebodyCreates()
}

// somebodyTakes the token Secret over: same object, other content, no mark of the operator.
func (w *world) somebodyTakes() {
	GinkgoHelper()
	secret := &corev1.Secret{}
	w.must(api.Get(w.ctx, w.inNamespace("c-token"), secret))
	secret.Labels, secret.Annotations, secret.OwnerReferences = nil, nil, nil
	secret.Data, secret.StringData = nil, somebodysSecret
	w.must(api.Update(w.ctx, secret))
}

// holdsSomebodysSecret reports whether the Secret of the token Secret's name is what somebody made it. A failed Expect
// of its content might print a token.
func (w *world) holdsSomebodysSecret() bool {
	GinkgoHelper()
	return maps.Equal(w.secret(), somebodysSecret)
}

// deleteTokenSecret deletes the Secret of the token Secret's name.
func (w *world) deleteTokenSecret() {
	GinkgoHelper()
	Expect(api.Delete(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
		Name: "c-token"}})).To(Succeed())
}

// race arms a client; the next write of its kind comes second.
type race func(*world, *racing)

// loseRace has somebody win a race for the token Secret against the write that write leads to.
func (w *world) loseRace(arm race, write func(*world)) {
	GinkgoHelper()
	w.apply()
	r := &racing{Client: api}
	w.r.Secrets = r
	arm(w, r)
	write(w)
	ran := r.create == nil && r.update == nil && r.remove == nil
	Expect(ran).To(BeTrue(), "nobody wrote: there was no race")
	w.reconcile()
	Expect(w.holdsSomebodysSecret()).To(BeTrue(), "somebody's Secret was overwritten")
}

// somebodyReplacesBeforeRemoval lets somebody be faster than the removal of the token Secret.
func somebodyReplacesBeforeRemoval(w *world, r *racing) {
	w.consent()
	r.remove = w.somebodyReplaces
}

var _ = Describe("A Secret that is not ours", Label("security"), func() {
	DescribeTable("is overwritten by no race:", func(arm race, write func(*world)) {
		w := newWorld()
		w.loseRace(arm, write)
		w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
		spent := w.server.Count(oauthtest.TokenPath)
		w.deleteTokenSecret()
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(spent), "the token that could not be published was lost")
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(),
			"the token that could not be published was lost")
	},
		Entry("created before the first token is published",
			func(w *world, r *racing) { r.create = w.somebodyCreates },
			(*world).consent),
		Entry("replaced before a refreshed token is published",
			func(w *world, r *racing) { w.consent(); r.update = w.somebodyReplaces },
			func(w *world) { w.untilRefresh(); w.reconcile() }),
		Entry("taken over before a refreshed token is published",
			func(w *world, r *racing) { w.consent(); r.update = w.somebodyTakes },
			func(w *world) { w.untilRefresh(); w.reconcile() }),
		Entry("created while a deleted one is put back",
			func(w *world, r *racing) { w.consent(); w.deleteTokenSecret(); r.create = w.somebodyCreates },
			func(w *world) { w.reconcile() }),
	)

	// The connection has another token Secret in the end, and so there is no conflict.
	It("is overwritten by no race: replaced before it is removed after a new name", func() {
		w := newWorld()
		w.loseRace(somebodyReplacesBeforeRemoval, func(w *world) {
			w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"} })
		})
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("is overwritten by no race: replaced before it is removed with its connection", func(ctx SpecContext) {
		w := newWorld()
		w.loseRace(somebodyReplacesBeforeRemoval, func(w *world) {
			Expect(api.Delete(ctx, w.get())).To(Succeed())
			w.reconcile()
		})
		stays := w.get() != nil
		Expect(stays).To(BeFalse(), "the connection stays for a Secret that is not its own")
	})

	It("is not adopted from a kind of the same name", func(ctx SpecContext) {
		w, _ := waiting()
		Expect(api.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: w.key.Namespace, Name: "c-token",
				Labels: map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy,
					v1alpha1.LabelSecretType: v1alpha1.SecretTypeToken},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "other.example.com/v1", Kind: "MCPConnection", Name: "gone",
					UID: "1", Controller: ptr.To(true)}},
			}, StringData: somebodysSecret,
		})).To(Succeed())
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
		Expect(w.holdsSomebodysSecret()).To(BeTrue(), "it was overwritten")
	})
})

// There is a connection beside the credential Secrets, whose author names one of them.
var _ = Describe("A reference to a Secret", Label("security"), func() {
	It("reads nothing that the operator keeps", func(ctx SpecContext) {
		w := connected()
		kept := credentialKey(w.get().UID)
		Expect(w.has(kept)).To(BeTrue(), "there is no credential Secret")
		in := func(namespace string) *work {
			return doing(&lifecycle.State{Conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}})
		}
		ref, err := w.r.reference(ctx, in(kept.Namespace), kept.Name, "spec.client.initialAccessTokenSecretRef")
		Expect(err).NotTo(HaveOccurred())
		read := ref != nil
		Expect(read).To(BeFalse(), "it is read")
		ref, err = w.r.reference(ctx, in(w.key.Namespace), "c-token", "spec.assertion.secretRef")
		Expect(err).NotTo(HaveOccurred())
		Expect(ref).NotTo(BeNil(), "another Secret is not read")
	})
})

package credential

import (
	"errors"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var _ = Describe("A credential Secret", func() {
	var (
		api   *apiServer
		store *Store
	)
	BeforeEach(func(ctx SpecContext) { api, store = newAPIServer(ctx) })

	It("is labelled, and read back as it was created", func(ctx SpecContext) {
		held := create(ctx, store)
		secret := api.secret(ctx)
		Expect(secret.Labels).To(And(
			HaveKeyWithValue(v1alpha1.LabelManagedBy, v1alpha1.ManagedBy),
			HaveKeyWithValue(v1alpha1.LabelSecretType, v1alpha1.SecretTypeCredential)))
		Expect(secret.Annotations).To(And(
			HaveKeyWithValue(AnnotationConnection, "team-a/files"), HaveKeyWithValue(AnnotationUID, string(uid)),
			HaveKeyWithValue(AnnotationRevision, "0")))
		Expect(secret.OwnerReferences).To(BeEmpty(), "the Secret would go with its connection, before the grant is revoked")
		got, err := store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		Expect(got.Credential).To(Equal(held.Credential))
	})

	It("is not created twice", func(ctx SpecContext) {
		create(ctx, store)
		_, err := store.Create(ctx, owner, func(*Credential) error { return nil })
		Expect(err).To(MatchError(apierrors.IsAlreadyExists, "already exists"))
	})

	It("is nil without an error where there is none", func(ctx SpecContext) {
		held, err := store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		Expect(held).To(BeNil())
	})

	It("is not deleted as corrupt if it can be read", func(ctx SpecContext) {
		Expect(store.DeleteCorrupt(ctx, uid)).To(Succeed(), "without a Secret")
		create(ctx, store)
		Expect(store.DeleteCorrupt(ctx, uid)).To(Succeed())
		api.secret(ctx)
	})

	DescribeTable("must not be used if it is one", Label("security"), func(ctx SpecContext, edit func(*corev1.Secret),
		want error) {
		held := create(ctx, store)
		api.edit(ctx, SecretName(uid), edit)
		before := api.secret(ctx)
		_, err := store.Get(ctx, uid)
		Expect(err).To(MatchError(want))
		Expect(strings.Contains(err.Error(), "hunter2")).To(BeFalse(), "the error repeats what the Secret holds")
		for name, write := range writesOf(store) {
			_, err := write(ctx, held, addGrant)
			Expect(err).To(MatchError(want), name)
		}
		Expect(api.secret(ctx)).To(Equal(before))
		deleted := store.DeleteCorrupt(ctx, uid)
		left := api.Get(ctx, client.ObjectKeyFromObject(before), before)
		if errors.Is(want, ErrCorrupt) {
			Expect(deleted).NotTo(HaveOccurred())
			Expect(left).To(MatchError(apierrors.IsNotFound, "not found"))
			return
		}
		Expect(deleted).To(MatchError(want))
		Expect(left).NotTo(HaveOccurred())
	},
		Entry("of another connection", func(s *corev1.Secret) { s.Annotations[AnnotationUID] = "other" }, ErrForeign),
		Entry("of nobody", func(s *corev1.Secret) { s.Annotations = nil }, ErrForeign),
		Entry("of a newer format", func(s *corev1.Secret) { s.Data[keyFormat] = []byte("2") }, ErrNewerFormat),
		Entry("of a format that is no number", func(s *corev1.Secret) { s.Data[keyFormat] = []byte("hunter2") }, ErrCorrupt),
		Entry("with broken grants", func(s *corev1.Secret) { s.Data[keyGrants] = []byte(`[{"refresh_token":"hunter2"`) },
			ErrCorrupt),
		Entry("with grants of another type", func(s *corev1.Secret) { s.Data[keyGrants] = []byte(`"hunter2"`) }, ErrCorrupt),
	)
})

var _ = Describe("A write of a credential", func() {
	var (
		api   *apiServer
		store *Store
		held  *Held
	)
	BeforeEach(func(ctx SpecContext) {
		api, store = newAPIServer(ctx)
		held = create(ctx, store)
	})

	It("runs again after a conflict, on what is there then", func(ctx SpecContext) {
		api.onUpdate = func() error {
			api.onUpdate = nil
			_, err := store.Update(ctx, held, func(c *Credential) error { c.Grants[0].RefreshToken = "rt-2"; return nil })
			return err
		}
		runs := 0
		got, err := store.Update(ctx, held, func(c *Credential) error {
			runs++
			c.Authorization.AddRequest(request("s", "b"), noon)
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(runs).To(Equal(2))
		Expect(got.Grants[0].RefreshToken).To(Equal("rt-2"))
		Expect(got.Authorization.Requests).To(HaveLen(1))
		stored, err := store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		Expect(stored.Credential).To(Equal(got.Credential))
	})

	It("that its own precondition refuses changes nothing, and says why", func(ctx SpecContext) {
		for name, write := range writesOf(store) {
			_, err := write(ctx, held, func(c *Credential) error { c.Grants = nil; return ErrTicketGone })
			Expect(err).To(MatchError(ErrTicketGone), name)
		}
		Expect(api.updates).To(BeZero())
		Expect(held.Grants).To(HaveLen(1))
	})

	It("that changes nothing is not sent", func(ctx SpecContext) {
		_, err := store.Update(ctx, held, func(*Credential) error { return nil })
		Expect(err).NotTo(HaveOccurred())
		Expect(api.updates).To(BeZero())
	})

	It("to a Secret that was deleted is not found", func(ctx SpecContext) {
		api.edit(ctx, SecretName(uid), func(s *corev1.Secret) { s.Labels["x"] = "y" })
		fresh, err := store.Get(ctx, uid)
		Expect(err).NotTo(HaveOccurred())
		Expect(store.Delete(ctx, held)).To(MatchError(apierrors.IsConflict, "a conflict"), "it changed meanwhile")
		Expect(store.Delete(ctx, fresh)).To(Succeed())
		Expect(store.Delete(ctx, fresh)).To(Succeed(), "a second time")
		for name, write := range writesOf(store) {
			_, err := write(ctx, fresh, addGrant)
			Expect(err).To(MatchError(apierrors.IsNotFound, "not found"), name)
		}
	})
})

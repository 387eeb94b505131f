package credential

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var firstDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signsWith is the ID of the key that the store signs with.
func signsWith(ctx context.Context, s *Store, at time.Time) string {
	GinkgoHelper()
	key, err := s.SigningKey(ctx, at)
	Expect(err).NotTo(HaveOccurred())
	return key.KeyID
}

// published are the IDs of the public keys, oldest first.
func published(ctx context.Context, s *Store) []string {
	GinkgoHelper()
	raw, err := s.JWKS(ctx)
	Expect(err).NotTo(HaveOccurred())
	var set jose.JSONWebKeySet
	Expect(json.Unmarshal(raw, &set)).To(Succeed())
	var ids []string
	for _, k := range set.Keys {
		Expect(k.IsPublic() && k.Algorithm == "ES256" && k.Use == "sig").To(BeTrue(),
			"the key %s is not the public half of a signing key", k.KeyID)
		ids = append(ids, k.KeyID)
	}
	return ids
}

var _ = Describe("The operator's signing key", Label("security"), func() {
	var (
		api   *apiServer
		store *Store
	)
	BeforeEach(func(ctx SpecContext) { api, store = newAPIServer(ctx) })

	It("signs at once if it is the first, and is published", func(ctx SpecContext) {
		Expect(store.JWKS(ctx)).To(BeNil(), "before there is a key")
		id := signsWith(ctx, store, firstDay)
		Expect(published(ctx, store)).To(Equal([]string{id}))
		Expect(api.read(ctx, SigningKeySecret).Labels).To(And(
			HaveKeyWithValue(v1alpha1.LabelManagedBy, v1alpha1.ManagedBy),
			HaveKeyWithValue(v1alpha1.LabelSecretType, v1alpha1.SecretTypeSigningKey)))
		set, err := store.JWKS(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Contains(string(set), `"d"`) || strings.Contains(string(set), "PRIVATE")).To(BeFalse(),
			"the published set holds a private key")
		Expect(signsWith(ctx, store, firstDay.Add(time.Hour))).To(Equal(id))
		Expect(api.updates).To(BeZero(), "the Secret was written without need")
	})

	// Servers see it step by step: a server may hold a set that is almost a day old, and an assertion of a minute ago must
	// still be checked by the set of now.
	It("rotates for a year, and servers always know the one that signs", func(ctx SpecContext) {
		const step = 6 * time.Hour
		var sets [][]string
		var signed []string
		began := map[string]time.Time{}
		for at := firstDay; at.Before(firstDay.Add(366 * 24 * time.Hour)); at = at.Add(step) {
			id := signsWith(ctx, store, at)
			set := published(ctx, store)
			if before := len(sets) - 3; before >= 0 {
				Expect(sets[before]).To(ContainElement(id), "at %s a key signs that was not published 18 hours before", at)
			}
			for _, earlier := range signed[max(0, len(signed)-3):] {
				Expect(set).To(ContainElement(earlier), "at %s a key is gone that signed within 18 hours", at)
			}
			Expect(len(set)).To(BeNumerically("<=", 2), "published at %s", at)
			if _, known := began[id]; !known {
				began[id] = at
			}
			sets, signed = append(sets, set), append(signed, id)
		}
		Expect(began).To(HaveLen(5), "keys that signed within a year")
		Expect(published(ctx, store)).To(HaveLen(1), "old keys are left")
	})

	It("signs until the next is known, if it was not needed for long", func(ctx SpecContext) {
		first := signsWith(ctx, store, firstDay)
		late := firstDay.Add(300 * 24 * time.Hour)
		Expect(signsWith(ctx, store, late)).To(Equal(first), "a key signs that no server knows")
		Expect(published(ctx, store)).To(HaveLen(2))
		second := signsWith(ctx, store, late.Add(publishedBefore))
		Expect(second).NotTo(Equal(first), "the next key does not sign after a day")
		Expect(published(ctx, store)).To(HaveLen(2), "the old one is gone at once")
		Expect(signsWith(ctx, store, late.Add(publishedBefore+publishedAfter))).To(Equal(second))
		Expect(published(ctx, store)).To(Equal([]string{second}), "the old key is still published a day after it signed last")
		Expect(signsWith(ctx, store, firstDay.Add(-time.Hour))).To(Equal(second), "with a clock that was set back")
	})

	It("is one that two processes agree on", func(ctx SpecContext) {
		first := signsWith(ctx, store, firstDay)
		due := firstDay.Add(signingKeyLifetime)
		raced := false
		api.onUpdate = func() error { // the update that comes after it is a conflict
			if !raced {
				raced = true
				signsWith(ctx, NewStore(cluster, api.namespace), due)
			}
			return nil
		}
		Expect(signsWith(ctx, store, due)).To(Equal(first))
		Expect(raced).To(BeTrue())
		Expect(published(ctx, store)).To(HaveLen(2))
	})

	It("is one that processes agree on which begin at the same time", func(ctx SpecContext) {
		keys := make(chan string)
		const processes = 8
		for range processes {
			go func() {
				defer GinkgoRecover()
				var id string
				defer func() { keys <- id }()
				id = signsWith(ctx, NewStore(cluster, api.namespace), firstDay)
			}()
		}
		var got []string
		for range processes {
			got = append(got, <-keys)
		}
		Expect(slices.Compact(got)).To(Equal(published(ctx, store)))
	})
})

var _ = Describe("The Secret of signing keys", Label("security"), func() {
	var (
		api   *apiServer
		store *Store
	)
	BeforeEach(func(ctx SpecContext) { api, store = newAPIServer(ctx) })

	DescribeTable("must not be used if it is one", func(ctx SpecContext, spoil func(*corev1.Secret), want error) {
		signsWith(ctx, store, firstDay)
		api.edit(ctx, SigningKeySecret, spoil)
		_, err := store.SigningKey(ctx, firstDay)
		Expect(err).To(MatchError(want))
		Expect(err).To(MatchError(ContainSubstring(SigningKeySecret)))
	},
		Entry("of somebody else", func(s *corev1.Secret) { s.Labels = nil }, ErrForeign),
		Entry("of another type", func(s *corev1.Secret) { s.Labels[v1alpha1.LabelSecretType] = v1alpha1.SecretTypeToken },
			ErrForeign),
		Entry("of a newer operator", func(s *corev1.Secret) { s.Data[keyFormat] = []byte("99") }, ErrNewerFormat),
	)

	DescribeTable("is mended if it is one", func(ctx SpecContext, spoil func(*corev1.Secret)) {
		signsWith(ctx, store, firstDay)
		api.edit(ctx, SigningKeySecret, spoil)
		id := signsWith(ctx, store, firstDay)
		Expect(published(ctx, store)).To(Equal([]string{id}))
	},
		Entry("without a readable key", func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[{"private_key":"x"}]`) }),
		Entry("with half of its content", func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[{`) }),
		Entry("without any", func(s *corev1.Secret) { s.Data = nil }),
		Entry("with another public set", func(s *corev1.Secret) { s.Data[keyJWKS] = []byte(`{"keys":[]}`) }),
		Entry("with an empty list of its", func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[]`) }),
	)

	It("is never served if it is not ours", func(ctx SpecContext) {
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: api.namespace, Name: SigningKeySecret},
			Data: map[string][]byte{keyJWKS: []byte("mine")}}
		Expect(cluster.Create(ctx, foreign)).To(Succeed())
		set, err := store.JWKS(ctx)
		Expect(err).To(MatchError(ErrForeign))
		Expect(set).To(BeNil())
	})
})

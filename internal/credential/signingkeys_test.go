package credential

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var firstDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// signsWith is the ID of the key that the store signs with.
func signsWith(t *testing.T, s *Store, at time.Time) string {
	t.Helper()
	key, err := s.SigningKey(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return key.KeyID
}

// published are the IDs of the public keys, oldest first.
func published(t *testing.T, s *Store) []string {
	t.Helper()
	raw, err := s.JWKS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	var ids []string
	for _, k := range set.Keys {
		if !k.IsPublic() || k.Algorithm != "ES256" || k.Use != "sig" {
			t.Fatalf("the key %s is not the public half of a signing key", k.KeyID)
		}
		ids = append(ids, k.KeyID)
	}
	return ids
}

func (s *apiServer) signingKeys(t *testing.T) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	if err := s.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: SigningKeySecret}, secret); err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestTheFirstKeySignsAtOnceAndIsPublished(t *testing.T) {
	api, s := newAPIServer(t)
	if set, err := s.JWKS(t.Context()); set != nil || err != nil {
		t.Fatalf("before there is a key: %s, %v", set, err)
	}
	id := signsWith(t, s, firstDay)
	if got := published(t, s); !slices.Equal(got, []string{id}) {
		t.Errorf("%s signs, published are %v", id, got)
	}
	secret := api.signingKeys(t)
	if secret.Labels[v1alpha1.LabelManagedBy] != v1alpha1.ManagedBy || secret.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeSigningKey {
		t.Errorf("labels %v", secret.Labels)
	}
	if set, _ := s.JWKS(t.Context()); strings.Contains(string(set), `"d"`) || strings.Contains(string(set), "PRIVATE") {
		t.Error("the published set holds a private key")
	}
	if signsWith(t, s, firstDay.Add(time.Hour)) != id || api.updates != 0 {
		t.Error("another key signs, or the Secret was written without need")
	}
}

// TestAYearOfRotations steps through it as servers see it: a server may hold a set that is almost a day old, and an
// assertion of a minute ago must still be checked by the set of now.
func TestAYearOfRotations(t *testing.T) {
	_, s := newAPIServer(t)
	const step = 6 * time.Hour
	var sets [][]string
	var signed []string
	began := map[string]time.Time{}
	for at := firstDay; at.Before(firstDay.Add(366 * 24 * time.Hour)); at = at.Add(step) {
		id := signsWith(t, s, at)
		set := published(t, s)
		if before := len(sets) - 3; before >= 0 && !slices.Contains(sets[before], id) {
			t.Fatalf("at %s a key signs that was not published 18 hours before", at)
		}
		for _, earlier := range signed[max(0, len(signed)-3):] {
			if !slices.Contains(set, earlier) {
				t.Fatalf("at %s a key is gone that signed within 18 hours", at)
			}
		}
		if len(set) > 2 {
			t.Fatalf("at %s %d keys are published", at, len(set))
		}
		if _, known := began[id]; !known {
			began[id] = at
		}
		sets, signed = append(sets, set), append(signed, id)
	}
	if len(began) != 5 {
		t.Errorf("%d keys signed within a year, want 5", len(began))
	}
	if last := published(t, s); len(last) != 1 {
		t.Errorf("old keys are left: %v", last)
	}
}

func TestAKeyThatWasNotNeededForLongSignsUntilTheNextIsKnown(t *testing.T) {
	_, s := newAPIServer(t)
	first := signsWith(t, s, firstDay)
	late := firstDay.Add(300 * 24 * time.Hour)
	if signsWith(t, s, late) != first || len(published(t, s)) != 2 {
		t.Fatal("a key signs that no server knows, or no other is published")
	}
	second := signsWith(t, s, late.Add(publishedBefore))
	if second == first || len(published(t, s)) != 2 {
		t.Fatal("the next key does not sign after a day, or the old one is gone at once")
	}
	if signsWith(t, s, late.Add(publishedBefore+publishedAfter)) != second || !slices.Equal(published(t, s), []string{second}) {
		t.Error("the old key is still published a day after it signed last")
	}
	if signsWith(t, s, firstDay.Add(-time.Hour)) != second {
		t.Error("with a clock that was set back no key signs")
	}
}

func TestTwoProcessesAgreeOnOneKey(t *testing.T) {
	api, s := newAPIServer(t)
	first := signsWith(t, s, firstDay)
	due := firstDay.Add(signingKeyLifetime)
	raced := false
	api.onUpdate = func() error {
		if raced {
			return nil
		}
		raced = true
		other := NewStore(api.WithWatch, namespace)
		if _, err := other.SigningKey(t.Context(), due); err != nil {
			t.Fatal(err)
		}
		return apierrors.NewConflict(corev1.Resource("secrets"), SigningKeySecret, errors.New("written by another"))
	}
	if signsWith(t, s, due) != first || len(published(t, s)) != 2 || !raced {
		t.Errorf("published are %v", published(t, s))
	}
}

func TestASecretOfSigningKeysThatMustNotBeUsed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*corev1.Secret)
		want  error // nil: it is replaced
	}{
		"of somebody else":          {func(s *corev1.Secret) { s.Labels = nil }, ErrForeign},
		"of another type":           {func(s *corev1.Secret) { s.Labels[v1alpha1.LabelSecretType] = v1alpha1.SecretTypeToken }, ErrForeign},
		"of a newer operator":       {func(s *corev1.Secret) { s.Data[keyFormat] = []byte("99") }, ErrNewerFormat},
		"without a readable key":    {func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[{"private_key":"x"}]`) }, nil},
		"with half of its content":  {func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[{`) }, nil},
		"without any":               {func(s *corev1.Secret) { s.Data = nil }, nil},
		"with another public set":   {func(s *corev1.Secret) { s.Data[keyJWKS] = []byte(`{"keys":[]}`) }, nil},
		"with an empty list of its": {func(s *corev1.Secret) { s.Data[keySigningKeys] = []byte(`[]`) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			api, s := newAPIServer(t)
			signsWith(t, s, firstDay)
			secret := api.signingKeys(t)
			test.spoil(secret)
			if err := api.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			key, err := s.SigningKey(t.Context(), firstDay)
			if test.want != nil {
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), SigningKeySecret) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				return
			}
			if err != nil || !slices.Equal(published(t, s), []string{key.KeyID}) {
				t.Errorf("it is not mended: %v", err)
			}
		})
	}
}

func TestASecretOfThatNameThatIsNotOursIsNeverServed(t *testing.T) {
	api, s := newAPIServer(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SigningKeySecret}, Data: map[string][]byte{keyJWKS: []byte("mine")}}
	if err := api.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if set, err := s.JWKS(t.Context()); set != nil || !errors.Is(err, ErrForeign) {
		t.Errorf("served %s, %v", set, err)
	}
}

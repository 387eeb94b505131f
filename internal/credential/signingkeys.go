package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// SigningKeySecret is the name of the Secret with the operator's own keys, by which it authenticates as a metadata
// document client (private_key_jwt; RFC 7523, section 2.2).
const SigningKeySecret = "mcp-connection-operator-signing-keys"

// Keys of that Secret. The public set is kept beside the private keys, so that whoever serves it needs nothing else.
const (
	keySigningKeys = "signing-keys"
	keyJWKS        = "jwks.json"
)

// Life of a signing key.
const (
	// signingKeyLifetime is how long a key signs.
	signingKeyLifetime = 90 * 24 * time.Hour
	// publishedBefore is how long a key is published before it signs, so that no server has a set without it.
	publishedBefore = 24 * time.Hour
	// publishedAfter is how long it is published after it signed last: an assertion lives for a minute, and clocks differ.
	publishedAfter = 24 * time.Hour
)

// signingKey is one key as it is stored.
type signingKey struct {
	ID string `json:"id"`
	// PrivateKey in PKCS#8 PEM.
	PrivateKey string    `json:"private_key"`
	CreatedAt  time.Time `json:"created_at"`
	// SignsFrom is when it takes the place of the one before it.
	SignsFrom time.Time `json:"signs_from"`
}

func newSigningKey(now, signsFrom time.Time) (signingKey, error) {
	key, err := mcpoauth.GenerateSigningKey()
	if err != nil {
		return signingKey{}, fmt.Errorf("generating a signing key: %w", err)
	}
	text, err := key.PEM()
	if err != nil {
		return signingKey{}, fmt.Errorf("encoding a signing key: %w", err)
	}
	return signingKey{ID: key.KeyID, PrivateKey: string(text), CreatedAt: now.UTC().Truncate(time.Second),
		SignsFrom: signsFrom.UTC().Truncate(time.Second)}, nil
}

// rotate is the set of keys as it should be now, oldest first. The very first key signs at once: no server can have
// fetched a set without it. Every later one is published first.
func rotate(keys []signingKey, now time.Time) ([]signingKey, error) {
	rotated := slices.Clone(keys)
	signsFrom := now
	if n := len(rotated); n > 0 {
		if now.Before(rotated[n-1].SignsFrom.Add(signingKeyLifetime - publishedBefore)) {
			return withoutOld(rotated, now), nil
		}
		signsFrom = now.Add(publishedBefore)
	}
	key, err := newSigningKey(now, signsFrom)
	if err != nil {
		return nil, err
	}
	return withoutOld(append(rotated, key), now), nil
}

// withoutOld drops keys whose last assertion is over.
func withoutOld(keys []signingKey, now time.Time) []signingKey {
	for len(keys) > 1 && !now.Before(keys[1].SignsFrom.Add(publishedAfter)) {
		keys = keys[1:]
	}
	return keys
}

// signing is the key that signs now: the newest whose time has come.
func signing(keys []signingKey, now time.Time) signingKey {
	for _, k := range slices.Backward(keys) {
		if !now.Before(k.SignsFrom) {
			return k
		}
	}
	return keys[0] // the clock was set back
}

// SigningKey is the operator's own key for an assertion made now. It makes the first key, and the next when it is time.
// ErrForeign and ErrNewerFormat are returned for a Secret that must not be used.
func (s *Store) SigningKey(ctx context.Context, now time.Time) (*mcpoauth.SigningKey, error) {
	for {
		keys, err := s.rotateSigningKeys(ctx, now)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // another process was faster
		}
		if err != nil {
			return nil, fmt.Errorf("the Secret %s: %w", SigningKeySecret, err)
		}
		k := signing(keys, now)
		return mcpoauth.ParseSigningKey([]byte(k.PrivateKey), k.ID)
	}
}

func (s *Store) rotateSigningKeys(ctx context.Context, now time.Time) ([]signingKey, error) {
	secret, err := s.signingKeySecret(ctx)
	if err != nil {
		return nil, err
	}
	var keys []signingKey
	if secret != nil {
		if keys, err = decodeSigningKeys(secret); errors.Is(err, ErrCorrupt) {
			keys, err = nil, nil // they are lost, and nothing hangs on them but a few failing requests
		}
		if err != nil {
			return nil, err
		}
	}
	keys, err = rotate(keys, now)
	if err != nil {
		return nil, err
	}
	return keys, s.putSigningKeys(ctx, secret, keys)
}

// signingKeySecret reads the Secret; nil without an error if there is none.
func (s *Store) signingKeySecret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: SigningKeySecret}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading it: %w", err)
	case secret.Labels[v1alpha1.LabelSecretType] != v1alpha1.SecretTypeSigningKey:
		return nil, ErrForeign
	}
	return secret, nil
}

func decodeSigningKeys(secret *corev1.Secret) ([]signingKey, error) {
	if version, err := strconv.Atoi(string(secret.Data[keyFormat])); err == nil && version > format {
		return nil, ErrNewerFormat
	}
	var keys []signingKey
	if err := json.Unmarshal(secret.Data[keySigningKeys], &keys); err != nil {
		return nil, ErrCorrupt
	}
	for _, k := range keys {
		if _, err := mcpoauth.ParseSigningKey([]byte(k.PrivateKey), k.ID); err != nil {
			return nil, ErrCorrupt
		}
	}
	return keys, nil
}

// putSigningKeys writes the Secret if it differs; secret is nil if there is none.
func (s *Store) putSigningKeys(ctx context.Context, secret *corev1.Secret, keys []signingKey) error {
	data, err := encodeSigningKeys(keys)
	if err != nil {
		return err
	}
	if secret == nil {
		return s.client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SigningKeySecret, Labels: map[string]string{
				v1alpha1.LabelManagedBy: v1alpha1.ManagedBy, v1alpha1.LabelSecretType: v1alpha1.SecretTypeSigningKey,
			}},
			Data: data,
		})
	}
	changed := false
	for key, value := range data {
		changed = changed || !bytes.Equal(secret.Data[key], value)
	}
	if !changed {
		return nil
	}
	secret.Data = data
	return s.client.Update(ctx, secret)
}

func encodeSigningKeys(keys []signingKey) (map[string][]byte, error) {
	var public jose.JSONWebKeySet
	for _, k := range keys {
		key, err := mcpoauth.ParseSigningKey([]byte(k.PrivateKey), k.ID)
		if err != nil {
			return nil, err
		}
		public.Keys = append(public.Keys, key.PublicJWK())
	}
	private, err := json.Marshal(keys) //nolint:gosec // the Secret is where private keys belong
	if err != nil {
		return nil, err
	}
	set, err := json.Marshal(public)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{keyFormat: []byte(strconv.Itoa(format)), keySigningKeys: private, keyJWKS: set}, nil
}

// JWKS is the set of the operator's public keys (RFC 7517, section 5); nil if there are none.
func (s *Store) JWKS(ctx context.Context) ([]byte, error) {
	secret, err := s.signingKeySecret(ctx)
	if secret == nil || err != nil {
		return nil, err
	}
	return secret.Data[keyJWKS], nil
}

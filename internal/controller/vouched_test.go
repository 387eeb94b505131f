package controller

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
)

// vouching is the key of somebody outside the cluster who vouches for workloads.
var vouching = sync.OnceValue(func() jose.JSONWebKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: "vouching", Algorithm: string(jose.ES256)}
})

// vouchingKey is its public half.
func vouchingKey() jose.JSONWebKey {
	key := vouching()
	return key.Public()
}

// vouched is an assertion that the key's owner issued for audiences.
func (w *world) vouched(audiences ...string) string {
	GinkgoHelper()
	return w.vouchedBy("https://idp.example", audiences...)
}

func (w *world) vouchedBy(issuer string, audiences ...string) string {
	GinkgoHelper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: vouching()}, nil)
	w.must(err)
	now := w.clock.Now()
	claims := map[string]any{"sub": "agent", "aud": audiences, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"jti": rand.Text()}
	if issuer != "" {
		claims["iss"] = issuer
	}
	payload, err := json.Marshal(claims)
	w.must(err)
	signed, err := signer.Sign(payload)
	w.must(err)
	text, err := signed.CompactSerialize()
	w.must(err)
	return text
}

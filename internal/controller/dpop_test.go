package controller

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// holdsBoundToken checks that the token Secret has all that a consumer needs to prove possession.
func (w *world) holdsBoundToken() {
	GinkgoHelper()
	secret := w.secret()
	Expect(secret["token_type"] != "DPoP" || secret["authorization"] != "DPoP "+secret["access_token"]).To(BeFalse(),
		"the Secret holds a token of type %q", secret["token_type"])
	_, err := mcpoauth.ParseDPoPKey([]byte(secret["dpop_jwk"]))
	Expect(err).NotTo(HaveOccurred())
}

func asksForDPoP(c *oauthtest.Config) { c.DPoP = true }

// holdsBearerToken checks that the token Secret has a Bearer token and no key.
func (w *world) holdsBearerToken() {
	GinkgoHelper()
	Expect(w.secret()["token_type"]).To(Equal("Bearer"))
	_, bound := w.secret()["dpop_jwk"]
	Expect(bound).To(BeFalse(), "a key is published with the token")
}

var _ = Describe("A server that asks for DPoP", Label("security"), func() {
	DescribeTable("gets proofs, and its tokens carry the key", func(nonce string) {
		w := newWorld(func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, nonce })
		w.apply()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
		key := w.secret()["dpop_jwk"]
		w.restart()
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
		kept := w.secret()["dpop_jwk"] == key
		Expect(kept).To(BeTrue(), "the key changed with a refresh")
	},
		Entry("without a nonce", ""),
		Entry("with a nonce", "nonce-1"),
	)

	DescribeTable("binds every grant:", func(apply func() *world) {
		w := apply()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
	},
		Entry("client credentials", func() *world {
			w := newWorld(asksForDPoP)
			w.registerByHand(firstSecret, "")
			w.keepCredentials(firstSecret)
			w.apply(w.clientCredentials)
			return w
		}),
		Entry("JWT bearer", func() *world {
			w := workloads()
			w.server.Configure(asksForDPoP)
			w.account(w.server.Issuer())
			w.apply(byAccount)
			return w
		}),
		Entry("token exchange", func() *world {
			w, idp := enterprise(vouchesForAlice)
			w.server.Configure(asksForDPoP)
			w.keep("identity", map[string]string{"token": "the-subject-token"})
			w.apply(w.byExchange(idp))
			return w
		}),
	)
})

var _ = Describe("A server that does not ask for DPoP", func() {
	It("gets no key", func() {
		w := connected()
		w.holdsBearerToken()
		Expect(w.server.Last(oauthtest.TokenPath).Header.Get("DPoP")).To(BeEmpty())
	})
})

var _ = Describe("A server that begins to ask for DPoP", func() {
	It("is noticed by a challenge", func() {
		w := connected()
		w.server.Configure(asksForDPoP)
		w.annotate(v1alpha1.AnnotationChallenge, `DPoP error="invalid_token", algs="ES256"`)
		for range 2 {
			w.reconcile()
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
	})
})

var _ = Describe("A server that talks of DPoP and issues Bearer tokens", func() {
	It("is taken at its word", func() {
		w := newWorld(asksForDPoP)
		w.apply()
		answersToken(w, "Bearer")
		w.consent()
		w.holdsBearerToken()
	})
})

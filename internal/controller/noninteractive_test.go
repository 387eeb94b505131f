package controller

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// keep makes a Secret hold exactly these keys.
func (w *world) keep(name string, data map[string]string) {
	GinkgoHelper()
	want := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: name}, StringData: data}
	if err := api.Create(w.ctx, want.DeepCopy()); err == nil {
		return
	}
	w.must(api.Update(w.ctx, want))
}

// later steps the clock and reconciles.
func (w *world) later(d time.Duration) {
	GinkgoHelper()
	w.clock.SetTime(w.clock.Now().Add(d))
	w.reconcile()
}

func (w *world) clientCredentials(c *v1alpha1.MCPConnection) {
	w.preregistered(c)
	c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials
}

// byHand is a world with a client that somebody registered by hand, and whose credentials are in their Secret.
func byHand() *world {
	GinkgoHelper()
	w := newWorld()
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	return w
}

var _ = Describe("Client credentials", func() {
	DescribeTable("need nobody, and a token is requested again in time:", func(method string) {
		w := newWorld(func(c *oauthtest.Config) { c.AuthMethods = []string{method} })
		w.registerByHand(firstSecret, method)
		w.keepCredentials(firstSecret)
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		first := w.secret()
		conn := w.get()
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		Expect(conn.Status.Token.RefreshAt).NotTo(BeNil())
		Expect(conn.Status.Client.AuthMethod).To(BeEquivalentTo(method))
		Expect(w.server.Count(oauthtest.RegisterPath)).To(BeZero(), "registrations")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(BeZero(), "consents")
		discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		second := w.secret()
		repeated := second["access_token"] == first["access_token"]
		Expect(repeated).To(BeFalse(), "no new token was published")
		Expect(w.server.ValidAccessToken(second["access_token"])).To(BeTrue(), "the published token is not valid")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
		Expect(w.server.Count(oauthtest.ResourceMetadataPath)).To(Equal(discoveries), "the MCP server was asked again")
	},
		Entry("client_secret_basic", "client_secret_basic"),
		Entry("client_secret_post", "client_secret_post"),
	)

	It("that were rotated are used at the next request", func() {
		w := byHand()
		w.apply(w.clientCredentials)
		w.registerByHand(secondSecret, "")
		w.untilRefresh()
		w.reconcile()
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.keepCredentials(secondSecret)
		w.later(2 * time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		_, secret := w.authentication()
		sent := secret == secondSecret
		Expect(sent).To(BeTrue(), "the old secret was sent")
	})
})

// signingKeys are one of each kind that is accepted, in PKCS#8 PEM.
func signingKeys() map[string]crypto.Signer {
	GinkgoHelper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	Expect(err).NotTo(HaveOccurred())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	return map[string]crypto.Signer{"ES256": ec, "RS256": rs, "EdDSA": ed}
}

func pemOf(key crypto.Signer) string {
	GinkgoHelper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

var _ = Describe("A private key", func() {
	DescribeTable("authenticates by", func(algorithm string) {
		w, key := newWorld(), signingKeys()[algorithm]
		w.server.AddClient(oauthtest.Client{ID: registeredID, AuthMethod: "private_key_jwt",
			Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: algorithm, Use: "sig"}}})
		w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": pemOf(key), "key_id": "k1"})
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Client.AuthMethod).To(BeEquivalentTo("private_key_jwt"))
	},
		Entry("ES256", "ES256"),
		Entry("RS256", "RS256"),
		Entry("EdDSA", "EdDSA"),
	)

	It("that was rotated is used at the next request", func() {
		w, keys := newWorld(), signingKeys()
		known := func(name string) {
			w.server.AddClient(oauthtest.Client{ID: registeredID, AuthMethod: "private_key_jwt",
				Keys: []jose.JSONWebKey{{Key: keys[name].Public(), Algorithm: name, Use: "sig"}}})
			w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": pemOf(keys[name])})
		}
		known("ES256")
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		known("EdDSA")
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
	})
})

var _ = Describe("A credential Secret", Label("security"), func() {
	DescribeTable("that cannot be used is named, and what is wrong with it:", func(data map[string]string, want string) {
		w := newWorld()
		w.keep(credentialName, data)
		w.apply(w.clientCredentials)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage(want, credentialName)
		Expect(w.readyMessage()).NotTo(ContainSubstring("hunter2"))
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "something was sent")
	},
		Entry("no client_id", map[string]string{"client_secret": "s"}, "client_id"),
		Entry("a private key that is none", map[string]string{"client_id": registeredID, "private_key": "-----BEGIN hunter2"},
			"PKCS#8"),
	)
})

var _ = Describe("A token request that is refused", func() {
	It("stalls and backs off", func() {
		w := byHand()
		w.apply(w.clientCredentials, scoped("unheard:of"))
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
		w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonTokenRequestRejected)
		for range 5 {
			w.reconcile()
		}
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "token requests")
		w.edit(scoped("mcp:read"))
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// scoped has the spec ask for these scopes.
func scoped(scopes ...v1alpha1.Scope) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = scopes }
}

var _ = Describe("An edited spec of client credentials", func() {
	It("brings a new token, and a refused edit keeps the old one alive", func() {
		w := byHand()
		w.apply(w.clientCredentials, scoped("mcp:read"))
		w.edit(scoped("mcp:read", "mcp:write"))
		Expect(w.get().Status.Scopes).To(Equal([]string{"mcp:read", "mcp:write"}))
		w.edit(scoped("unheard:of"))
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		for range 4 {
			w.untilRefresh()
			w.reconcile()
			Expect(w.server.ValidAccessToken(w.secret()["access_token"])).To(BeTrue(), "the published token expired")
		}
		Expect(w.get().Status.Scopes).To(Equal([]string{"mcp:read", "mcp:write"}))
	})
})

var _ = Describe("Another grant type", func() {
	It("removes the token at once, and flipping back restores it", func() {
		w := byHand()
		w.apply(w.preregistered)
		w.consent()
		before := w.secret()
		w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusServiceUnavailable)
		})
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials })
		Expect(slices.Collect(maps.Keys(w.secret()))).To(ConsistOf("server_url"), "the keys of the Secret")
		Expect(w.secret()["server_url"]).NotTo(BeEmpty())
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
		w.server.Handle(oauthtest.TokenPath, nil)
		w.later(time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.GrantType = v1alpha1.GrantTypeAuthorizationCode })
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		restored := w.secret()["access_token"] == before["access_token"]
		Expect(restored).To(BeTrue(), "the person's grant is lost")
	})
})

var _ = Describe("A token of client credentials", func() {
	It("that is withdrawn is revoked and replaced", func() {
		w := byHand()
		w.apply(w.clientCredentials)
		before := w.secret()["access_token"]
		w.annotate(v1alpha1.AnnotationRevoke, "leak")
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.ValidAccessToken(before)).To(BeFalse(), "the leaked token lives on")
		kept := w.secret()["access_token"] == before
		Expect(kept).To(BeFalse(), "the leaked token is still published")
	})

	It("that lacks scopes is requested once for the union", func() {
		w := byHand()
		w.apply(w.clientCredentials, scoped("mcp:read"))
		w.annotate(v1alpha1.AnnotationChallenge, `Bearer error="insufficient_scope", scope="mcp:write"`)
		Expect(w.get().Status.Scopes).To(Equal([]string{"mcp:read", "mcp:write"}))
		w.untilRefresh()
		w.reconcile()
		Expect(w.get().Status.Scopes).To(Equal([]string{"mcp:read", "mcp:write"}))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(3), "token requests")
	})

	It("that is refused is requested again once, then the server is discovered", func() {
		w := byHand()
		w.apply(w.clientCredentials)
		discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
		w.annotate(v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`)
		for range 3 {
			w.reconcile()
		}
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
		Expect(w.server.Count(oauthtest.ResourceMetadataPath)).To(Equal(discoveries+1), "discoveries")
	})
})

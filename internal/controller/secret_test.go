package controller

import (
	"maps"
	"net/http"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// has reports whether a Secret is there.
func (w *world) has(key client.ObjectKey) bool {
	GinkgoHelper()
	err := api.Get(w.ctx, key, &corev1.Secret{})
	Expect(client.IgnoreNotFound(err)).NotTo(HaveOccurred())
	return err == nil
}

// inNamespace is the key of a Secret beside the connection.
func (w *world) inNamespace(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.key.Namespace, Name: name}
}

func credentialKey(uid types.UID) client.ObjectKey {
	return client.ObjectKey{Namespace: operatorNamespace, Name: credential.SecretName(uid)}
}

var _ = Describe("A token Secret", func() {
	It("holds the server's URL only where no authorization is needed", func() {
		w := newWorld(func(c *oauthtest.Config) { c.Public = true })
		w.apply()
		for _, condition := range []string{ready, discovered, registered, authorized} {
			w.want(condition, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
		}
		secret := w.secret()
		Expect(slices.Collect(maps.Keys(secret))).To(ConsistOf(v1alpha1.KeyServerURL))
		Expect(secret).To(HaveKeyWithValue(v1alpha1.KeyServerURL, w.server.MCPURL()))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.offersLink()).To(BeTrue(), "scopes ask for authorization, and there is no link")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("takes its place under a new name before the old one goes", func(ctx SpecContext) {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		taken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "renamed"}}
		Expect(api.Create(ctx, taken)).To(Succeed())
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"} })
		w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
		Expect(w.holdsToken(token)).To(BeTrue(), "the old Secret went before the new one was there")
		Expect(api.Delete(ctx, taken)).To(Succeed())
		w.restart()
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		renamed := &corev1.Secret{}
		Expect(api.Get(ctx, w.inNamespace("renamed"), renamed)).To(Succeed())
		same := string(renamed.Data[v1alpha1.KeyAccessToken]) == token
		Expect(same).To(BeTrue(), "the new Secret holds another token")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the old Secret is still there")
		Expect(w.get().Status.Token.SecretName).To(Equal("renamed"))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "a refresh was spent")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeTrue(), "the object is left after the deletion")
		Expect(w.has(w.inNamespace("renamed"))).To(BeFalse(), "the Secret is left after the deletion")
	})
})

var _ = Describe("A connection without a refresh token", func() {
	It("offers a link in time and ends to be ready on time", func() {
		w, _ := waiting(func(c *oauthtest.Config) { c.NoRefreshTokens = true })
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
		issued, expiry := w.get().Status.Token.IssuedAt.Time, w.get().Status.Token.ExpiresAt.Time
		linkAt := issued.Add(expiry.Sub(issued) * 2 / 3)
		Expect(w.onceMore()).To(Equal(linkAt.Sub(w.clock.Now())), "the next look")
		Expect(w.offersLink()).To(BeFalse(), "the link is offered before two thirds of the life")
		w.clock.SetTime(linkAt)
		Expect(w.onceMore()).To(Equal(expiry.Sub(linkAt)), "the look after the link, which is at the expiry")
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
		Expect(w.offersLink()).To(BeTrue(), "no link at two thirds of the life")
		w.clock.SetTime(expiry)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonTokenExpired)
		w.want(authorized, isFalse, v1alpha1.ReasonTokenExpired)
		Expect(w.holdsToken("")).To(BeFalse(), "the expired token was removed")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "something was refreshed")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
	})
})

var _ = Describe("The deletion policy Orphan", func() {
	It("leaves the grant at the server", func(ctx SpecContext) {
		w := newWorld()
		w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		w.consent()
		token, held := w.secret()[v1alpha1.KeyAccessToken], credentialKey(w.get().UID)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeTrue(), "the object is left")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
		Expect(w.has(held)).To(BeFalse(), "the credential Secret is left")
		Expect(w.server.ValidAccessToken(token)).To(BeTrue(), "the grant was revoked")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "a revocation was asked for")
	})
})

// answersToken has the token endpoint answer with a token of a type that consumers cannot send.
func answersToken(w *world, tokenType string) {
	w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"access_token":"a-token","refresh_token":"another","expires_in":3600,"token_type":"` +
			tokenType + `"}`)) // the client has all it wants
	})
}

var _ = Describe("A token of another type", func() {
	It("is kept and never published", func() {
		w, _ := waiting()
		answersToken(w, "mac")
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonUnsupportedTokenType)
		w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonUnsupportedTokenType)
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token was published")
		kept := w.stored().Grants[0].AccessToken == "a-token"
		Expect(kept).To(BeTrue(), "the token was not kept")
		w.annotate(v1alpha1.AnnotationReauthorize, "bearer")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("leaves the old token, after a refresh, until that one expires", func() {
		w := connected()
		token, expiry := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Token.ExpiresAt.Time
		answersToken(w, "mac")
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonUnsupportedTokenType)
		Expect(w.holdsToken(token)).To(BeTrue(), "the valid token was replaced")
		Expect(w.onceMore()).To(BeNumerically("<=", expiry.Sub(w.clock.Now())), "the next look is later than the expiry")
		w.clock.SetTime(expiry)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonUnsupportedTokenType)
	})
})

var _ = Describe("A token that no header may hold", func() {
	It("is kept and never published", Label("security"), func() {
		const odd = "a\nb"
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.server.Edit(oauthtest.TokenPath, 1, func(answer map[string]any) { answer["access_token"] = odd })
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonUnsupportedTokenType)
		Expect(w.holdsToken(token)).To(BeTrue(), "the valid token was replaced")
		g := w.stored().Grants[0]
		kept := g.AccessToken == odd && g.RefreshToken == w.server.Grants()[0].RefreshToken
		Expect(kept).To(BeTrue(), "the answer was not kept")
		Expect(g.Claim).To(BeNil())
	})
})

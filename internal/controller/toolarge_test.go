package controller

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// withLongTokens has the next answer leave no room for anything but its refresh token: each character of an access
// token of the longest kind that is taken is stored as six.
func withLongTokens(m map[string]any) { m["access_token"] = strings.Repeat("\x01", 64<<10) }

// withLongRefreshToken has not even that fit.
func withLongRefreshToken(m map[string]any) { m["refresh_token"] = strings.Repeat("\x01", 64<<10) }

// readyMessage is what Ready says.
func (w *world) readyMessage() string {
	GinkgoHelper()
	return meta.FindStatusCondition(w.get().Status.Conditions, ready).Message
}

var _ = Describe("A too large answer", func() {
	It("to a code has its refresh token saved", func() {
		w := newWorld()
		w.apply()
		w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
		w.consent()
		g := w.stored().Grants[0]
		alone := g.AccessToken == "" && g.RefreshToken == w.server.Grants()[0].RefreshToken && g.RefreshToken != ""
		Expect(alone).To(BeTrue(), "the refresh token alone is not what is stored")
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
		Expect(w.readyMessage()).To(ContainSubstring("too large"))
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "something was revoked")
		published := w.secret() != nil
		Expect(published).To(BeFalse(), "there is a token Secret")
		w.restart()
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "no valid token is published")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "it took another consent")
	})

	It("to a refresh has its refresh token saved", func() {
		w := connected()
		published := w.secret()[v1alpha1.KeyAccessToken]
		w.untilRefresh()
		w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
		w.reconcile()
		g := w.stored().Grants[0]
		beside := g.RefreshToken == w.server.Grants()[0].RefreshToken && g.AccessToken == published
		Expect(beside).To(BeTrue(), "the new refresh token is not stored beside the access token that was published")
		Expect(g.Claim).To(BeNil())
		Expect(g.UnknownOutcomes).To(BeZero())
		Expect(w.get().Status.Failure).To(HaveValue(And(HaveField("Step", string(lifecycle.StepRefresh)),
			HaveField("Message", ContainSubstring("too large")))))
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "something was revoked")
		w.restart()
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Failure).To(BeNil())
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "no valid token is published")
	})

	It("that brings no other refresh token keeps the grant", func() {
		w := connected(func(c *oauthtest.Config) { c.KeepRefreshTokens = true })
		before := w.stored().Grants[0].RefreshToken
		w.untilRefresh()
		w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
		w.reconcile()
		kept := w.stored().Grants[0].RefreshToken == before
		Expect(kept).To(BeTrue(), "the grant was ended by an answer that did not replace its refresh token")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "something was revoked")
		w.retried()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// It ends for every kind of request, where saving went on for ever.
var _ = Describe("An answer of which nothing fits", func() {
	DescribeTable("is given back:", func(tokens int, meets func(*world)) {
		w := newWorld()
		meets(w)
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(tokens), "tokens that were given back")
		last := w.server.Last(oauthtest.RevokePath)
		Expect(last.Form.Get("token_type_hint")).To(Equal("access_token"))
		given := last.Form.Get("token") != ""
		Expect(given).To(BeTrue(), "the access token was not given back")
		said := w.readyMessage()
		if f := w.get().Status.Failure; f != nil {
			said += f.Message
		}
		Expect(said).To(ContainSubstring("too large"))
		for _, g := range w.stored().Grants {
			Expect(g.Claim).To(BeNil())
			Expect(len(g.AccessToken)+len(g.RefreshToken)).To(BeNumerically("<=", 1<<10), "what does not fit was stored")
		}
		Expect(w.unsaved()).To(BeZero())
	},
		Entry("to a code", 2, func(w *world) {
			w.apply()
			w.server.Edit(oauthtest.TokenPath, 1, func(m map[string]any) { withLongTokens(m); withLongRefreshToken(m) })
			w.consent()
		}),
		Entry("to a code, without a refresh token", 1, func(w *world) {
			w.server.Configure(func(c *oauthtest.Config) { c.NoRefreshTokens = true })
			w.apply()
			w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
			w.consent()
		}),
		Entry("to a refresh", 2, func(w *world) {
			w.apply()
			w.consent()
			w.untilRefresh()
			w.server.Edit(oauthtest.TokenPath, 1, withLongRefreshToken)
			w.reconcile()
		}),
		Entry("to client credentials", 1, func(w *world) {
			w.registerByHand(firstSecret, "")
			w.keepCredentials(firstSecret)
			w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
			w.apply(w.clientCredentials)
		}),
	)
})

var _ = Describe("A client that is too large", func() {
	It("is not used, and is deleted at its server", func() {
		w := newWorld(managing, expiring)
		long := func(m map[string]any) { m["client_secret"] = strings.Repeat("\x01", 16<<10) }
		w.server.Edit(oauthtest.RegisterPath, 1, long)
		w.apply()
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		Expect(meta.FindStatusCondition(w.get().Status.Conditions, registered).Message).To(ContainSubstring("too large"))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		clients := len(w.server.Clients())
		Expect(clients).To(BeZero(), "clients that stayed at the server")
		w.retried()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		first := w.get().Status.Client.ID
		w.untilUpdate()
		w.server.Edit(w.managementPath(), 1, long)
		w.reconcile()
		renewed := w.stored().Grants[0].Client
		Expect(renewed.UpdateRefused).To(BeTrue(), "the update is not given up")
		Expect(len(renewed.ClientSecret)).To(BeNumerically("<=", 1<<10), "the long secret is stored")
		Expect(renewed.ClientID).To(Equal(first))
		Expect(w.server.Last(oauthtest.RegisterPath + "/" + first).Method).To(Equal(http.MethodPut))
	})
})

var _ = Describe("Client credentials of a Secret that are too large", func() {
	It("are told of", func() {
		w := newWorld()
		long := strings.Repeat("s", 40<<10)
		w.registerByHand(long, "")
		w.keepCredentials(long)
		w.apply(w.preregistered)
		w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
		shows := strings.Contains(w.readyMessage(), long[:100])
		Expect(shows).To(BeFalse(), "Ready shows the secret")
		Expect(w.readyMessage()).To(ContainSubstring("too large"))
	})
})

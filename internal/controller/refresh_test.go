package controller

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// untilRetry steps the clock to the next try of the step that fails.
func (w *world) untilRetry() {
	GinkgoHelper()
	failure := w.get().Status.Failure
	Expect(failure == nil || failure.RetryAt == nil).To(BeFalse(), "failure is %+v", failure)
	w.clock.SetTime(failure.RetryAt.Time)
}

// onceMore is one reconcile, and when it wants the next.
func (w *world) onceMore() time.Duration {
	GinkgoHelper()
	result, err := w.r.Reconcile(w.ctx, ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result.RequeueAfter
}

// abandon leaves a claim behind as a process does that is killed between claim and answer.
func (w *world) abandon(claim func(*credential.Credential, *credential.Claim)) {
	GinkgoHelper()
	_, err := w.r.Store.Update(w.ctx, w.stored(), func(c *credential.Credential) error {
		claim(c, &credential.Claim{ID: "left", Holder: "a process that is gone"})
		return nil
	})
	w.must(err)
}

func claimGrant(c *credential.Credential, claim *credential.Claim) { c.Grants[0].Claim = claim }

func claimCode(c *credential.Credential, claim *credential.Claim) {
	c.Authorization.Response.Claim = claim
}

// keptTokens makes a second try with the same refresh token succeed.
func keptTokens(c *oauthtest.Config) { c.KeepRefreshTokens = true }

// lostAnswers is how many answers to the current refresh token were lost.
func (w *world) lostAnswers() int {
	GinkgoHelper()
	return int(w.stored().Grants[0].UnknownOutcomes)
}

var _ = Describe("A lost answer to a refresh", func() {
	It("is made up for by one more try", func() {
		w := connected(keptTokens)
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.server.Lose(oauthtest.TokenPath, 1)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		Expect(w.lostAnswers()).To(Equal(1))
		Expect(w.holdsToken(token)).To(BeTrue(), "the token did not stay")
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.holdsToken(token)).To(BeFalse(), "the second try did not lead to a token")
		Expect(w.lostAnswers()).To(BeZero())
	})

	It("with a rotated token in it ends in a link, and the access token stays", func() {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.server.Lose(oauthtest.TokenPath, 1)
		w.untilRefresh()
		w.reconcile()
		w.untilRetry()
		conn := w.reconcile()
		w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized) // this server ends the access token with the grant
		Expect(w.server.Grants()[0].Reused).To(BeTrue(), "the rotated token was not tried once more")
		Expect(w.holdsToken(token)).To(BeTrue(), "the token went")
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "there is no link")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("is followed by nothing after the second one until the token expires", func() {
		w := connected(keptTokens)
		w.server.Lose(oauthtest.TokenPath, 3)
		w.untilRefresh()
		w.reconcile()
		w.untilRetry()
		w.reconcile()
		const sent = 3 // the code and two refreshes
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(sent), "token requests")
		expiry := w.get().Status.Token.ExpiresAt.Time
		for w.clock.Now().Before(expiry.Add(-3 * time.Minute)) {
			w.clock.SetTime(w.clock.Now().Add(2 * time.Minute))
			w.restart()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		}
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(sent), "a refresh token of unknown fate was sent while the "+
			"access token was valid")
		w.clock.SetTime(expiry)
		conn := w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
		w.want(authorized, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(sent+1), "no try at expiry")
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "no link")
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.offersLink()).To(BeFalse(), "the link stayed after the recovery")
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "the token is not valid")
	})
})

var _ = Describe("An unknown outcome of a refresh", func() {
	It("is healed by a consent", func() {
		w := connected(keptTokens)
		w.server.Lose(oauthtest.TokenPath, -1)
		w.untilRefresh()
		w.reconcile()
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
		w.server.Handle(oauthtest.TokenPath, nil)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Failure).To(BeNil())
		Expect(w.offersLink()).To(BeFalse(), "a link is left")
	})
})

var _ = Describe("A claim left by a killed process", func() {
	// sent reports whether the process that was killed had sent the refresh token.
	DescribeTable("is watched before it is taken over:", func(sent bool, readyAfter string) {
		w := connected()
		g := w.stored().Grants[0]
		w.abandon(claimGrant)
		if sent {
			resp, err := http.PostForm(g.TokenEndpoint,
				url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken},
					"client_id": {g.Client.ClientID}, "resource": {g.Resource}})
			Expect(err).NotTo(HaveOccurred())
			Expect(resp.Body.Close()).To(Succeed())
		}
		count := w.server.Count(oauthtest.TokenPath)
		w.untilRefresh()
		Expect(w.onceMore()).To(And(BeNumerically(">", 0), BeNumerically("<=", claims.Margin)), "the next look at the claim")
		w.clock.SetTime(w.clock.Now().Add(claims.TakeoverAfter - time.Second))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(count), "the claim was taken over too early")
		Expect(w.stored().Grants[0].Claim.ID).To(Equal("left"), "the claim was taken over too early")
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		Expect(shown(w.reconcile(), ready)).To(Equal(readyAfter))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(count+1), "the claim was not taken over")
		Expect(w.stored().Grants[0].Claim).To(BeNil(), "the claim was not given back")
	},
		Entry("it had sent nothing", false, succeeded),
		Entry("it had sent and got no say", true,
			"False ProbeUnauthorized"), // this server ends the access token with the grant
	)

	It("is watched from the beginning by a process that starts anew", func() {
		w := connected()
		w.abandon(claimGrant)
		w.untilRefresh()
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(claims.TakeoverAfter - time.Second))
		w.restart()
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(claims.TakeoverAfter - time.Second))
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "what another process has watched counted")
	})
})

var _ = Describe("A code", func() {
	It("that a killed process claimed is given up, and a second consent works", func() {
		w, link := waiting()
		Expect(w.open(link)).To(Equal(http.StatusSeeOther), "the flow's end")
		w.abandon(claimCode)
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(claims.TakeoverAfter - time.Second))
		w.reconcile()
		Expect(w.stored().Authorization.Response).NotTo(BeNil(), "the code was given up too early")
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		w.reconcile()
		w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestFailing)
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
		Expect(w.showsLink(link)).To(BeTrue(), "the link went")
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "the code was sent")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("whose answer is lost is never sent again", func() {
		w, link := waiting()
		w.server.Lose(oauthtest.TokenPath, 1)
		w.consent()
		w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestFailing)
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "the code was sent again")
		Expect(w.showsLink(link)).To(BeTrue(), "the link went")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Grants()[0].Reused).To(BeFalse(), "a code was used twice")
	})
})

var _ = DescribeTable("A new refresh token is kept though the access token with it is of no use:", func(unusable any) {
	w := connected()
	published := w.secret()[v1alpha1.KeyAccessToken]
	w.server.Edit(oauthtest.TokenPath, 2, func(answer map[string]any) { answer["access_token"] = unusable })
	w.untilRefresh()
	w.reconcile()
	for range 2 {
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		Expect(w.lostAnswers()).To(BeZero())
		Expect(w.stored().Grants[0].Claim).To(BeNil())
		Expect(w.holdsToken(published)).To(BeTrue(), "the token did not stay")
		w.untilRetry()
		w.reconcile()
	}
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	grants := len(w.server.Grants())
	Expect(grants).To(Equal(1), "grants at the server")
	Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "the token is not valid")
},
	Entry("without end", strings.Repeat("x", 100_000)),
	Entry("missing", nil),
)

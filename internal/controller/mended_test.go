package controller

import (
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// failsFor lets a connection fail until its retries have become rare, and sees that it looks at its Secrets meanwhile.
func (w *world) failsFor(path string) (requests int) {
	GinkgoHelper()
	for range 6 {
		w.untilRetry()
		w.reconcile()
	}
	w.looksSoon()
	requests = w.server.Count(path)
	for range 5 {
		w.aMinuteLater()
	}
	Expect(w.server.Count(path)).To(Equal(requests), "what was refused was sent again within five minutes")
	return requests
}

// looksSoon checks that a reconcile wants another one in time to find what was mended.
func (w *world) looksSoon() {
	GinkgoHelper()
	Expect(w.onceMore()).To(And(BeNumerically(">", 0), BeNumerically("<=", lifecycle.InputsRecheck)),
		"it looks at the Secret too late or never")
}

// offersLink reports whether status offers a link.
func (w *world) offersLink() bool {
	GinkgoHelper()
	return w.get().Status.AuthorizationURL != ""
}

// connectedByHand is a connection that a person consented to, with a client that was registered by hand.
func connectedByHand() *world {
	GinkgoHelper()
	w := newWorld()
	w.registerByHand(firstSecret, "client_secret_basic")
	w.keepCredentials(firstSecret)
	w.apply(w.preregistered)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w
}

var _ = Describe("Mended credentials", func() {
	It("are tried within a minute, and once", func() {
		w := newWorld()
		w.registerByHand(secondSecret, "client_secret_post")
		w.keepCredentials(firstSecret)
		w.apply(w.clientCredentials)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		before := w.failsFor(oauthtest.TokenPath)
		w.keepCredentials("also wrong")
		for range 2 {
			w.aMinuteLater()
		}
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		Expect(w.server.Count(oauthtest.TokenPath)-before).To(Equal(1), "requests with other credentials, in two minutes")
		w.keepCredentials(secondSecret)
		w.aMinuteLater()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("of a client of the identity provider are tried within a minute", func() {
		w, idp := enterprise(func(string, string) (string, error) { return "alice", nil })
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		w.keep("idp", map[string]string{"client_id": "somebody else"})
		w.apply(w.byExchange(idp))
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.keep("idp", map[string]string{"client_id": "at the provider"})
		w.aMinuteLater()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("of a consented grant are tried within a minute", func() {
		w := connectedByHand()
		w.keepCredentials("wrong")
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.keepCredentials(firstSecret)
		w.aMinuteLater()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	DescribeTable("are tried with a refresh that was asked for", func(annotation, value string) {
		w := connectedByHand()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.keepCredentials("wrong")
		w.annotate(annotation, value)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.keepCredentials(firstSecret)
		w.aMinuteLater()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeFalse(), "the old token is still published")
	},
		Entry("by a person", v1alpha1.AnnotationRefresh, "now"),
		Entry("by a consumer", v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`),
	)
})

var _ = Describe("A private key that was missing", func() {
	It("is found within a minute", func() {
		w := newWorld()
		w.registerByHand(firstSecret, "client_secret_basic")
		w.keep(credentialName, map[string]string{"client_id": registeredID})
		w.apply(w.clientCredentials, func(c *v1alpha1.MCPConnection) { c.Spec.Client.AuthMethod = "private_key_jwt" })
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.failsFor(oauthtest.TokenPath)
	})
})

var _ = Describe("A new initial access token", func() {
	It("is tried within a minute", func() {
		w := newWorld(isProtected)
		w.keepInitialToken("token", "spent")
		w.apply(mayRegister)
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		w.failsFor(oauthtest.RegisterPath)
		w.keepInitialToken("token", initialToken)
		w.aMinuteLater()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})

	It("is tried within a minute beside a grant, too", func(ctx SpecContext) {
		w := newWorld(isProtected)
		w.keepInitialToken("token", initialToken)
		w.apply(mayRegister)
		w.consent()
		w.keepInitialToken("token", "spent")
		_, err := w.r.Store.Update(ctx, w.stored(),
			func(c *credential.Credential) error { c.Registrations[0].ExpiredConsents = 3; return nil })
		Expect(err).NotTo(HaveOccurred())
		w.annotate(v1alpha1.AnnotationReauthorize, "x")
		w.failsFor(oauthtest.RegisterPath)
		w.keepInitialToken("token", initialToken)
		w.aMinuteLater()
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
	})
})

var _ = Describe("A corrected import", func() {
	It("is taken over while a link is open", func() {
		w := newWorld()
		client := oauthtest.Client{ID: "old tool"}
		token := w.grantElsewhere(w.server, client)
		w.keep("old", map[string]string{"refresh_token": "a token of yesterday", "client_id": client.ID,
			"issuer": w.server.Issuer()})
		w.apply(importing)
		w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		w.looksSoon()
		w.keep("old", map[string]string{"refresh_token": token, "client_id": client.ID, "issuer": w.server.Issuer()})
		w.aMinuteLater()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.offersLink()).To(BeFalse(), "the link is still offered")
	})
})

var _ = Describe("A request to refresh", func() {
	DescribeTable("without a refresh token is answered and rests", func(ctx SpecContext, prepare func(w *world)) {
		w := newWorld()
		prepare(w)
		before := w.server.Count(oauthtest.TokenPath)
		w.annotate(v1alpha1.AnnotationRefresh, "now")
		conn := w.get()
		Expect(conn.Status.LastHandled).To(HaveField("Refresh", "now"))
		Expect(conn.Status.Next).To(HaveField("Basis", w.r.cachedSecrets(ctx, conn).Basis), "it does not rest")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(before), "a token was requested")
		Expect(w.told("NothingToRefresh")).To(BeTrue(), "no event says so")
	},
		Entry("before any consent", func(w *world) { w.apply() }),
		Entry("with a token that cannot be refreshed", func(w *world) {
			w.server.Configure(func(c *oauthtest.Config) { c.NoRefreshTokens = true })
			w.apply()
			w.consent()
		}),
	)
})

// unavailable refuses for an hour.
func unavailable(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Retry-After", "3600")
	rw.WriteHeader(http.StatusServiceUnavailable)
}

var _ = Describe("A request to revoke", Label("security"), func() {
	It("ends the grant of an issuer that the server names no more", func() {
		w := connectedByHand()
		other := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.Now = w.clock.Now })
		w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = []string{other.Issuer()} })
		w.annotate(v1alpha1.AnnotationReauthorize, "look")
		w.want(authorized, isFalse, v1alpha1.ReasonIssuerChanged)
		w.server.HandleTimes(oauthtest.RevokePath, 1,
			func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
		w.annotate(v1alpha1.AnnotationRevoke, "leak")
		grants := len(w.stored().Grants)
		Expect(grants).To(Equal(1), "grants that are stored while revoking fails")
		w.later(time.Minute)
		grants = len(w.stored().Grants)
		Expect(grants).To(BeZero(), "grants that are stored after the revocation")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeNumerically(">=", 2),
			"the revocation that failed was not sent again")
		Expect(other.Count(oauthtest.RevokePath)).To(BeZero(), "the grant was revoked at the other issuer")
		Expect(w.get().Status.LastHandled).To(HaveField("Revoke", "leak"))
	})

	It("ends the current grant first", func() {
		w := connected()
		other := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.Now = w.clock.Now })
		first := w.server.MCPURL()
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = other.MCPURL() })
		w.consent()
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = first })
		leaked := w.secret()[v1alpha1.KeyAccessToken]
		other.Handle(oauthtest.RevokePath, unavailable)
		w.annotate(v1alpha1.AnnotationRevoke, "leak")
		Expect(w.server.ValidAccessToken(leaked)).To(BeFalse(), "the token is still valid")
	})

	It("ends a withdrawn grant although a consent follows", func() {
		w := connected()
		leaked := w.server.Grants()[0].RefreshToken
		w.annotate(v1alpha1.AnnotationReauthorize, "again")
		w.server.HandleTimes(oauthtest.RevokePath, 2, unavailable)
		w.annotate(v1alpha1.AnnotationRevoke, "leak")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		revoked := slices.ContainsFunc(w.server.Requests(), func(r oauthtest.Request) bool {
			return r.Path == oauthtest.RevokePath && r.Form.Get("token") == leaked
		})
		Expect(revoked).To(BeTrue(), "the withdrawn grant was not revoked")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeNumerically(">=", 4))
	})
})

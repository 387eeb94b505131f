package controller

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// oldRedirect is of the tool that a team used before.
const oldRedirect = "http://localhost:7777/callback"

// grantElsewhere has a person consent to another tool, which got a refresh token so.
func (w *world) grantElsewhere(s *oauthtest.Server, client oauthtest.Client) (refreshToken string) {
	GinkgoHelper()
	client.RedirectURIs = []string{oldRedirect}
	s.AddClient(client)
	verifier := mcpoauth.NewCodeVerifier()
	link, err := mcpoauth.AuthorizationURL(mcpoauth.AuthorizationRequest{
		Endpoint: s.URL + oauthtest.AuthorizePath, ClientID: client.ID, RedirectURI: oldRedirect, Resource: s.Resource(),
		Scopes: []string{"mcp:read", "offline_access"}, State: "state", CodeVerifier: verifier,
	})
	w.must(err)
	back, err := s.Approve(link)
	w.must(err)
	answer, err := w.r.OAuth.For(s.MCPURL()).Exchange(w.ctx, mcpoauth.CodeRequest{
		TokenEndpoint: mcpoauth.TokenEndpoint{URL: s.URL + oauthtest.TokenPath, Resource: s.Resource(),
			Client: mcpoauth.ClientRegistration{ClientID: client.ID, ClientSecret: client.Secret}},
		Code: back.Query().Get("code"), CodeVerifier: verifier, RedirectURI: oldRedirect,
	})
	w.must(err)
	Expect(answer.RefreshToken).NotTo(BeEmpty(), "no refresh token")
	return answer.RefreshToken
}

func importing(c *v1alpha1.MCPConnection) {
	c.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"}
}

var _ = Describe("A grant of another tool", func() {
	DescribeTable("is brought along without a new consent", func(client oauthtest.Client) {
		w := newWorld()
		token := w.grantElsewhere(w.server, client)
		w.keep("old", map[string]string{"refresh_token": token + "\n", "client_id": client.ID, "client_secret": client.Secret,
			"issuer": w.server.Issuer()})
		before := w.server.Count(oauthtest.TokenPath)
		w.apply(importing)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		Expect(w.get().Status.Client.ID).To(Equal("old tool"))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(before+1), "token requests")
		for range 2 { // rotated, and never the imported one again
			w.restart()
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		}
		Expect(w.server.ValidAccessToken(w.secret()["access_token"])).To(BeTrue(), "the published token is not valid")
	},
		Entry("of a public client", oauthtest.Client{ID: "old tool"}),
		Entry("of a confidential client", oauthtest.Client{ID: "old tool", Secret: firstSecret}),
	)
})

var _ = Describe("An import", func() {
	It("waits for its Secret, and asks for no consent meanwhile", func() {
		w := newWorld()
		w.apply(importing)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		Expect(w.offersLink()).To(BeFalse(), "a consent was asked for")
		Expect(w.server.Requests()).To(BeEmpty())
		token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool"})
		w.later(time.Minute)
		w.wantMessage("has no key issuer")
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
		w.later(time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A grant of another issuer", Label("security"), func() {
	It("is not imported", func() {
		w, other := newWorld(), oauthtest.New(GinkgoTB())
		token := w.grantElsewhere(other, oauthtest.Client{ID: "old tool"})
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": other.Issuer()})
		w.apply(importing)
		w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "the refresh token was sent to another issuer")
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ImportSecretRef = nil })
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})
})

var _ = Describe("An imported token that is no good", func() {
	It("leads to a consent and is not tried again", func() {
		w := newWorld()
		token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
		w.server.RevokeGrants()
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
		w.apply(importing)
		w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
		asked := w.server.Count(oauthtest.TokenPath)
		w.restart()
		w.later(time.Hour)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(asked), "the dead token was sent again")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Client.ID).NotTo(Equal("old tool"), "the consent was asked for as the old tool")
	})
})

var _ = Describe("Another refresh token in the Secret of an import", func() {
	It("is imported once the first is dead", func() {
		w := newWorld()
		first := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
		w.server.RevokeGrants()
		keep := func(token string) {
			w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
		}
		keep(first)
		w.apply(importing)
		w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
		keep(w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"}))
		w.annotate(v1alpha1.AnnotationRefresh, "now")
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Scopes).To(ContainElement("mcp:read"))
	})
})

package controller

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func readOnly(c *oauthtest.Config) {
	c.Scopes = []string{"mcp:read"}
	c.ServerScopes = []string{"mcp:read", "mcp:write", "mcp:admin"}
}

func insufficient(scopes string) string {
	return fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, scopes)
}

// granted checks the scopes that status names.
func (w *world) granted(scopes ...string) {
	GinkgoHelper()
	Expect(w.get().Status.Scopes).To(Equal(scopes))
}

// remembers checks that status names a challenge as handled.
func (w *world) remembers(challenge string) {
	GinkgoHelper()
	Expect(w.get().Status.LastHandled).To(HaveField("Challenge", credential.Hash(challenge)))
}

var _ = Describe("A challenge", func() {
	It("for more scopes steps up while the old token stays", func() {
		w := connected(readOnly)
		w.granted("mcp:read")
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write"))
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		w.remembers(insufficient("mcp:write"))
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeTrue(), "the old token is gone")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.granted("mcp:read", "mcp:write")
		Expect(w.server.LastScopes()).To(Equal([]string{"mcp:read", "mcp:write"}))
		Expect(w.secret()[v1alpha1.KeyScope]).To(Equal("mcp:read mcp:write"))
		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.consent()
		w.granted("mcp:read", "mcp:write") // another consent does not lose what the challenge brought
	})

	It("for scopes that are granted does not loop", func() {
		w := connected(readOnly)
		w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:read"))
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		w.want(v1alpha1.ConditionProbed, isFalse, v1alpha1.ReasonInsufficientScope)
		Expect(w.offersLink()).To(BeFalse(), "a consent is asked for")
		w.remembers(insufficient("mcp:read"))
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = nil })
		Expect(conn.Status.LastHandled).To(BeNil(), "a challenge that was taken off is remembered")
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A consent that brings fewer scopes", func() {
	It("is not asked for again", func() {
		w := connected(readOnly, func(c *oauthtest.Config) { c.GrantedScopes = []string{"mcp:read"} })
		w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write"))
		w.consent()
		w.granted("mcp:read")
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write")+`, error_description="again"`)
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		Expect(w.offersLink()).To(BeFalse(), "the same scopes are asked for again")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(2))
	})
})

var _ = Describe("A server that never grants the scopes of its challenges", func() {
	It("makes no person consent for ever", func() {
		w := connected(readOnly, func(c *oauthtest.Config) {
			c.ServerScopes, c.GrantedScopes = []string{"mcp:read", "a", "b"}, []string{"mcp:read"}
		})
		consents := 0
		for i := range 10 { // by turns, so that each asks for something new
			w.annotate(v1alpha1.AnnotationChallenge, insufficient([]string{"a", "b"}[i%2])+fmt.Sprintf(`, n="%d"`, i))
			if w.offersLink() {
				consents++
				w.consent()
			}
		}
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		Expect(consents).To(Equal(lifecycle.MaxStepUps))
	})
})

var _ = Describe("Growing scopes of the spec", func() {
	It("step up too", func() {
		w := connected(readOnly)
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:write"} })
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeTrue(), "the old token is gone")
		w.consent()
		w.granted("mcp:read", "mcp:write")
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.granted("mcp:read", "mcp:write")
	})
})

var _ = Describe("A refused token of which a challenge tells", func() {
	It("is refreshed once, and the server is discovered", func() {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
		w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
		w.remembers(refusedToken)
		Expect(w.offersLink()).To(BeFalse(), "a consent is asked for")
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2))
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeFalse(), "the refused token is still published")
		Expect(w.server.Count(oauthtest.ResourceMetadataPath)).To(Equal(discoveries + 1))
	})

	It("wants a consent where it cannot be refreshed", func() {
		w := connected(func(c *oauthtest.Config) { c.NoRefreshTokens = true; c.AccessTokenLifetime = -1 })
		w.annotate(v1alpha1.AnnotationChallenge, `Bearer resource_metadata="x"`)
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// migrated is another authorization server, which the MCP server of w names from now on.
func (w *world) migrated() *oauthtest.Server {
	GinkgoHelper()
	other := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.Now, c.Resource = w.clock.Now, w.server.MCPURL() })
	w.server.Configure(func(c *oauthtest.Config) { c.TokensOf = other })
	w.names(other.Issuer())
	return other
}

func (w *world) names(issuers ...string) {
	w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = issuers })
}

// sawNothingOf fails if a server was told anything that another one issued or knows.
func sawNothingOf(server *oauthtest.Server, secrets ...string) {
	GinkgoHelper()
	for _, r := range server.Requests() {
		told := fmt.Sprint(r.Header, r.Query, r.Body)
		for _, secret := range secrets {
			leaked := secret != "" && strings.Contains(told, secret)
			Expect(leaked).To(BeFalse(), "%s %s was told what another server issued", r.Method, r.Path)
		}
	}
}

var _ = Describe("Another authorization server", Label("security"), func() {
	It("is registered at and asked for consent", func() {
		w := connected()
		token, client, refreshToken := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID,
			w.server.Grants()[0].RefreshToken
		other := w.migrated()
		conn := w.annotate(v1alpha1.AnnotationChallenge, `Bearer resource_metadata="x"`)
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		published := w.secret()[v1alpha1.KeyAccessToken] != ""
		Expect(published).To(BeFalse(), "the old server's token is published")
		Expect(conn.Status.AuthorizationServer).To(HaveField("Issuer", other.Issuer()))
		Expect(conn.Status.Client).NotTo(HaveField("ID", client))
		w.restart()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		sawNothingOf(other, token, client, refreshToken, w.server.Grants()[0].RefreshToken)
		Expect(other.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "the token is not the new server's")
		Expect(other.Count(oauthtest.RegisterPath)).To(Equal(1))
		w.names() // flips back
		w.annotate(v1alpha1.AnnotationChallenge, `Bearer realm="back"`)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(),
			"the token is not the old server's again")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "flipping back asked for consent")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "flipping back registered a client")
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("Servers", Label("security"), func() {
	It("are told nothing of each other", func(ctx SpecContext) {
		w := connected()
		atFirst := []string{w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID, w.server.Grants()[0].RefreshToken}
		other := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.Now = w.clock.Now })
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = other.MCPURL() })
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		atOther := []string{w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID, other.Grants()[0].RefreshToken}
		w.untilRefresh()
		w.reconcile()
		atOther = append(atOther, w.secret()[v1alpha1.KeyAccessToken], other.Grants()[0].RefreshToken)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		gone := w.reconcile() == nil
		Expect(gone).To(BeTrue(), "the object is still there")
		Expect(w.server.Grants()[0].Revoked).To(BeTrue(), "the grant of the first server was not revoked")
		Expect(other.Grants()[0].Revoked).To(BeTrue(), "the grant of the other server was not revoked")
		sawNothingOf(other, atFirst...)
		sawNothingOf(w.server, atOther...)
	})
})

var _ = Describe("A preregistered client", Label("security"), func() {
	DescribeTable("stops at another issuer than the one that is pinned",
		func(ctx SpecContext, pin func(s *v1alpha1.MCPConnectionSpec, issuer string)) {
			w := newWorld()
			redirect := []string{credential.RedirectURI(w.pages.URL)}
			w.server.AddClient(oauthtest.Client{ID: "by-hand", Secret: "the-client-secret", RedirectURIs: redirect})
			w.keep("client", map[string]string{"client_id": "by-hand", "client_secret": "the-client-secret"})
			w.apply(func(c *v1alpha1.MCPConnection) {
				c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "client"}}
				pin(&c.Spec, w.server.Issuer())
			})
			w.consent()
			token := w.secret()[v1alpha1.KeyAccessToken]
			other := w.migrated()
			w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
			w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
			w.want(authorized, isFalse, v1alpha1.ReasonIssuerChanged)
			w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonIssuerChanged)
			published := w.secret()[v1alpha1.KeyAccessToken] != ""
			Expect(published).To(BeFalse(), "the token is still published")
			Expect(w.offersLink()).To(BeFalse(), "a link is offered")
			sawNothingOf(other, token, "by-hand", "the-client-secret")
			w.names()
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "flipping back asked for consent")
			w.names(other.Issuer())
			w.annotate(v1alpha1.AnnotationChallenge, refusedToken+", n=2")
			w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
			Expect(api.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
				Name: "client"}})).To(Succeed())
			w.keep("client", map[string]string{"client_id": "at-the-new", "client_secret": "another-secret"})
			other.AddClient(oauthtest.Client{ID: "at-the-new", Secret: "another-secret", RedirectURIs: redirect})
			w.edit(func(c *v1alpha1.MCPConnection) { pin(&c.Spec, other.Issuer()) })
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			sawNothingOf(other, token, "by-hand", "the-client-secret")
		},
		Entry("by the client", func(s *v1alpha1.MCPConnectionSpec, issuer string) { s.Client.Issuer = issuer }),
		Entry("by the authorization server", func(s *v1alpha1.MCPConnectionSpec, issuer string) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: issuer}
		}),
	)
})

var _ = Describe("A public server that refuses", func() {
	It("is discovered again", func() {
		w := newWorld(func(c *oauthtest.Config) { c.Public = true })
		w.apply()
		w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
		w.annotate(v1alpha1.AnnotationChallenge, "Bearer") // in vain
		w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
		w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
		w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

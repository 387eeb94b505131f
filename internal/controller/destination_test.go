package controller

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// elsewhere is a server of somebody else, who passes on to the honest one what it is sent and keeps a copy.
type elsewhere struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newElsewhere(honest *oauthtest.Server) *elsewhere {
	e := &elsewhere{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer GinkgoRecover()
		body, err := io.ReadAll(r.Body)
		Expect(err).NotTo(HaveOccurred())
		e.mu.Lock()
		e.got = append(e.got, r.Header.Get("Authorization")+" "+string(body))
		e.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		honest.ServeHTTP(rw, r)
	}))
	DeferCleanup(e.Close)
	return e
}

// received is how many requests came.
func (e *elsewhere) received() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.got)
}

// endpointsAt has the spec name endpoints at another place than the issuer's.
func (w *world) endpointsAt(url string) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		c.Spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{
			Issuer: w.server.Issuer(), TokenEndpoint: v1alpha1.Endpoint(url + oauthtest.TokenPath),
			RegistrationEndpoint: v1alpha1.Endpoint(url + oauthtest.RegisterPath),
		}
		if c.Spec.GrantType == "" || c.Spec.GrantType == v1alpha1.GrantTypeAuthorizationCode {
			c.Spec.AuthorizationServer.AuthorizationEndpoint = v1alpha1.Endpoint(w.server.URL + oauthtest.AuthorizePath)
		}
	}
}

// runCommand runs the kubectl command that stands last in a message, as its reader would.
func (w *world) runCommand(message string) {
	GinkgoHelper()
	_, command, found := strings.Cut(strings.TrimSuffix(message, "."), "`kubectl ")
	Expect(found && strings.HasSuffix(command, "`")).To(BeTrue(), "no command to paste stands last in %q", message)
	w.kubectl("kubectl " + strings.TrimSuffix(command, "`"))
}

// lying answers with the honest server's metadata, but for another token endpoint.
func (w *world) lying(tokenEndpoint string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		defer GinkgoRecover()
		metadata := w.server.Metadata()
		metadata["token_endpoint"] = tokenEndpoint
		rw.Header().Set("Content-Type", "application/json")
		Expect(json.NewEncoder(rw).Encode(metadata)).To(Succeed())
	}
}

var _ = Describe("A secret", Label("security"), func() {
	// The author of a spec names an endpoint of their own for somebody else's issuer.
	DescribeTable("goes only where its owner said:",
		func(prepare func(*world), spec func(*world, *v1alpha1.MCPConnection)) {
			w := workloads()
			e := newElsewhere(w.server)
			prepare(w)
			w.apply(func(c *v1alpha1.MCPConnection) { spec(w, c) }, w.endpointsAt(e.URL))
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			Expect(e.received()).To(BeZero(), "it was sent")
			Expect(w.offersLink()).To(BeFalse(), "a link is offered")
			w.runCommand(w.readyMessage())
			w.later(time.Minute)
			Expect(e.received()).NotTo(BeZero(), "its owner agrees, and nothing is sent: %s", w.readyMessage())
			if !w.offersLink() { // else a person is asked next
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			}
		},
		Entry("a ServiceAccount's token",
			func(w *world) { w.account(w.server.Issuer()) },
			func(_ *world, c *v1alpha1.MCPConnection) { byAccount(c) }),
		Entry("an assertion",
			func(w *world) { w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())}) },
			func(_ *world, c *v1alpha1.MCPConnection) { byAssertion(c) }),
		Entry("a client secret",
			func(w *world) { w.registerByHand(firstSecret, ""); w.keepCredentials(firstSecret) },
			(*world).clientCredentials),
		Entry("an initial access token",
			func(w *world) {
				w.server.Configure(func(c *oauthtest.Config) { c.NoRegistration, c.InitialAccessToken = false, "initial access" })
				w.keep("initial", map[string]string{"token": "initial access"})
			},
			func(_ *world, c *v1alpha1.MCPConnection) {
				c.Spec.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "initial"}}
			}),
		Entry("an imported grant",
			func(w *world) {
				token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
				w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
			},
			func(_ *world, c *v1alpha1.MCPConnection) { importing(c) }),
	)
})

var _ = Describe("A document that lies about its issuer", Label("security"), func() {
	// The MCP server lists an authorization server of its own, whose document names the issuer that the spec pins.
	It("gets no secret", func() {
		w := byHand()
		e := newElsewhere(w.server)
		w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = []string{e.URL} })
		document := w.lying(e.URL + oauthtest.TokenPath)
		e.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
				e.mu.Lock()
				e.got = append(e.got, r.URL.Path)
				e.mu.Unlock()
			}
			document(rw, r)
		})
		w.apply(w.clientCredentials)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		Expect(e.received()).To(BeZero(), "the client secret was sent to whoever claims to be the issuer")
	})
})

var _ = Describe("A grant", Label("security"), func() {
	It("stays at the endpoint that issued it though the spec names another", func(ctx SpecContext) {
		w := connectedByHand()
		e := newElsewhere(w.server)
		w.edit(w.endpointsAt(e.URL))
		for range 2 {
			w.untilRefresh()
			w.reconcile()
		}
		w.annotate(v1alpha1.AnnotationReauthorize, "now")
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		w.wantMessage(v1alpha1.AnnotationAllowedEndpoints + "=" + e.URL)
		Expect(e.received()).To(BeZero(), "requests to the endpoint of the spec's author")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(e.received()).To(BeZero(), "the grant was revoked elsewhere")
		Expect(w.server.Count(oauthtest.RevokePath)).NotTo(BeZero(), "the grant was not revoked")
	})

	It("stays where it is though its Secret is gone", func() {
		w := connectedByHand()
		e := newElsewhere(w.server)
		w.edit(func(c *v1alpha1.MCPConnection) {
			w.endpointsAt(e.URL)(c)
			c.Spec.Client.CredentialsSecretRef.Name = "gone"
		})
		w.annotate(v1alpha1.AnnotationReauthorize, "now") // discovers
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client = nil })
		w.untilRefresh()
		w.reconcile()
		Expect(w.stored().Grants[0].TokenEndpoint).To(Equal(w.server.URL + oauthtest.TokenPath))
	})
})

var _ = Describe("Another owner's Secret", Label("security"), func() {
	// The author of a spec gets a grant at an endpoint of their own, with a Secret of their own, and then names somebody
	// else's Secret for the same client.
	It("is not sent where a grant was had with one's own", func(ctx SpecContext) {
		w := newWorld()
		e := newElsewhere(w.server)
		w.registerByHand(firstSecret, "")
		w.keep("own", map[string]string{"client_id": registeredID, "client_secret": firstSecret})
		own := &corev1.Secret{}
		Expect(api.Get(ctx, w.inNamespace("own"), own)).To(Succeed())
		own.Annotations = map[string]string{v1alpha1.AnnotationAllowedEndpoints: e.URL + oauthtest.TokenPath}
		Expect(api.Update(ctx, own)).To(Succeed())
		w.apply(w.preregistered, w.endpointsAt(e.URL),
			func(c *v1alpha1.MCPConnection) { c.Spec.Client.CredentialsSecretRef.Name = "own" })
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		const others = "others-secret"
		w.keepCredentials(others)
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.CredentialsSecretRef.Name = credentialName })
		w.untilRefresh()
		w.reconcile()
		Expect(e.received()).To(BeNumerically(">=", 2), "nothing was refreshed")
		basic := base64.StdEncoding.EncodeToString([]byte(registeredID + ":" + others))
		for _, request := range e.got {
			sent := strings.Contains(request, others) || strings.Contains(request, basic)
			Expect(sent).To(BeFalse(), "the other owner's secret was sent there")
		}
	})
})

var _ = Describe("A Secret's own issuer", Label("security"), func() {
	It("is its key or its annotation", func(ctx SpecContext) {
		for _, key := range []bool{true, false} {
			w := byHand()
			secret := &corev1.Secret{}
			Expect(api.Get(ctx, w.inNamespace(credentialName), secret)).To(Succeed())
			if key {
				secret.Data["issuer"] = []byte("https://auth.example\n")
			} else {
				secret.Annotations = map[string]string{v1alpha1.AnnotationIssuer: "https://auth.example"}
			}
			Expect(api.Update(ctx, secret)).To(Succeed())
			w.apply(w.clientCredentials)
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			w.wantMessage("https://auth.example")
			Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "the secret was sent")
		}
	})
})

var _ = Describe("An endpoint that an earlier version stored", func() {
	It("is looked up", func() {
		w := byHand()
		e := newElsewhere(w.server)
		w.server.Handle(w.server.MetadataPath(), w.lying(e.URL+oauthtest.TokenPath))
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.abandon(func(c *credential.Credential, _ *credential.Claim) { c.Grants[0].Documented = false })
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.stored().Grants[0].Documented).To(BeTrue(), "it is not documented")
		Expect(e.received()).To(Equal(2), "token requests")
	})
})

package controller

import (
	"net/http"
	"net/url"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	registeredID   = "by hand"
	firstSecret    = "first-secret-of-the-client"
	secondSecret   = "second+secret/of the client"
	credentialName = "credentials"
)

// registerByHand makes the client known to the server, with a secret.
func (w *world) registerByHand(secret, method string) {
	w.server.AddClient(oauthtest.Client{ID: registeredID, Secret: secret, AuthMethod: method,
		RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}})
}

// keepCredentials puts a secret of the client into the Secret that the spec refers to.
func (w *world) keepCredentials(secret string) {
	GinkgoHelper()
	want := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: credentialName},
		StringData: map[string]string{"client_id": registeredID, "client_secret": secret}}
	if err := api.Create(w.ctx, want.DeepCopy()); err == nil {
		return
	}
	w.must(api.Update(w.ctx, want))
}

// preregistered refers to the Secret.
func (w *world) preregistered(c *v1alpha1.MCPConnection) {
	c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: credentialName},
		Issuer: w.server.Issuer()}
}

// authentication says how the last token request authenticated, and with which secret.
func (w *world) authentication() (method, secret string) {
	GinkgoHelper()
	last := w.server.Last(oauthtest.TokenPath)
	if last.Form.Has("client_secret") {
		return "client_secret_post", last.Form.Get("client_secret")
	}
	if last.Header.Get("Authorization") == "" {
		return "none", ""
	}
	req := http.Request{Header: last.Header}
	_, password, _ := req.BasicAuth()
	secret, err := url.QueryUnescape(password)
	w.must(err)
	return "client_secret_basic", secret
}

var _ = Describe("A preregistered client", func() {
	DescribeTable("authenticates by the method of the server:", func(method, secret string) {
		w := newWorld(func(c *oauthtest.Config) { c.NoRegistration, c.AuthMethods = true, []string{method} })
		w.registerByHand(secret, method)
		w.keepCredentials(secret)
		w.apply(w.preregistered)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		gotMethod, gotSecret := w.authentication()
		Expect(gotMethod).To(Equal(method))
		theSecret := gotSecret == secret
		Expect(theSecret).To(BeTrue(), "another secret was sent")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
		c := w.get().Status.Client
		Expect(c.ID).To(Equal(registeredID))
		Expect(c.Registration).To(Equal(v1alpha1.RegistrationPreregistered))
		Expect(c.AuthMethod).To(Equal(method))
	},
		Entry("client_secret_basic", "client_secret_basic", firstSecret),
		Entry("client_secret_post", "client_secret_post", secondSecret),
		Entry("none", "none", ""),
	)
})

var _ = Describe("A Secret of credentials", func() {
	It("that is missing is found within a minute", func(ctx SpecContext) {
		w := newWorld()
		w.registerByHand(firstSecret, "")
		w.apply(w.preregistered)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		Expect(w.readyMessage()).To(And(ContainSubstring(credentialName), ContainSubstring(w.key.Namespace)),
			"what to create")
		w.keepCredentials(firstSecret)
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(api.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
			Name: credentialName}})).To(Succeed())
		w.untilRefresh()
		w.reconcile()
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.keepCredentials(firstSecret)
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A secret of a preregistered client", func() {
	It("that is wrong at the code is reported, with where to mend it", func() {
		w := newWorld()
		w.registerByHand(firstSecret, "")
		w.keepCredentials("not-the-secret")
		w.apply(w.preregistered)
		w.consent()
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.want(ready, isFalse, v1alpha1.ReasonCredentialsRejected)
		Expect(w.readyMessage()).To(ContainSubstring("credentialsSecretRef"))
		Expect(w.get().Status.AuthorizationURL).NotTo(BeEmpty(), "no link for a second try")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "the code was sent twice")
		w.keepCredentials(firstSecret)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.want(registered, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("that was rotated is used at the next request", func() {
		w := newWorld()
		w.registerByHand(firstSecret, "client_secret_post")
		w.keepCredentials(firstSecret)
		w.apply(w.preregistered, func(c *v1alpha1.MCPConnection) { c.Spec.Client.AuthMethod = "client_secret_post" })
		w.consent()
		w.registerByHand(secondSecret, "client_secret_post")
		w.untilRefresh()
		w.reconcile()
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.keepCredentials(secondSecret)
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		_, secret := w.authentication()
		rotated := secret == secondSecret
		Expect(rotated).To(BeTrue(), "the old secret was sent")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "a rotated secret cost a consent")
	})
})

var _ = Describe("A client of a metadata document", func() {
	It("is the document's URL, and nothing is registered", func() {
		const document, other = "https://client.example/mcp.json", "https://client.example/other.json"
		w := newWorld()
		redirect := oauthtest.Client{RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}}
		w.server.Configure(func(c *oauthtest.Config) {
			c.ClientIDDocuments = map[string]oauthtest.Client{document: redirect, other: redirect}
		})
		w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: document} })
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Last(oauthtest.TokenPath).Form.Get("client_id")).To(Equal(document))
		Expect(w.server.Count(oauthtest.RegisterPath)).To(BeZero(), "a client was registered")
		conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.MetadataDocumentURL = other })
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "another client needs another consent, and there is no link")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		got := w.get().Status.Client
		Expect(got.ID).To(Equal(other))
		Expect(got.Registration).To(Equal(v1alpha1.RegistrationMetadataDocument))
	})

	It("that the server refuses is reported and tried slowly", func() {
		const document = "https://client.example/mcp.json"
		w := newWorld()
		known := map[string]oauthtest.Client{document: {RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}}}
		w.server.Configure(func(c *oauthtest.Config) { c.ClientIDDocuments = known })
		w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: document} })
		w.consent()
		w.server.Configure(func(c *oauthtest.Config) { c.ClientIDDocuments = map[string]oauthtest.Client{} })
		w.untilRefresh()
		w.reconcile()
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.server.Configure(func(c *oauthtest.Config) { c.ClientIDDocuments = known })
		w.untilRetry()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A client that the server forgot", func() {
	It("is registered once and asks for consent", func() {
		w := connected()
		token, dead := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID
		w.server.ForgetClients()
		w.untilRefresh()
		conn := w.reconcile()
		w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshRejected)
		Expect(w.holdsToken(token)).To(BeTrue(), "the token went")
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "there is no link")
		Expect(w.stored().Grants[0].SetAside).NotTo(BeNil(), "the grant is not set aside")
		for range 3 {
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
			w.restart()
			w.reconcile()
		}
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(2), "it was registered more than once anew")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "the dead client was used again")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Client.ID).NotTo(Equal(dead), "the dead client is still in use")
		Expect(w.holdsToken(token)).To(BeFalse(), "the token of the dead client is still published")
	})

	It("before the consent is registered anew", func() {
		w, link := waiting()
		w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"error":"invalid_client"}`)) // the client has all it wants
		})
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.showsLink(link)).To(BeFalse(), "the link of the dead client is still there")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(2), "registrations")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

package controller

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const signedDocument = "https://client.example/signs.json"

// signsBy has the client authenticate by the operator's own key.
func signsBy(document string) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		c.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: document, AuthMethod: "private_key_jwt"}
	}
}

// fetchKeys has the server fetch the keys of the document from the operator, as the owner's document tells it to. It
// returns the number of keys.
func (w *world) fetchKeys() int {
	GinkgoHelper()
	resp, err := http.Get(credential.JWKSURL(w.pages.URL))
	w.must(err)
	defer func() { w.must(resp.Body.Close()) }()
	Expect(resp.StatusCode).To(Equal(http.StatusOK), "of jwks.json")
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	var set jose.JSONWebKeySet
	w.must(json.Unmarshal(raw, &set))
	w.server.Configure(func(c *oauthtest.Config) {
		c.ClientIDDocuments = map[string]oauthtest.Client{signedDocument: {Keys: set.Keys,
			RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}}}
	})
	return len(set.Keys)
}

// withoutKeys forgets the keys that earlier tests left in the shared namespace.
func (w *world) withoutKeys() {
	GinkgoHelper()
	w.must(client.IgnoreNotFound(api.Delete(w.ctx,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: credential.SigningKeySecret}})))
}

func advertisesDocuments(c *oauthtest.Config) { c.ClientIDDocuments = map[string]oauthtest.Client{} }

// signing is a connection whose client signs.
func signing() *world {
	GinkgoHelper()
	w := newWorld(advertisesDocuments)
	w.withoutKeys()
	w.apply(signsBy(signedDocument))
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.fetchKeys()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w
}

// keyOf is the kid of the client assertion in the last request to a path.
func (w *world) keyOf(path string) string {
	GinkgoHelper()
	form := w.server.Last(path).Form
	signed, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	Expect(form.Get("client_id") != signedDocument || form.Has("client_secret")).To(BeFalse(),
		"the client is another, or sends a secret too")
	return signed.Signatures[0].Header.KeyID
}

var _ = Describe("A client of a document", func() {
	It("signs at every endpoint", func(ctx SpecContext) {
		w := signing()
		Expect(w.get().Status.Client).To(HaveValue(And(
			HaveField("ID", signedDocument), HaveField("Registration", v1alpha1.RegistrationMetadataDocument),
			HaveField("AuthMethod", "private_key_jwt"),
		)))
		id := w.keyOf(oauthtest.TokenPath)
		w.untilRefresh()
		w.restart()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Grants()[0].Refreshes).To(Equal(1))
		Expect(w.keyOf(oauthtest.TokenPath)).To(Equal(id), "the key of the refresh")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		Expect(w.letGo()).To(BeTrue(), "the object is still there")
		Expect(w.keyOf(oauthtest.RevokePath)).To(Equal(id), "the key of the revocation")
		Expect(w.server.Grants()[0].Revoked).To(BeTrue(), "the grant was not revoked")
	})
})

var _ = Describe("A vanished connection of a client that signs", func() {
	It("is revoked", func() {
		w := signing()
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.orphans(credentialKey(uid))
		Expect(w.server.Grants()[0].Revoked).To(BeTrue(), "the grant was not revoked")
	})
})

var _ = Describe("A rotation of the signing key", Label("security"), func() {
	It("fails no refresh", func() {
		w := signing()
		used := map[string]bool{w.keyOf(oauthtest.TokenPath): true}
		for day := range 100 {
			// The server looks at the keys once a day, just after a refresh: it never sees a key on the day it is made.
			w.clock.SetTime(w.clock.Now().Add(24 * time.Hour))
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			used[w.keyOf(oauthtest.TokenPath)] = true
			Expect(w.fetchKeys()).To(BeNumerically("<=", 2), "keys published on day %d", day)
		}
		Expect(used).To(HaveLen(2), "keys that signed")
		Expect(w.server.Grants()[0].Refreshes).To(Equal(100))
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "consents")
	})
})

var _ = Describe("A lost signing key", func() {
	It("costs a request and no consent", func() {
		w := signing()
		w.withoutKeys()
		w.untilRefresh()
		conn := w.reconcile()
		w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.fetchKeys()
		w.clock.SetTime(conn.Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "consents")
		Expect(w.server.Grants()[0].Refreshes).To(Equal(1))
	})
})

var _ = Describe("Another way to authenticate", func() {
	It("is another client", func() {
		w := signing()
		conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.AuthMethod = "" })
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		Expect(conn.Status.Client.AuthMethod).To(BeEquivalentTo("none"))
		w.edit(signsBy(signedDocument))
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A signing key", Label("security"), func() {
	DescribeTable("cannot be registered dynamically", func(words []string, configure ...func(*oauthtest.Config)) {
		w := newWorld(configure...)
		w.apply(signsBy(""))
		w.want(registered, isFalse, v1alpha1.ReasonNoRegistrationMethod)
		w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonNoRegistrationMethod)
		w.wantMessage(words...)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(BeZero(), "a client was registered all the same")
	},
		Entry("at a server without documents", []string{"private_key_jwt", "--external-url", "credentialsSecretRef"}),
		Entry("from behind an http address", []string{"private_key_jwt", "public https --external-url",
			"credentialsSecretRef"}, advertisesDocuments),
	)
})

var _ = Describe("A signing Secret of somebody else", Label("security"), func() {
	It("is never touched", func(ctx SpecContext) {
		w := newWorld(advertisesDocuments)
		w.withoutKeys()
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace,
			Name: credential.SigningKeySecret}, StringData: map[string]string{"mine": "x"}}
		Expect(api.Create(ctx, foreign)).To(Succeed())
		version := foreign.ResourceVersion
		w.apply(signsBy(signedDocument))
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage(credential.SigningKeySecret, "operator's namespace")
		Expect(api.Get(ctx, client.ObjectKeyFromObject(foreign), foreign)).To(Succeed())
		Expect(foreign.ResourceVersion).To(Equal(version), "it was written")
		w.withoutKeys()
		w.aMinuteLater()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})
})

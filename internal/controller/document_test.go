package controller

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const signedDocument = "https://client.example/signs.json"

// signsBy has the client authenticate by the operator's own key.
func signsBy(document string) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		c.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: document, AuthMethod: "private_key_jwt"}
	}
}

// fetchKeys has the server fetch the keys of the document from the operator, as the owner's document tells it to. It returns
// the number of keys.
func (w *world) fetchKeys() int {
	w.t.Helper()
	resp, err := http.Get(credential.JWKSURL(w.pages.URL))
	w.must(err)
	defer func() { w.must(resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("jwks.json answers %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(resp.Body)
	w.must(err)
	var set jose.JSONWebKeySet
	w.must(json.Unmarshal(raw, &set))
	w.server.Configure(func(c *oauthtest.Config) {
		c.ClientIDDocuments = map[string]oauthtest.Client{signedDocument: {Keys: set.Keys, RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}}}
	})
	return len(set.Keys)
}

// withoutKeys forgets the keys that earlier tests left in the shared namespace.
func (w *world) withoutKeys() {
	w.t.Helper()
	w.must(client.IgnoreNotFound(api.Delete(w.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: credential.SigningKeySecret}})))
}

func advertisesDocuments(c *oauthtest.Config) { c.ClientIDDocuments = map[string]oauthtest.Client{} }

// signing is a connection whose client signs.
func signing(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, advertisesDocuments)
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
	w.t.Helper()
	form := w.server.Last(path).Form
	signed, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	if form.Get("client_id") != signedDocument || form.Has("client_secret") {
		w.t.Error("the client is another, or sends a secret too")
	}
	return signed.Signatures[0].Header.KeyID
}

func TestAClientOfADocumentSignsAtEveryEndpoint(t *testing.T) {
	w := signing(t)
	if c := w.get().Status.Client; c.ID != signedDocument || c.Registration != v1alpha1.RegistrationMetadataDocument || c.AuthMethod != "private_key_jwt" {
		t.Errorf("status shows the client %+v", c)
	}
	id := w.keyOf(oauthtest.TokenPath)
	w.untilRefresh()
	w.restart()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Grants()[0].Refreshes != 1 || w.keyOf(oauthtest.TokenPath) != id {
		t.Error("the token was not refreshed, or with another key")
	}
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil || w.keyOf(oauthtest.RevokePath) != id || !w.server.Grants()[0].Revoked {
		t.Error("the grant was not revoked")
	}
}

func TestAVanishedConnectionOfAClientThatSignsIsRevoked(t *testing.T) {
	w := signing(t)
	uid := w.get().UID
	w.vanish()
	w.orphans(credentialKey(uid))
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	w.orphans(credentialKey(uid))
	if !w.server.Grants()[0].Revoked {
		t.Error("the grant was not revoked")
	}
}

func TestARotationOfTheKeyFailsNoRefresh(t *testing.T) {
	w := signing(t)
	used := map[string]bool{w.keyOf(oauthtest.TokenPath): true}
	for day := range 100 {
		// The server looks at the keys once a day, just after a refresh: it never sees a key on the day it is made.
		w.clock.SetTime(w.clock.Now().Add(24 * time.Hour))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		used[w.keyOf(oauthtest.TokenPath)] = true
		if n := w.fetchKeys(); n > 2 {
			t.Fatalf("on day %d %d keys are published", day, n)
		}
	}
	if len(used) != 2 || w.server.Grants()[0].Refreshes != 100 || w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Errorf("%d keys signed %d refreshes", len(used), w.server.Grants()[0].Refreshes)
	}
}

func TestALostKeyCostsARequestAndNoConsent(t *testing.T) {
	w := signing(t)
	w.withoutKeys()
	w.untilRefresh()
	conn := w.reconcile()
	w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.fetchKeys()
	w.clock.SetTime(conn.Status.Failure.RetryAt.Time)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.AuthorizePath) != 1 || w.server.Grants()[0].Refreshes != 1 {
		t.Error("it was not refreshed, or consent was asked for")
	}
}

func TestAnotherWayToAuthenticateIsAnotherClient(t *testing.T) {
	w := signing(t)
	conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.AuthMethod = "" })
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == "" || conn.Status.Client.AuthMethod != "none" {
		t.Errorf("the link is for %+v", conn.Status.Client)
	}
	w.edit(signsBy(signedDocument))
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAKeyCannotBeRegisteredDynamically(t *testing.T) {
	for name, test := range map[string]struct {
		configure []func(*oauthtest.Config)
		words     []string
	}{
		"at a server without documents": {nil, []string{"private_key_jwt", "--external-url", "credentialsSecretRef"}},
		"from behind an http address":   {[]func(*oauthtest.Config){advertisesDocuments}, []string{"private_key_jwt", "public https --external-url", "credentialsSecretRef"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.configure...)
			w.apply(signsBy(""))
			w.want(registered, isFalse, v1alpha1.ReasonNoRegistrationMethod)
			w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonNoRegistrationMethod)
			w.wantMessage(test.words...)
			if w.server.Count(oauthtest.RegisterPath) != 0 {
				t.Error("a client was registered all the same")
			}
		})
	}
	o := given(foundServer, specified(func(s *v1alpha1.MCPConnectionSpec) { s.Client = &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"} }))
	if err := keyNotRegistered(o, credential.ClientMetadataJWTURL(givenExternal)); err == nil || !strings.Contains(err.Error(), givenIssuer+" does not advertise") {
		t.Errorf("with an https address it says %v", err)
	}
}

func TestASigningSecretOfSomebodyElseIsNeverTouched(t *testing.T) {
	w := newWorld(t, advertisesDocuments)
	w.withoutKeys()
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: credential.SigningKeySecret}, StringData: map[string]string{"mine": "x"}}
	w.must(api.Create(t.Context(), foreign))
	version := foreign.ResourceVersion
	w.apply(signsBy(signedDocument))
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	w.wantMessage(credential.SigningKeySecret, "operator's namespace")
	w.must(api.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign))
	if foreign.ResourceVersion != version {
		t.Error("it was written")
	}
	w.withoutKeys()
	w.aMinuteLater()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

func TestTheDocumentOfAClient(t *testing.T) {
	for name, test := range map[string]struct {
		external string
		client   *v1alpha1.ClientSpec
		want     string
	}{
		"the operator's own":              {external: givenExternal, want: givenExternal + "/oauth/client-metadata.json"},
		"the operator's own that signs":   {givenExternal, &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"}, givenExternal + "/oauth/client-metadata-jwt.json"},
		"that of the spec":                {givenExternal, &v1alpha1.ClientSpec{MetadataDocumentURL: signedDocument}, signedDocument},
		"that of the spec that signs":     {givenExternal, &v1alpha1.ClientSpec{MetadataDocumentURL: signedDocument, AuthMethod: "private_key_jwt"}, signedDocument},
		"none that servers could not get": {"http://localhost:8082", &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(func(o *observed) { o.conn.Spec.Client = test.client })
			if got := (&Reconciler{ExternalURL: test.external}).metadataDocumentURL(o); got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheKeyIsReadOnlyWhereItIsNeeded(t *testing.T) {
	bySigning := func(g *credential.Grant) {
		g.Client.Method, g.Client.AuthMethod = mcpoauth.MetadataDocument, mcpoauth.AuthMethodPrivateKeyJWT
	}
	byOwnKey := func(g *credential.Grant) {
		g.Client.Method, g.Client.AuthMethod = mcpoauth.Preregistered, mcpoauth.AuthMethodPrivateKeyJWT
	}
	for name, test := range map[string]struct {
		o    *observed
		want bool
	}{
		"not for a new connection":               {given(), false},
		"not for a dynamic client":               {given(granted()), false},
		"not for a client with a key of its own": {given(granted(byOwnKey)), false},
		"not for a link":                         {given(offered(func(o *credential.Offer) { o.Binding.Client.AuthMethod = mcpoauth.AuthMethodPrivateKeyJWT })), false},
		"for a grant":                            {given(granted(bySigning)), true},
		"for a code": {given(answered, func(o *observed) {
			c := &o.response().Request.Binding.Client
			c.Method, c.AuthMethod = mcpoauth.MetadataDocument, mcpoauth.AuthMethodPrivateKeyJWT
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.o.needsSigningKey(); got != test.want {
				t.Errorf("it is %t", got)
			}
		})
	}
}

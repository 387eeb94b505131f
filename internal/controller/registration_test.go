package controller

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
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
	w.server.AddClient(oauthtest.Client{ID: registeredID, Secret: secret, AuthMethod: method, RedirectURIs: []string{credential.RedirectURI(w.pages.URL)}})
}

// keepCredentials puts a secret of the client into the Secret that the spec refers to.
func (w *world) keepCredentials(secret string) {
	w.t.Helper()
	want := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: credentialName},
		StringData: map[string]string{"client_id": registeredID, "client_secret": secret}}
	if err := api.Create(w.t.Context(), want.DeepCopy()); err == nil {
		return
	}
	w.must(api.Update(w.t.Context(), want))
}

// preregistered refers to the Secret.
func (w *world) preregistered(c *v1alpha1.MCPConnection) {
	c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: credentialName}, Issuer: w.server.Issuer()}
}

// authentication says how the last token request authenticated, and with which secret.
func (w *world) authentication() (method, secret string) {
	w.t.Helper()
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

func TestAPreregisteredClientAuthenticatesByTheMethodOfTheServer(t *testing.T) {
	for method, secret := range map[string]string{"client_secret_basic": firstSecret, "client_secret_post": secondSecret, "none": ""} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, func(c *oauthtest.Config) { c.NoRegistration, c.AuthMethods = true, []string{method} })
			w.registerByHand(secret, method)
			w.keepCredentials(secret)
			w.apply(w.preregistered)
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if gotMethod, got := w.authentication(); gotMethod != method || got != secret || w.server.Count(oauthtest.TokenPath) != 2 {
				t.Errorf("authenticated by %s, or with another secret", gotMethod)
			}
			if c := w.get().Status.Client; c.ID != registeredID || c.Registration != v1alpha1.RegistrationPreregistered || c.AuthMethod != method {
				t.Errorf("status shows the client %+v", c)
			}
		})
	}
}

func TestAMissingSecretIsFoundWithinAMinute(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.apply(w.preregistered)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, credentialName) || !strings.Contains(m, w.key.Namespace) {
		t.Errorf("the message does not say what to create: %s", m)
	}
	w.keepCredentials(firstSecret)
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.must(api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: credentialName}}))
	w.untilRefresh()
	w.reconcile()
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.keepCredentials(firstSecret)
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAWrongSecretAtTheCodeSaysWhereToMendIt(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials("not-the-secret")
	w.apply(w.preregistered)
	w.consent()
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	w.want(ready, isFalse, v1alpha1.ReasonCredentialsRejected)
	conn := w.get()
	if m := findCondition(conn.Status.Conditions, ready).Message; !strings.Contains(m, "credentialsSecretRef") {
		t.Errorf("the message does not say what to do: %s", m)
	}
	if conn.Status.AuthorizationURL == "" || w.server.Count(oauthtest.TokenPath) != 1 {
		t.Fatal("no link for a second try, or the code was sent twice")
	}
	w.keepCredentials(firstSecret)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.want(registered, isTrue, v1alpha1.ReasonSucceeded)
}

func TestARotatedSecretIsUsedAtTheNextRequest(t *testing.T) {
	w := newWorld(t)
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
	if _, secret := w.authentication(); secret != secondSecret {
		t.Error("the old secret was sent")
	}
	if w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Error("a rotated secret cost a consent")
	}
}

func TestAMetadataDocumentClientIsItsURLAndNothingIsRegistered(t *testing.T) {
	const document, other = "https://client.example/mcp.json", "https://client.example/other.json"
	w := newWorld(t)
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
	if got := w.server.Last(oauthtest.TokenPath).Form.Get("client_id"); got != document || w.server.Count(oauthtest.RegisterPath) != 0 {
		t.Errorf("client_id is %q, or a client was registered", got)
	}
	conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.MetadataDocumentURL = other })
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == "" {
		t.Fatal("another client needs another consent, and there is no link")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if got := w.get().Status.Client; got.ID != other || got.Registration != v1alpha1.RegistrationMetadataDocument {
		t.Errorf("status shows the client %+v", got)
	}
}

func TestADocumentThatTheServerRefusesIsReportedAndTriedSlowly(t *testing.T) {
	const document = "https://client.example/mcp.json"
	w := newWorld(t)
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
}

func TestAClientThatTheServerForgotIsRegisteredOnceAndAsksForConsent(t *testing.T) {
	w := connected(t)
	token, dead := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID
	w.server.ForgetClients()
	w.untilRefresh()
	conn := w.reconcile()
	w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
	w.want(ready, isTrue, v1alpha1.ReasonRefreshRejected)
	if w.secret()[v1alpha1.KeyAccessToken] != token || conn.Status.AuthorizationURL == "" || w.stored().Grants[0].SetAside == nil {
		t.Fatal("the token went, there is no link, or the grant is not set aside")
	}
	for range 3 {
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.restart()
		w.reconcile()
	}
	if w.server.Count(oauthtest.RegisterPath) != 2 || w.server.Count(oauthtest.TokenPath) != 2 {
		t.Error("it was registered more than once anew, or the dead client was used again")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.Client.ID == dead || w.secret()[v1alpha1.KeyAccessToken] == token {
		t.Error("the dead client is still in use")
	}
}

func TestAClientThatIsForgottenBeforeTheConsentIsRegisteredAnew(t *testing.T) {
	w, link := waiting(t)
	w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = rw.Write([]byte(`{"error":"invalid_client"}`)) // the client has all it wants
	})
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if w.get().Status.AuthorizationURL == link || w.server.Count(oauthtest.RegisterPath) != 2 {
		t.Fatal("the link of the dead client is still there, or none was registered")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestANewSecretIsSentToTheIssuerThatItBelongsToOnly(t *testing.T) {
	for name, test := range map[string]struct{ pinned, id, secret string }{
		"the same issuer and client get the new secret": {pinned: givenIssuer, id: "client", secret: "new"},
		"another issuer keeps the old one":              {pinned: otherIssuer, id: "client", secret: "old"},
		"another client keeps the old one":              {pinned: givenIssuer, id: "another", secret: "old"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &observed{
				conn:   &v1alpha1.MCPConnection{Spec: v1alpha1.MCPConnectionSpec{Client: &v1alpha1.ClientSpec{Issuer: test.pinned}}},
				client: &referencedClient{id: test.id, secret: "new"},
			}
			bound := &credential.Binding{Issuer: givenIssuer, Client: mcpoauth.ClientRegistration{
				Method: mcpoauth.Preregistered, ClientID: "client", ClientSecret: "old",
			}}
			if got := tokenEndpoint(o, bound, time.Time{}).Client.ClientSecret; got != test.secret {
				t.Errorf("the %s secret is sent", got)
			}
		})
	}
}

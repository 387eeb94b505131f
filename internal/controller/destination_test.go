package controller

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

func newElsewhere(t testing.TB, honest *oauthtest.Server) *elsewhere {
	t.Helper()
	e := &elsewhere{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		e.got = append(e.got, r.Header.Get("Authorization")+" "+string(body))
		e.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		honest.ServeHTTP(rw, r)
	}))
	t.Cleanup(e.Close)
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

// TestASecretGoesOnlyWhereItsOwnerSaid has the author of a spec name an endpoint of their own for somebody else's issuer.
func TestASecretGoesOnlyWhereItsOwnerSaid(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(w *world)
		spec    func(w *world) func(*v1alpha1.MCPConnection)
		owner   client.Object
	}{
		"a ServiceAccount's token": {
			func(w *world) { w.account(w.server.Issuer()) },
			func(*world) func(*v1alpha1.MCPConnection) { return byAccount }, &corev1.ServiceAccount{},
		},
		"an assertion": {
			func(w *world) { w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())}) },
			func(*world) func(*v1alpha1.MCPConnection) { return byAssertion }, &corev1.Secret{},
		},
		"a client secret": {
			func(w *world) { w.registerByHand(firstSecret, ""); w.keepCredentials(firstSecret) },
			func(w *world) func(*v1alpha1.MCPConnection) { return w.clientCredentials }, &corev1.Secret{},
		},
		"an initial access token": {
			func(w *world) {
				w.server.Configure(func(c *oauthtest.Config) { c.NoRegistration, c.InitialAccessToken = false, "initial access" })
				w.keep("initial", map[string]string{"token": "initial access"})
			},
			func(*world) func(*v1alpha1.MCPConnection) {
				return func(c *v1alpha1.MCPConnection) {
					c.Spec.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "initial"}}
				}
			}, &corev1.Secret{},
		},
		"an imported grant": {
			func(w *world) {
				token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
				w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
			},
			func(*world) func(*v1alpha1.MCPConnection) { return importing }, &corev1.Secret{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := workloads(t)
			e := newElsewhere(t, w.server)
			test.prepare(w)
			w.apply(test.spec(w), w.endpointsAt(e.URL))
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			if e.received() != 0 || w.get().Status.AuthorizationURL != "" {
				t.Fatalf("%s was sent to %d requests, or a link is offered", name, e.received())
			}
			w.runCommand(w.readyMessage())
			w.later(time.Minute)
			if e.received() == 0 {
				t.Errorf("its owner agrees, and nothing is sent: %s", w.readyMessage())
			}
			if w.get().Status.AuthorizationURL == "" { // else a person is asked next
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			}
		})
	}
}

// runCommand runs the kubectl command that stands last in a message, as its reader would.
func (w *world) runCommand(message string) {
	w.t.Helper()
	_, command, found := strings.Cut(strings.TrimSuffix(message, "."), "`kubectl ")
	if !found || !strings.HasSuffix(command, "`") {
		w.t.Fatalf("no command to paste stands last in %q", message)
	}
	w.kubectl("kubectl " + strings.TrimSuffix(command, "`"))
}

// TestADocumentThatLiesAboutItsIssuerGetsNoSecret has the MCP server list an authorization server of its own, whose document names the
// issuer that the spec pins.
func TestADocumentThatLiesAboutItsIssuerGetsNoSecret(t *testing.T) {
	w := newWorld(t)
	e := newElsewhere(t, w.server)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = []string{e.URL} })
	e.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/.well-known/") {
			e.mu.Lock()
			e.got = append(e.got, r.URL.Path)
			e.mu.Unlock()
		}
		metadata := w.server.Metadata()
		metadata["token_endpoint"] = e.URL + oauthtest.TokenPath
		rw.Header().Set("Content-Type", "application/json")
		w.must(json.NewEncoder(rw).Encode(metadata))
	})
	w.apply(w.clientCredentials)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	if e.received() != 0 {
		t.Error("the client secret was sent to whoever claims to be the issuer")
	}
}

func TestAGrantStaysAtTheEndpointThatIssuedItThoughTheSpecNamesAnother(t *testing.T) {
	w := connectedByHand(t)
	e := newElsewhere(t, w.server)
	w.edit(func(c *v1alpha1.MCPConnection) { w.endpointsAt(e.URL)(c) })
	for range 2 {
		w.untilRefresh()
		w.reconcile()
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "now")
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if m := w.readyMessage(); !strings.Contains(m, v1alpha1.AnnotationAllowedEndpoints+"="+e.URL) {
		t.Errorf("Ready says %q", m)
	}
	if e.received() != 0 {
		t.Errorf("%d requests came to the endpoint of the spec's author", e.received())
	}
	w.must(api.Delete(t.Context(), w.get()))
	w.reconcile()
	if e.received() != 0 || w.server.Count(oauthtest.RevokePath) == 0 {
		t.Error("it was revoked elsewhere, or not at all")
	}
}

// TestAnotherOwnersSecretIsNotSentWhereAGrantWasHadWithOnesOwn has the author of a spec get a grant at an endpoint of their own, with a
// Secret of their own, and then name somebody else's Secret for the same client.
func TestAnotherOwnersSecretIsNotSentWhereAGrantWasHadWithOnesOwn(t *testing.T) {
	w := newWorld(t)
	e := newElsewhere(t, w.server)
	w.registerByHand(firstSecret, "")
	w.keep("own", map[string]string{"client_id": registeredID, "client_secret": firstSecret})
	own := &corev1.Secret{}
	w.must(api.Get(t.Context(), w.inNamespace("own"), own))
	own.Annotations = map[string]string{v1alpha1.AnnotationAllowedEndpoints: e.URL + oauthtest.TokenPath}
	w.must(api.Update(t.Context(), own))
	w.apply(w.preregistered, w.endpointsAt(e.URL), func(c *v1alpha1.MCPConnection) { c.Spec.Client.CredentialsSecretRef.Name = "own" })
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	const others = "others-secret"
	w.keepCredentials(others)
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client.CredentialsSecretRef.Name = credentialName })
	w.untilRefresh()
	w.reconcile()
	if e.received() < 2 {
		t.Error("nothing was refreshed")
	}
	for _, request := range e.got {
		if strings.Contains(request, others) || strings.Contains(request, base64.StdEncoding.EncodeToString([]byte(registeredID+":"+others))) {
			t.Error("the other owner's secret was sent there")
		}
	}
}

func TestAGrantStaysWhereItIsThoughItsSecretIsGone(t *testing.T) {
	w := connectedByHand(t)
	e := newElsewhere(t, w.server)
	w.edit(func(c *v1alpha1.MCPConnection) {
		w.endpointsAt(e.URL)(c)
		c.Spec.Client.CredentialsSecretRef.Name = "gone"
	})
	w.annotate(v1alpha1.AnnotationReauthorize, "now") // discovers
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Client = nil })
	w.untilRefresh()
	w.reconcile()
	if got := w.stored().Grants[0].TokenEndpoint; got != w.server.URL+oauthtest.TokenPath {
		t.Errorf("the grant is at %s now", got)
	}
}

func TestTheOwnersWordBindsASecret(t *testing.T) {
	const issuer, other = "https://auth.example", "https://other.example"
	for name, c := range map[string]struct {
		holder holder
		to     destination
		want   bool
	}{
		"an endpoint of the issuer's origin":                      {holder{}, destination{issuer + "/token", issuer, false}, true},
		"one that the issuer's metadata name":                     {holder{}, destination{other + "/token", issuer, true}, true},
		"one that only the spec names":                            {holder{}, destination{other + "/token", issuer, false}, false},
		"one that the owner allows":                               {holder{allowed: "https://a.example, " + other + "/token"}, destination{other + "/token", issuer, false}, true},
		"another path at the host that the owner allows":          {holder{allowed: other + "/token"}, destination{other + "/evil", issuer, false}, false},
		"one of another issuer than the owner's":                  {holder{issuer: issuer}, destination{other + "/token", other, true}, false},
		"one of another issuer that the owner allows":             {holder{issuer: issuer, allowed: other + "/token"}, destination{other + "/token", other, true}, true},
		"one of the owner's issuer":                               {holder{issuer: issuer}, destination{issuer + "/token", issuer, true}, true},
		"the issuer's host by another scheme":                     {holder{}, destination{"http://auth.example/token", issuer, false}, false},
		"the issuer's host at another port":                       {holder{}, destination{issuer + ":8443/token", issuer, false}, false},
		"the issuer's host with its port spelled out":             {holder{}, destination{issuer + ":443/token", issuer, false}, true},
		"a host that begins as the issuer's does":                 {holder{}, destination{issuer + ".evil.example/token", issuer, false}, false},
		"the issuer's host as a user name":                        {holder{}, destination{"https://auth.example@evil.example/token", issuer, false}, false},
		"nowhere, since the server has no such endpoint, is fine": {holder{issuer: issuer}, destination{"", issuer, false}, true},
	} {
		if err := c.holder.admits(c.to); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecretsOwnIssuerIsItsKeyOrItsAnnotation(t *testing.T) {
	for _, key := range []bool{true, false} {
		w := newWorld(t)
		w.registerByHand(firstSecret, "")
		w.keepCredentials(firstSecret)
		secret := &corev1.Secret{}
		w.must(api.Get(t.Context(), w.inNamespace(credentialName), secret))
		if key {
			secret.Data["issuer"] = []byte("https://auth.example\n")
		} else {
			secret.Annotations = map[string]string{v1alpha1.AnnotationIssuer: "https://auth.example"}
		}
		w.must(api.Update(t.Context(), secret))
		w.apply(w.clientCredentials)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		if m := w.readyMessage(); !strings.Contains(m, "https://auth.example") || w.server.Count(oauthtest.TokenPath) != 0 {
			t.Errorf("Ready says %q, or the secret was sent", m)
		}
	}
}

func TestAnEndpointThatAnEarlierVersionStoredIsLookedUp(t *testing.T) {
	w := newWorld(t)
	e := newElsewhere(t, w.server)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.server.Handle(w.server.MetadataPath(), func(rw http.ResponseWriter, _ *http.Request) {
		metadata := w.server.Metadata()
		metadata["token_endpoint"] = e.URL + oauthtest.TokenPath
		w.must(json.NewEncoder(rw).Encode(metadata))
	})
	w.apply(w.clientCredentials)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.abandon(func(c *credential.Credential, _ *credential.Claim) { c.Grants[0].Documented = false })
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if !w.stored().Grants[0].Documented || e.received() != 2 {
		t.Errorf("after %d token requests it is documented: %t", e.received(), w.stored().Grants[0].Documented)
	}
}

package controller

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// keep makes a Secret hold exactly these keys.
func (w *world) keep(name string, data map[string]string) {
	w.t.Helper()
	want := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: name}, StringData: data}
	if err := api.Create(w.t.Context(), want.DeepCopy()); err == nil {
		return
	}
	w.must(api.Update(w.t.Context(), want))
}

// later steps the clock and reconciles.
func (w *world) later(d time.Duration) {
	w.t.Helper()
	w.clock.SetTime(w.clock.Now().Add(d))
	w.reconcile()
}

func (w *world) clientCredentials(c *v1alpha1.MCPConnection) {
	w.preregistered(c)
	c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials
}

func TestClientCredentialsNeedNobodyAndAreRequestedAgainInTime(t *testing.T) {
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, func(c *oauthtest.Config) { c.AuthMethods = []string{method} })
			w.registerByHand(firstSecret, method)
			w.keepCredentials(firstSecret)
			w.apply(w.clientCredentials)
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			first := w.secret()
			if conn := w.get(); conn.Status.AuthorizationURL != "" || conn.Status.Token.RefreshAt == nil || conn.Status.Client.AuthMethod != method {
				t.Errorf("status %+v", conn.Status)
			}
			if w.server.Count(oauthtest.RegisterPath)+w.server.Count(oauthtest.AuthorizePath) != 0 {
				t.Error("a client was registered, or consent asked for")
			}
			discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if second := w.secret(); second["access_token"] == first["access_token"] || !w.server.ValidAccessToken(second["access_token"]) {
				t.Error("no new token was published")
			}
			if got := w.server.Count(oauthtest.TokenPath); got != 2 || w.server.Count(oauthtest.ResourceMetadataPath) != discoveries {
				t.Errorf("%d token requests, and the MCP server was asked again", got)
			}
		})
	}
}

func TestARotatedSecretOfClientCredentialsIsUsedAtTheNextRequest(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials)
	w.registerByHand(secondSecret, "")
	w.untilRefresh()
	w.reconcile()
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.keepCredentials(secondSecret)
	w.later(2 * time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if _, secret := w.authentication(); secret != secondSecret {
		t.Error("the old secret was sent")
	}
}

// signingKeys are one of each kind that is accepted, in PKCS#8 PEM.
func signingKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ES256": ec, "RS256": rs, "EdDSA": ed}
}

func pemOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestAPrivateKeyAuthenticatesWithEachAlgorithm(t *testing.T) {
	for algorithm, key := range signingKeys(t) {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t)
			w.server.AddClient(oauthtest.Client{ID: registeredID, AuthMethod: "private_key_jwt", Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: algorithm, Use: "sig"}}})
			w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": pemOf(t, key), "key_id": "k1"})
			w.apply(w.clientCredentials)
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if got := w.get().Status.Client.AuthMethod; got != "private_key_jwt" {
				t.Errorf("authenticated by %s", got)
			}
		})
	}
}

func TestARotatedPrivateKeyIsUsedAtTheNextRequest(t *testing.T) {
	w, keys := newWorld(t), signingKeys(t)
	known := func(name string) {
		w.server.AddClient(oauthtest.Client{ID: registeredID, AuthMethod: "private_key_jwt", Keys: []jose.JSONWebKey{{Key: keys[name].Public(), Algorithm: name, Use: "sig"}}})
		w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": pemOf(t, keys[name])})
	}
	known("ES256")
	w.apply(w.clientCredentials)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	known("EdDSA")
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.TokenPath) != 2 {
		t.Errorf("%d token requests", w.server.Count(oauthtest.TokenPath))
	}
}

func TestWhatIsWrongWithACredentialSecretIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		data map[string]string
		want string
	}{
		"no client_id":               {map[string]string{"client_secret": "s"}, "client_id"},
		"a private key that is none": {map[string]string{"client_id": registeredID, "private_key": "-----BEGIN hunter2"}, "PKCS#8"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(credentialName, tt.data)
			w.apply(w.clientCredentials)
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, tt.want) || !strings.Contains(m, credentialName) || strings.Contains(m, "hunter2") {
				t.Errorf("the message is %q", m)
			}
			if w.server.Count(oauthtest.TokenPath) != 0 {
				t.Error("something was sent")
			}
		})
	}
}

func TestARefusedRequestStallsAndBacksOff(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials, func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"unheard:of"} })
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonTokenRequestRejected)
	for range 5 {
		w.reconcile()
	}
	if got := w.server.Count(oauthtest.TokenPath); got != 1 {
		t.Errorf("%d token requests", got)
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAnEditedSpecBringsANewTokenAndARefusedEditKeepsTheOldOneAlive(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials, func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read", "mcp:write"} })
	if got := w.get().Status.Scopes; !slices.Equal(got, []string{"mcp:read", "mcp:write"}) {
		t.Fatalf("granted %v", got)
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"unheard:of"} })
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	for range 4 {
		w.untilRefresh()
		w.reconcile()
		if !w.server.ValidAccessToken(w.secret()["access_token"]) {
			t.Fatal("the published token expired")
		}
	}
	if got := w.get().Status.Scopes; !slices.Equal(got, []string{"mcp:read", "mcp:write"}) {
		t.Errorf("granted %v", got)
	}
}

func TestAnotherGrantTypeRemovesTheTokenAtOnceAndFlippingBackRestoresIt(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.preregistered)
	w.consent()
	before := w.secret()
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials })
	if got := w.secret(); len(got) != 1 || got["server_url"] == "" {
		t.Errorf("the Secret still has the keys %v", slices.Collect(maps.Keys(got)))
	}
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
	w.server.Handle(oauthtest.TokenPath, nil)
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.GrantType = v1alpha1.GrantTypeAuthorizationCode })
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if got := w.secret(); got["access_token"] != before["access_token"] {
		t.Error("the person's grant is lost")
	}
}

func TestAWithdrawnTokenIsRevokedAndReplaced(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials)
	before := w.secret()["access_token"]
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "leak"}
	})
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.ValidAccessToken(before) || w.secret()["access_token"] == before {
		t.Error("the leaked token lives on")
	}
}

func TestAChallengeForMoreScopesAsksOnceForTheUnion(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials, func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Annotations = map[string]string{v1alpha1.AnnotationChallenge: `Bearer error="insufficient_scope", scope="mcp:write"`}
	})
	if got := w.get().Status.Scopes; !slices.Equal(got, []string{"mcp:read", "mcp:write"}) {
		t.Fatalf("granted %v", got)
	}
	w.untilRefresh()
	w.reconcile()
	if got := w.get().Status.Scopes; !slices.Equal(got, []string{"mcp:read", "mcp:write"}) || w.server.Count(oauthtest.TokenPath) != 3 {
		t.Errorf("granted %v after %d token requests", got, w.server.Count(oauthtest.TokenPath))
	}
}

func TestARefusedTokenIsRequestedAgainOnceThenTheServerIsDiscovered(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials)
	discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Annotations = map[string]string{v1alpha1.AnnotationChallenge: `Bearer error="invalid_token"`}
	})
	for range 3 {
		w.reconcile()
	}
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.TokenPath) != 2 || w.server.Count(oauthtest.ResourceMetadataPath) != discoveries+1 {
		t.Errorf("%d token requests, %d discoveries", w.server.Count(oauthtest.TokenPath), w.server.Count(oauthtest.ResourceMetadataPath)-discoveries)
	}
}

package controller

import (
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const (
	ready      = v1alpha1.ConditionReady
	discovered = v1alpha1.ConditionDiscovered
	registered = v1alpha1.ConditionRegistered
	authorized = v1alpha1.ConditionAuthorized
	isTrue     = metav1.ConditionTrue
	isFalse    = metav1.ConditionFalse
)

func connected(t testing.TB, configure ...func(*oauthtest.Config)) *world {
	t.Helper()
	w := newWorld(t, configure...)
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w
}

func (w *world) annotate(name, value string) *v1alpha1.MCPConnection {
	w.t.Helper()
	return w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = map[string]string{name: value} })
}

// untilRefresh steps the clock to the time of the next refresh.
func (w *world) untilRefresh() {
	w.t.Helper()
	at := w.get().Status.Token.RefreshAt
	if at == nil || !at.After(w.clock.Now()) {
		w.t.Fatalf("refreshAt is %v at %v", at, w.clock.Now())
	}
	w.clock.SetTime(at.Time)
}

func TestAConsentLeadsToASecretThatStaysFreshThroughRestarts(t *testing.T) {
	for name, keep := range map[string]bool{"with rotation": false, "without rotation": true} {
		t.Run(name, func(t *testing.T) {
			w := connected(t, func(c *oauthtest.Config) { c.KeepRefreshTokens = keep })
			token := w.secret()[v1alpha1.KeyAccessToken]
			for range 3 {
				w.restart()
				w.untilRefresh()
				w.reconcile()
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
				next := w.secret()
				if next[v1alpha1.KeyAccessToken] == token || !w.server.ValidAccessToken(next[v1alpha1.KeyAccessToken]) {
					t.Fatal("the token was not refreshed")
				}
				if next[v1alpha1.KeyAuthorization] != "Bearer "+next[v1alpha1.KeyAccessToken] || next[v1alpha1.KeyServerURL] != w.server.MCPURL() {
					t.Errorf("the Secret is not consistent")
				}
				token = next[v1alpha1.KeyAccessToken]
			}
			if w.server.Count(oauthtest.RegisterPath) != 1 || w.server.Count(oauthtest.AuthorizePath) != 1 || w.server.Grants()[0].Reused {
				t.Error("a restart registered or asked again, or spent a refresh token twice")
			}
			if len(w.events.Events) != 2 {
				t.Errorf("%d events, want one for the consent and one for Ready", len(w.events.Events))
			}
		})
	}
}

func TestAConnectionAtRestWritesNothing(t *testing.T) {
	w := connected(t)
	before := w.get().ResourceVersion
	w.reconcile()
	w.restart()
	w.reconcile()
	if after := w.get().ResourceVersion; after != before {
		t.Errorf("resourceVersion went from %s to %s", before, after)
	}
}

func TestDiscoveryAndRegistrationFailuresSayWhatToDo(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body)) // the client has all it wants
		}
	}
	metadata := func(s *oauthtest.Server, body string) {
		s.Handle(s.MetadataPath(), answer(200, "application/json", body))
	}
	for name, test := range map[string]struct {
		fault     func(*oauthtest.Server)
		configure func(*oauthtest.Config)
		spec      func(*v1alpha1.MCPConnection)
		condition string
		reason    string
		progress  string
	}{
		"the server answers 500": {fault: func(s *oauthtest.Server) { s.Handle(oauthtest.MCPPath, answer(500, "text/plain", "")) },
			condition: discovered, reason: v1alpha1.ReasonServerUnreachable, progress: v1alpha1.ConditionReconciling},
		"nobody listens": {spec: func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://127.0.0.1:1/mcp" },
			condition: discovered, reason: v1alpha1.ReasonServerUnreachable, progress: v1alpha1.ConditionReconciling},
		"metadata are HTML": {fault: func(s *oauthtest.Server) { s.Handle(s.MetadataPath(), answer(200, "text/html", "<html>")) },
			condition: discovered, reason: v1alpha1.ReasonMetadataNotFound, progress: v1alpha1.ConditionStalled},
		"the issuer is another": {fault: func(s *oauthtest.Server) {
			metadata(s, `{"issuer":"https://other.example","authorization_endpoint":"`+s.URL+`/authorize","token_endpoint":"`+s.URL+`/token","code_challenge_methods_supported":["S256"]}`)
		}, condition: discovered, reason: v1alpha1.ReasonIssuerMismatch, progress: v1alpha1.ConditionStalled},
		"PKCE is not listed": {fault: func(s *oauthtest.Server) {
			metadata(s, `{"issuer":"`+s.Issuer()+`","authorization_endpoint":"`+s.URL+`/authorize","token_endpoint":"`+s.URL+`/token"}`)
		}, condition: discovered, reason: v1alpha1.ReasonPKCEUnsupported, progress: v1alpha1.ConditionStalled},
		"the resource is another": {configure: func(c *oauthtest.Config) { c.Resource = "https://other.example/mcp" },
			condition: discovered, reason: v1alpha1.ReasonResourceMismatch, progress: v1alpha1.ConditionStalled},
		"an address is private": {spec: func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://10.0.0.1/mcp" },
			condition: discovered, reason: v1alpha1.ReasonEgressDenied, progress: v1alpha1.ConditionStalled},
		"there is no registration": {configure: func(c *oauthtest.Config) { c.NoRegistration = true },
			condition: registered, reason: v1alpha1.ReasonNoRegistrationMethod, progress: v1alpha1.ConditionStalled},
		"registration is refused": {fault: func(s *oauthtest.Server) { s.Handle(oauthtest.RegisterPath, answer(403, "text/plain", "no")) },
			condition: registered, reason: v1alpha1.ReasonRegistrationRefused, progress: v1alpha1.ConditionStalled},
		"registration is down": {fault: func(s *oauthtest.Server) { s.Handle(oauthtest.RegisterPath, answer(503, "text/plain", "")) },
			condition: registered, reason: v1alpha1.ReasonRegistrationFailing, progress: v1alpha1.ConditionReconciling},
		"credentials are missing": {spec: func(c *v1alpha1.MCPConnection) {
			c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "none"}, Issuer: strings.TrimSuffix(c.Spec.ServerURL, "/mcp")}
		}, condition: registered, reason: v1alpha1.ReasonCredentialsMissing, progress: v1alpha1.ConditionReconciling},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *oauthtest.Config) {
				if test.configure != nil {
					test.configure(c)
				}
			})
			if test.fault != nil {
				test.fault(w.server)
			}
			w.apply(func(c *v1alpha1.MCPConnection) {
				if test.spec != nil {
					test.spec(c)
				}
			})
			w.want(test.condition, isFalse, test.reason)
			w.want(ready, isFalse, test.reason)
			w.want(test.progress, isTrue, test.reason)
			if failure := w.get().Status.Failure; failure == nil || failure.RetryAt == nil || failure.Attempts != 1 {
				t.Errorf("failure is %+v", failure)
			}
			count := len(w.server.Requests())
			w.reconcile()
			if len(w.server.Requests()) != count {
				t.Error("it was tried again before its time")
			}
		})
	}
}

func TestAFailedRefreshNeverRemovesAValidToken(t *testing.T) {
	w := connected(t)
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonTokenExpired)
	if w.secret()[v1alpha1.KeyAccessToken] == "" {
		t.Error("the expired token was removed")
	}
	w.server.HandleTimes(oauthtest.TokenPath, 0, nil)
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestARevokedGrantKeepsItsTokenAndOffersALink(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.server.RevokeGrants()
	w.untilRefresh()
	conn := w.reconcile()
	w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized) // the server takes the token no more, as it says when asked
	if conn.Status.AuthorizationURL == "" || w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Error("no link, or the token is gone")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAForeignSecretIsNeverWritten(t *testing.T) {
	w, _ := waiting(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"}, StringData: map[string]string{"mine": "yes"}}
	w.must(api.Create(t.Context(), foreign))
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
	if got := w.secret(); len(got) != 1 || got["mine"] != "yes" {
		t.Fatal("the foreign Secret was written")
	}
	w.must(api.Delete(t.Context(), foreign))
	w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestADeletedOrEditedTokenSecretIsPutBackWithoutARefresh(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	key := client.ObjectKey{Namespace: w.key.Namespace, Name: "c-token"}
	secret := &corev1.Secret{}
	w.must(api.Get(t.Context(), key, secret))
	secret.Data = map[string][]byte{v1alpha1.KeyAccessToken: []byte("forged"), "extra": []byte("x")}
	w.must(api.Update(t.Context(), secret))
	w.reconcile()
	if got := w.secret(); got[v1alpha1.KeyAccessToken] != token || got["extra"] != "" {
		t.Error("the edit stayed")
	}
	w.must(api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}))
	w.reconcile()
	if w.secret()[v1alpha1.KeyAccessToken] != token || w.server.Count(oauthtest.TokenPath) != 1 {
		t.Error("the Secret was not put back, or a refresh was spent for it")
	}
}

func TestAnEditedServerURLRemovesTheTokenAndFlippingBackRestoresIt(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://127.0.0.1:1/mcp" })
	w.want(ready, isFalse, v1alpha1.ReasonServerUnreachable)
	if w.secret()[v1alpha1.KeyAccessToken] != "" {
		t.Error("the token of the other server is still published")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = w.server.MCPURL() })
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.secret()[v1alpha1.KeyAccessToken] != token || w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Error("flipping back asked for consent")
	}
}

func TestDeletionRevokesTheGrantAndRemovesBothSecrets(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	uid := w.get().UID
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil {
		t.Fatal("the object is still there")
	}
	held, err := w.r.Store.Get(t.Context(), uid)
	if err != nil || held != nil || w.secret() != nil || w.server.ValidAccessToken(token) {
		t.Errorf("a Secret or the grant is left: %v", err)
	}
}

func TestAnnotationsAreActedOnOnce(t *testing.T) {
	w := connected(t)
	w.annotate(v1alpha1.AnnotationRefresh, "1")
	w.reconcile()
	if n := w.server.Count(oauthtest.TokenPath); n != 2 {
		t.Fatalf("%d token requests, want the code and one refresh", n)
	}
	conn := w.annotate(v1alpha1.AnnotationReauthorize, "1")
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == "" || conn.Status.LastHandled.Reauthorize != "1" {
		t.Fatal("no link for the new consent")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	conn = w.annotate(v1alpha1.AnnotationRevoke, "1")
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if w.secret()[v1alpha1.KeyAccessToken] != "" || conn.Status.AuthorizationURL == "" || w.server.Count(oauthtest.RevokePath) == 0 {
		t.Error("the token stayed, was not revoked, or no link is offered")
	}
}

func TestASuspendedConnectionMakesNoCall(t *testing.T) {
	w := connected(t)
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) })
	w.want(ready, isTrue, v1alpha1.ReasonSuspended)
	count := len(w.server.Requests())
	w.clock.SetTime(w.clock.Now().Add(50 * time.Minute))
	w.reconcile()
	if len(w.server.Requests()) != count {
		t.Error("a suspended connection called a server")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(false) })
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

// TestAProcessKilledAfterAnyStepLosesNothing replaces the process after every single effect, before status is written.
func TestAProcessKilledAfterAnyStepLosesNothing(t *testing.T) {
	w := newWorld(t)
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name}, Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.MCPURL()}}
	w.must(api.Create(t.Context(), conn))
	step := func() bool {
		w.restart()
		o, err := w.r.observe(t.Context(), w.get())
		w.must(err)
		next := decide(w.clock.Now(), o)
		for next == stepDiscover || next == stepRegister { // their results are memory until saved
			w.must(w.r.perform(t.Context(), next, o))
			next = decide(w.clock.Now(), o)
		}
		w.must(w.r.perform(t.Context(), next, o))
		t.Log("did", next)
		return next != stepNone
	}
	for range maxSteps {
		if !step() {
			break
		}
	}
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if status := w.open(w.get().Status.AuthorizationURL); status != http.StatusSeeOther {
		t.Fatalf("the flow ended with %d", status)
	}
	for range maxSteps {
		if !step() {
			break
		}
	}
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.RegisterPath) != 1 || w.server.Count(oauthtest.TokenPath) != 1 || w.server.Grants()[0].Reused {
		t.Error("something was registered or spent twice")
	}
}

// holdsToken reports whether the token Secret holds this access token, or none if it is empty. A failed Expect of the
// token itself would print it.
func (w *world) holdsToken(token string) bool {
	w.t.Helper()
	return w.secret()[v1alpha1.KeyAccessToken] == token
}

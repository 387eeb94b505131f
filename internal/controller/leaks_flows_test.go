package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func badGateway(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Location", "/?token=elsewhere")
	rw.WriteHeader(http.StatusBadGateway)
}

// suffers takes a connection with a token through a refusal, an outage and a lost answer of the server that gave it,
// which repeats all that it is told, and lets it recover.
func (w *world) suffers(s *oauthtest.Server, oauthError string) {
	GinkgoHelper()
	repeats(s, oauthtest.TokenPath, 1, http.StatusBadRequest, oauthError)
	w.untilRefresh()
	w.reconcile()
	s.HandleTimes(oauthtest.TokenPath, 1, badGateway)
	w.later(10 * time.Minute)
	repeats(s, oauthtest.TokenPath, 1, http.StatusInternalServerError, oauthError)
	w.later(10 * time.Minute)
	w.later(30 * time.Minute)
	w.later(time.Hour)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

// ends deletes a connection at a server that will not revoke, and repeats the token.
func (w *world) ends() {
	GinkgoHelper()
	repeats(w.server, oauthtest.RevokePath, -1, http.StatusBadRequest, "invalid_request")
	w.must(api.Delete(w.ctx, w.get()))
	w.reconcile()
	Expect(w.gone()).To(BeTrue(), "the object is still there")
}

// watched is a connection that a person consented to, with a witness from the beginning.
func watched(configure ...func(*oauthtest.Config)) (*world, *witness) {
	GinkgoHelper()
	w := newWorld(configure...)
	x := watch(w)
	w.apply()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w, x
}

func wholeLife(secret, method string) func() *witness {
	return func() *witness {
		w := newWorld(func(c *oauthtest.Config) { c.AuthMethods = []string{method} })
		x := watch(w)
		w.registerByHand(secret, method)
		w.keepCredentials(secret)
		w.apply(w.preregistered)
		w.live()
		return x
	}
}

func dynamicClient() *witness {
	w, x := watched(expiring, managing)
	path := w.managementPath()
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusForbidden} {
		repeats(w.server, path, 1, status, "invalid_client_metadata")
		w.untilUpdate()
		w.reconcile()
		w.later(time.Hour)
	}
	repeats(w.server, path, -1, http.StatusForbidden, "access_denied")
	w.ends()
	return x
}

func protectedRegistration() *witness {
	w := newWorld(isProtected)
	x := watch(w)
	repeats(w.server, oauthtest.RegisterPath, 1, http.StatusUnauthorized, "invalid_token")
	w.keepInitialToken("token", "spent+initial/access=token")
	w.apply(mayRegister)
	w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
	w.keepInitialToken("token", initialToken)
	w.untilRetry()
	w.reconcile()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return x
}

func clientOfADocument() *witness {
	w := signing()
	x := watch(w)
	repeats(w.server, oauthtest.TokenPath, 1, http.StatusUnauthorized, "invalid_client")
	w.untilRefresh()
	w.reconcile()
	w.fetchKeys()
	w.ends()
	return x
}

func clientCredentialsBySecret() *witness {
	w := newWorld()
	x := watch(w)
	w.registerByHand(secondSecret, "client_secret_post")
	w.keepCredentials(secondSecret)
	w.apply(w.clientCredentials)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.suffers(w.server, "invalid_request")
	w.annotate(v1alpha1.AnnotationRevoke, "leak")
	w.ends()
	return x
}

func clientCredentialsByKey() *witness {
	w := newWorld()
	x := watch(w)
	w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": "-----BEGIN PRIVATE " +
		"KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----"})
	w.apply(w.clientCredentials)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	key := signingKeys()["RS256"]
	w.server.AddClient(oauthtest.Client{ID: registeredID,
		Keys: []jose.JSONWebKey{{Key: key.Public(), Algorithm: "RS256", Use: "sig"}}})
	w.keep(credentialName, map[string]string{"client_id": registeredID, "private_key": pemOf(key)})
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.suffers(w.server, "invalid_request")
	w.ends()
	return x
}

func jwtBearerByAccount() *witness {
	w := workloads()
	x := watch(w)
	w.account(w.server.Issuer())
	repeats(w.server, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
	w.apply(byAccount)
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.ends()
	return x
}

func jwtBearerBySecret() *witness {
	w := workloads()
	x := watch(w)
	w.account("")
	w.keep("identity", map[string]string{"token": "not+a/jwt=hunter2"})
	w.apply(byAssertion)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	for _, audience := range []string{"https://elsewhere.example", w.server.Issuer()} {
		repeats(w.server, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
		w.keep("identity", map[string]string{"token": w.vouched(audience)})
		w.later(time.Minute)
	}
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	return x
}

func tokenExchange() *witness {
	w, idp := enterprise(func(string, string) (string, error) { return "alice", nil })
	x := watch(w, idp)
	w.keep("identity", map[string]string{"token": "1//subject+token="})
	repeats(idp, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
	w.apply(w.byExchange(idp))
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	w.keep("identity", map[string]string{"token": "2//subject+token="})
	w.later(time.Hour)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	for _, s := range x.servers {
		repeats(s, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_request")
		w.later(time.Hour)
	}
	w.ends()
	return x
}

func boundTokens() *witness {
	w, x := watched(func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce, c.KeepRefreshTokens = true, "nonce-1", true })
	w.suffers(w.server, "invalid_dpop_proof")
	w.holdsBoundToken()
	w.ends()
	return x
}

func imported() *witness {
	w := newWorld()
	x := watch(w)
	keep := func(token string) {
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "client_secret": firstSecret,
			"issuer": w.server.Issuer()})
	}
	keep("1//dead+refresh/token=")
	repeats(w.server, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
	w.apply(importing)
	w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
	w.look(w.get().Status.AuthorizationURL)
	keep(w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool", Secret: firstSecret}))
	w.annotate(v1alpha1.AnnotationRefresh, "now")
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.ends()
	return x
}

func probes401And403() *witness {
	w, x := watched()
	w.every(10 * time.Minute)
	for _, answer := range []http.HandlerFunc{
		func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:admin `+
				r.Header.Get("Authorization")+`"`)
			rw.WriteHeader(http.StatusForbidden)
		},
		badGateway, func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "/?"+url.QueryEscape(r.Header.Get("Authorization")), http.StatusFound)
		},
		func(rw http.ResponseWriter, r *http.Request) {
			http.Error(rw, r.Header.Get("Authorization"), http.StatusUnauthorized)
		},
		func(rw http.ResponseWriter, r *http.Request) {
			var call struct {
				ID json.RawMessage `json:"id"`
			}
			if json.NewDecoder(r.Body).Decode(&call) != nil || call.ID == nil {
				rw.WriteHeader(http.StatusAccepted)
				return
			}
			rw.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(rw,
				`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":%q,"version":"1"},"tools":[]}}`, call.ID, r.Header.Get("Authorization"))
		},
	} {
		w.tokenTried(answer)
		w.later(10 * time.Minute)
	}
	blanked := w.get().Status.Server.Name == "Bearer …"
	Expect(blanked).To(BeTrue(), "the server's name holds more than the scheme, or less")
	return x
}

func stepUp() *witness {
	w, x := watched(readOnly)
	w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write"))
	w.server.HandleTimes(oauthtest.AuthorizePath, 1, func(rw http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back := url.Values{"error": {q.Get("state")}, "error_description": {q.Get("state")}, "state": {q.Get("state")},
			"iss": {w.server.Issuer()}}
		http.Redirect(rw, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	w.consent()
	w.annotate(v1alpha1.AnnotationReauthorize, "again")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return x
}

func orphaned() *witness {
	w, x := watched()
	uid := w.get().UID
	repeats(w.server, oauthtest.RevokePath, -1, http.StatusBadRequest, "invalid_request")
	w.vanish()
	w.orphans(credentialKey(uid))
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	w.orphans(credentialKey(uid))
	return x
}

func spoiled(change func(*corev1.Secret)) func() *witness {
	return func() *witness {
		w, x := watched()
		w.spoil(change)
		w.annotate(v1alpha1.AnnotationRefresh, "now")
		w.want(ready, isTrue, v1alpha1.ReasonCredentialUnreadable)
		return x
	}
}

func secretInTheServerURL() *witness {
	w := newWorld()
	x := watch(w)
	const secret = "planted-key-of-the-query"
	w.server.Configure(func(c *oauthtest.Config) { c.Resource = w.server.MCPURL() + "?api_key=" + secret })
	w.server.HandleTimes(oauthtest.MCPPath, 1, badGateway)
	w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL += "?api_key=" + secret })
	w.untilRetry()
	w.reconcile()
	w.consent()
	w.every(10 * time.Minute)
	for _, answer := range []http.HandlerFunc{badGateway, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "/?token="+secret, http.StatusFound)
	}} {
		w.tokenTried(answer)
		w.later(10 * time.Minute)
	}
	x.knows(queryOfServer, secret)
	return x
}

// strangers come to the pages with values that nobody may repeat.
func strangers() *witness {
	w, link := waiting()
	x := watch(w)
	w.reconcile()
	const secret = "planted-by-a-stranger"
	x.knows("parameter of a stranger", secret)
	w.cancel(link)
	state := w.stored().Authorization.Requests[0].State
	for _, path := range []string{
		"/connect/" + secret, "/connect/" + secret + "/" + secret, "/" + secret, "/oauth/jwks.json?" + secret,
		"/oauth/client-metadata.json?x=" + secret,
		"/oauth/callback", "/oauth/callback?code=" + secret, "/oauth/callback?state=" + secret + "&code=" + secret,
		"/oauth/callback?state=" + state + "&code=" + secret + "&code=" + secret, "/oauth/callback?state=" + state +
			"&code=" + secret + "&iss=https://" + secret + ".example",
		"/oauth/callback?state=" + state + "&error=" + secret + "&iss=https://" + secret + ".example", "/oauth/callback?%zz" +
			secret, "/debug/pprof/", "/debug/pprof/heap", "/metrics",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
			req, err := http.NewRequestWithContext(GinkgoT().Context(), method, w.pages.URL+path, strings.NewReader("x="+secret))
			Expect(err).NotTo(HaveOccurred())
			req.Header.Set("Referer", "https://e.example/?"+secret)
			resp, err := http.DefaultClient.Do(req)
			Expect(err).NotTo(HaveOccurred())
			Expect(resp.Body.Close()).To(Succeed())
			if strings.HasPrefix(path, "/debug") {
				Expect(resp.StatusCode).To(Equal(http.StatusNotFound), "%s %s", method, path)
			}
		}
	}
	w.look(link)
	w.reconcile()
	return x
}

// wired runs the controller as the operator does: in a manager, with its queue, caches and metrics.
func wired() *witness {
	w := newWorld()
	x := watch(w)
	mgr, err := ctrl.NewManager(environment.Config, ctrl.Options{
		Scheme: api.Scheme(), Logger: w.log.logger(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.key.Namespace: {}, operatorNamespace: {}}},
	})
	Expect(err).NotTo(HaveOccurred())
	w.r.Client, w.r.MaxConcurrentReconciles = mgr.GetClient(), 1
	Expect(w.r.SetupWithManager(mgr)).To(Succeed())
	ctx, cancel := context.WithCancel(GinkgoT().Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		Expect(<-done).NotTo(HaveOccurred())
	}()
	until := func(what string, is func(*v1alpha1.MCPConnection) bool) {
		GinkgoHelper()
		Eventually(ctx, func() bool { return is(w.get()) }).WithTimeout(30*time.Second).WithPolling(
			50*time.Millisecond).Should(BeTrue(), what)
	}
	isReady := func(c *v1alpha1.MCPConnection) bool {
		condition := meta.FindStatusCondition(c.Status.Conditions, ready)
		return condition != nil && condition.Status == isTrue
	}
	conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name},
		Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.MCPURL()}}
	Expect(api.Create(ctx, conn)).To(Succeed())
	until("no link", func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	Expect(w.open(w.get().Status.AuthorizationURL)).To(Equal(http.StatusSeeOther), "what ended the flow")
	until("not ready", isReady)
	return x
}

// One way through the operator a row, with the kinds of secrets that are met on it.
var _ = Describe("A secret", Label("security"), func() {
	person := []string{"state", "code", "code_verifier", "ticket", v1alpha1.KeyAccessToken, "refresh_token"}
	DescribeTable("is shown nowhere by", func(flow func() *witness, kinds []string) { flow().testify(kinds...) },
		Entry("a whole life with a short client secret", wholeLife("s3+/x", "client_secret_basic"),
			append(person, "Basic credentials", "encoded client secret")), // too short to look like a token
		Entry("a whole life with a long client secret", wholeLife(secondSecret, "client_secret_basic"),
			append(person, "Basic credentials", "encoded client secret")),
		Entry("a whole life with a secret in the form", wholeLife(secondSecret, "client_secret_post"),
			append(person, "client_secret")),
		Entry("a client that is registered and managed", dynamicClient,
			[]string{"client_secret", "registration_access_token"}),
		Entry("a protected registration", protectedRegistration, append(person, "Bearer credentials")),
		Entry("a client of a document", clientOfADocument, []string{"client_assertion", "private_key", "refresh_token"}),
		Entry("client credentials by secret", clientCredentialsBySecret, []string{"client_secret", v1alpha1.KeyAccessToken}),
		Entry("client credentials by key", clientCredentialsByKey, []string{"client_assertion", "private_key"}),
		Entry("a JWT bearer grant by ServiceAccount", jwtBearerByAccount, []string{"assertion"}),
		Entry("a JWT bearer grant by Secret", jwtBearerBySecret, []string{"assertion", "token"}),
		Entry("a token exchange", tokenExchange, []string{"assertion", "subject_token", "Basic credentials"}),
		Entry("tokens that are bound to a key", boundTokens, []string{"d", "refresh_token", "DPoP credentials"}),
		Entry("an imported grant", imported, []string{"refresh_token", "client_secret"}),
		Entry("probes that are refused, and fail", probes401And403, []string{"Bearer credentials"}),
		Entry("a step-up that is denied, and repeated", stepUp, person),
		Entry("a credential whose connection vanished", orphaned, []string{"token", "refresh_token"}),
		Entry("a credential that is corrupt", spoiled(corrupt), []string{"refresh_token"}),
		Entry("a credential of a newer format", spoiled(newer), []string{"refresh_token"}),
		Entry("a credential of another connection", spoiled(foreign), []string{"refresh_token"}),
		Entry("a server URL with a secret", secretInTheServerURL, person),
		Entry("strangers at the pages", strangers, []string{"state", "ticket"}),
		Entry("the operator as it is wired", wired, person),
	)
})

package controller

import (
	"maps"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
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

func connected(configure ...func(*oauthtest.Config)) *world {
	GinkgoHelper()
	w := newWorld(configure...)
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w
}

func (w *world) annotate(name, value string) *v1alpha1.MCPConnection {
	GinkgoHelper()
	return w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = map[string]string{name: value} })
}

// untilRefresh steps the clock to the time of the next refresh.
func (w *world) untilRefresh() {
	GinkgoHelper()
	at := w.get().Status.Token.RefreshAt
	Expect(at == nil || !at.After(w.clock.Now())).To(BeFalse(), "refreshAt is %v at %v", at, w.clock.Now())
	w.clock.SetTime(at.Time)
}

// holdsToken reports whether the token Secret holds this access token, or none if it is empty. A failed Expect of the
// token itself would print it.
func (w *world) holdsToken(token string) bool {
	GinkgoHelper()
	return w.secret()[v1alpha1.KeyAccessToken] == token
}

var _ = DescribeTable("A consent leads to a Secret that stays fresh through restarts", func(keep bool) {
	w := connected(func(c *oauthtest.Config) { c.KeepRefreshTokens = keep })
	token := w.secret()[v1alpha1.KeyAccessToken]
	for range 3 {
		w.restart()
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.holdsToken(token)).To(BeFalse(), "the token was not refreshed")
		next := w.secret()
		token = next[v1alpha1.KeyAccessToken]
		Expect(w.server.ValidAccessToken(token)).To(BeTrue(), "the token is not valid")
		consistent := next[v1alpha1.KeyAuthorization] == "Bearer "+token
		Expect(consistent).To(BeTrue(), "the authorization is that of another token")
		Expect(next[v1alpha1.KeyServerURL]).To(Equal(w.server.MCPURL()))
	}
	Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "a restart registered again")
	Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "a restart asked again")
	Expect(w.server.Grants()[0].Reused).To(BeFalse(), "a restart spent a refresh token twice")
	Expect(w.events.Events).To(HaveLen(2), "one event for the consent and one for Ready")
},
	Entry("with rotation", false),
	Entry("without rotation", true),
)

var _ = Describe("A connection at rest", func() {
	It("writes nothing", func() {
		w := connected()
		before := w.get().ResourceVersion
		w.reconcile()
		w.restart()
		w.reconcile()
		Expect(w.get().ResourceVersion).To(Equal(before))
	})
})

var _ = Describe("A failure of discovery or registration", func() {
	// faulty is a way in which they fail.
	type faulty struct {
		fault     func(*oauthtest.Server)
		configure func(*oauthtest.Config)
		spec      func(*v1alpha1.MCPConnection)
	}
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body)) // the client has all it wants
		}
	}
	answers := func(path string, status int, body string) faulty {
		return faulty{fault: func(s *oauthtest.Server) { s.Handle(path, answer(status, "text/plain", body)) }}
	}
	metadata := func(contentType string, body func(*oauthtest.Server) string) faulty {
		return faulty{fault: func(s *oauthtest.Server) {
			s.Handle(s.MetadataPath(), answer(http.StatusOK, contentType, body(s)))
		}}
	}
	serverAt := func(url string) faulty {
		return faulty{spec: func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = url }}
	}

	DescribeTable("says what to do:", func(f faulty, condition, reason, progress string) {
		w := newWorld(func(c *oauthtest.Config) {
			if f.configure != nil {
				f.configure(c)
			}
		})
		if f.fault != nil {
			f.fault(w.server)
		}
		w.apply(func(c *v1alpha1.MCPConnection) {
			if f.spec != nil {
				f.spec(c)
			}
		})
		w.want(condition, isFalse, reason)
		w.want(ready, isFalse, reason)
		w.want(progress, isTrue, reason)
		failure := w.get().Status.Failure
		Expect(failure).NotTo(BeNil())
		Expect(failure.RetryAt).NotTo(BeNil())
		Expect(failure.Attempts).To(BeEquivalentTo(1))
		count := len(w.server.Requests())
		w.reconcile()
		again := len(w.server.Requests()) - count
		Expect(again).To(BeZero(), "requests before the time of the next try")
	},
		Entry("the server answers 500", answers(oauthtest.MCPPath, http.StatusInternalServerError, ""),
			discovered, v1alpha1.ReasonServerUnreachable, reconciling),
		Entry("nobody listens", serverAt("http://127.0.0.1:1/mcp"),
			discovered, v1alpha1.ReasonServerUnreachable, reconciling),
		Entry("metadata are HTML", metadata("text/html", func(*oauthtest.Server) string { return "<html>" }),
			discovered, v1alpha1.ReasonMetadataNotFound, stalled),
		Entry("the issuer is another", Label("security"), metadata("application/json", func(s *oauthtest.Server) string {
			return `{"issuer":"https://other.example","authorization_endpoint":"` + s.URL + `/authorize","token_endpoint":"` +
				s.URL + `/token","code_challenge_methods_supported":["S256"]}`
		}), discovered, v1alpha1.ReasonIssuerMismatch, stalled),
		Entry("PKCE is not listed", Label("security"), metadata("application/json", func(s *oauthtest.Server) string {
			return `{"issuer":"` + s.Issuer() + `","authorization_endpoint":"` + s.URL + `/authorize","token_endpoint":"` +
				s.URL + `/token"}`
		}), discovered, v1alpha1.ReasonPKCEUnsupported, stalled),
		Entry("the resource is another", Label("security"),
			faulty{configure: func(c *oauthtest.Config) { c.Resource = "https://other.example/mcp" }},
			discovered, v1alpha1.ReasonResourceMismatch, stalled),
		Entry("an address is private", Label("security"), serverAt("http://10.0.0.1/mcp"),
			discovered, v1alpha1.ReasonEgressDenied, stalled),
		Entry("there is no registration", faulty{configure: func(c *oauthtest.Config) { c.NoRegistration = true }},
			registered, v1alpha1.ReasonNoRegistrationMethod, stalled),
		Entry("registration is refused", answers(oauthtest.RegisterPath, http.StatusForbidden, "no"),
			registered, v1alpha1.ReasonRegistrationRefused, stalled),
		Entry("registration is down", answers(oauthtest.RegisterPath, http.StatusServiceUnavailable, ""),
			registered, v1alpha1.ReasonRegistrationFailing, reconciling),
		Entry("credentials are missing", faulty{spec: func(c *v1alpha1.MCPConnection) {
			c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "none"},
				Issuer: strings.TrimSuffix(c.Spec.ServerURL, "/mcp")}
		}}, registered, v1alpha1.ReasonCredentialsMissing, reconciling),
	)
})

var _ = Describe("A valid token", func() {
	It("is never removed by a failed refresh", func() {
		w := connected()
		w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusInternalServerError)
		})
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonTokenExpired)
		Expect(w.holdsToken("")).To(BeFalse(), "the expired token was removed")
		w.server.HandleTimes(oauthtest.TokenPath, 0, nil)
		w.clock.SetTime(w.clock.Now().Add(time.Hour))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A grant that was revoked at the server", func() {
	It("keeps its token and offers a link", func() {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.server.RevokeGrants()
		w.untilRefresh()
		conn := w.reconcile()
		w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized) // the server takes the token no more, as it says when asked
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "no link")
		Expect(w.holdsToken(token)).To(BeTrue(), "the token is gone")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A Secret of somebody else", Label("security"), func() {
	It("is never written", func(ctx SpecContext) {
		w, _ := waiting()
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "c-token"},
			StringData: map[string]string{"mine": "yes"}}
		Expect(api.Create(ctx, foreign)).To(Succeed())
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
		untouched := maps.Equal(w.secret(), map[string]string{"mine": "yes"})
		Expect(untouched).To(BeTrue(), "it was written")
		Expect(api.Delete(ctx, foreign)).To(Succeed())
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A token Secret that was deleted or edited", func() {
	It("is put back without a refresh", func(ctx SpecContext) {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		key := client.ObjectKey{Namespace: w.key.Namespace, Name: "c-token"}
		secret := &corev1.Secret{}
		Expect(api.Get(ctx, key, secret)).To(Succeed())
		secret.Data = map[string][]byte{v1alpha1.KeyAccessToken: []byte("forged"), "extra": []byte("x")}
		Expect(api.Update(ctx, secret)).To(Succeed())
		w.reconcile()
		Expect(w.holdsToken(token)).To(BeTrue(), "the forged token stayed")
		Expect(w.secret()["extra"]).To(BeEmpty(), "the edit stayed")
		Expect(api.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})).To(
			Succeed())
		w.reconcile()
		Expect(w.holdsToken(token)).To(BeTrue(), "the Secret was not put back")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "a refresh was spent for it")
	})
})

var _ = Describe("An edit of spec.serverURL", Label("security"), func() {
	It("removes the token, and flipping back restores the token", func() {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = "http://127.0.0.1:1/mcp" })
		w.want(ready, isFalse, v1alpha1.ReasonServerUnreachable)
		Expect(w.holdsToken("")).To(BeTrue(), "the token of the other server is still published")
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = w.server.MCPURL() })
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.holdsToken(token)).To(BeTrue(), "flipping back lost the token")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "flipping back asked for consent")
	})
})

var _ = Describe("A deletion", Label("security"), func() {
	It("revokes the grant and removes both Secrets", func(ctx SpecContext) {
		w := connected()
		token := w.secret()[v1alpha1.KeyAccessToken]
		uid := w.get().UID
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		stays := w.reconcile() != nil
		Expect(stays).To(BeFalse(), "the object is still there")
		Expect(w.has(credentialKey(uid))).To(BeFalse(), "the credential Secret is left")
		Expect(w.has(w.inNamespace("c-token"))).To(BeFalse(), "the token Secret is left")
		Expect(w.server.ValidAccessToken(token)).To(BeFalse(), "the grant is left")
	})
})

var _ = Describe("An annotation", func() {
	It("is acted on once", func() {
		w := connected()
		w.annotate(v1alpha1.AnnotationRefresh, "1")
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests: the code and one refresh")
		conn := w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "no link for the new consent")
		Expect(conn.Status.LastHandled.Reauthorize).To(Equal("1"))
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		conn = w.annotate(v1alpha1.AnnotationRevoke, "1")
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.holdsToken("")).To(BeTrue(), "the token stayed")
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "no link is offered")
		Expect(w.server.Count(oauthtest.RevokePath)).NotTo(BeZero(), "the token was not revoked")
	})
})

var _ = Describe("A suspended connection", func() {
	It("makes no call", func() {
		w := connected()
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) })
		w.want(ready, isTrue, v1alpha1.ReasonSuspended)
		count := len(w.server.Requests())
		w.clock.SetTime(w.clock.Now().Add(50 * time.Minute))
		w.reconcile()
		calls := len(w.server.Requests()) - count
		Expect(calls).To(BeZero())
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(false) })
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A process that is killed after any step", func() {
	// The process is replaced after every single effect, before status is written.
	It("loses nothing", func(ctx SpecContext) {
		w := newWorld()
		conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: w.key.Name},
			Spec: v1alpha1.MCPConnectionSpec{ServerURL: w.server.MCPURL()}}
		Expect(api.Create(ctx, conn)).To(Succeed())
		step := func() bool {
			GinkgoHelper()
			w.restart()
			o, err := w.r.observe(ctx, w.get())
			Expect(err).NotTo(HaveOccurred())
			next := lifecycle.Decide(w.clock.Now(), o.State)
			for next == lifecycle.StepDiscover || next == lifecycle.StepRegister { // their results are memory until saved
				Expect(w.r.perform(ctx, next, o)).To(Succeed())
				next = lifecycle.Decide(w.clock.Now(), o.State)
			}
			Expect(w.r.perform(ctx, next, o)).To(Succeed())
			GinkgoWriter.Println("did", next)
			return next != lifecycle.StepNone
		}
		for range lifecycle.MaxSteps {
			if !step() {
				break
			}
		}
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.open(w.get().Status.AuthorizationURL)).To(Equal(http.StatusSeeOther), "the flow's end")
		for range lifecycle.MaxSteps {
			if !step() {
				break
			}
		}
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "something was registered twice")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "token requests")
		Expect(w.server.Grants()[0].Reused).To(BeFalse(), "something was spent twice")
	})
})

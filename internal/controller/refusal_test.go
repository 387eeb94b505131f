package controller

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func answering(status int) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
}

// lacksScopes is an MCP server's answer to a token that may do too little.
func lacksScopes(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:admin"`)
	rw.WriteHeader(http.StatusForbidden)
}

// refusedConnection is one whose server refuses every token, as the probe found.
func refusedConnection() *world {
	GinkgoHelper()
	w := newWorld()
	w.apply()
	w.tokenTried(answering(http.StatusUnauthorized))
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	return w
}

var _ = Describe("A refused token", func() {
	It("leads to one refresh, one discovery and a link", func() {
		w := newWorld()
		w.apply()
		w.tokenTried(answering(http.StatusUnauthorized))
		discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
		w.consent()
		w.want(probed, isFalse, v1alpha1.ReasonProbeUnauthorized)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		w.want(v1alpha1.ConditionReconciling, isTrue, v1alpha1.ReasonProbeUnauthorized)
		Expect(w.tries()).To(Equal(2))
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2))
		Expect(w.server.Count(oauthtest.ResourceMetadataPath)).To(Equal(discoveries + 1))
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		published := w.secret()[v1alpha1.KeyAccessToken] != ""
		Expect(published).To(BeTrue(), "the token is gone")
		link := w.get().Status.AuthorizationURL
		w.untilRefresh() // the new token is tried, and the link stays meanwhile
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		stayed := w.get().Status.AuthorizationURL == link
		Expect(stayed).To(BeTrue(), "the link went with a refresh that did not help")
		w.server.Handle(oauthtest.MCPPath, nil)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.offersLink()).To(BeFalse(), "the link stayed")
		Expect(w.get().Status.Failure).To(BeNil())
	})

	It("is tried again after waits from a minute to an hour", func() {
		w := newWorld(func(c *oauthtest.Config) { c.AccessTokenLifetime = -1; c.NoRefreshTokens = true })
		w.apply()
		w.tokenTried(answering(http.StatusUnauthorized))
		w.consent()
		w.every(10 * time.Minute) // an edit has it tried at once
		waits := time.Minute
		for range 9 {
			f := w.get().Status.Failure
			Expect(f).To(HaveValue(And(HaveField("Step", string(lifecycle.StepProbe)), HaveField("RetryAt", Not(BeNil())))))
			Expect(f.RetryAt.Sub(w.clock.Now())).To(And(BeNumerically("<=", waits+time.Second),
				BeNumerically(">=", waits*9/10-time.Second)))
			waits = min(2*waits, time.Hour)
			tries := w.tries()
			w.restart()
			w.clock.SetTime(f.RetryAt.Add(-time.Second))
			w.reconcile()
			Expect(w.tries()).To(Equal(tries), "it was tried before its time")
			w.clock.SetTime(f.RetryAt.Time)
			w.reconcile()
			Expect(w.tries()).To(Equal(tries+1), "it was not tried once at the retry")
			w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		}
		w.server.Handle(oauthtest.MCPPath, nil)
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("has one consent asked for", func() {
		w := refusedConnection()
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		Expect(w.offersLink()).To(BeFalse(), "a consent that did not help is asked for again")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(2))
		w.annotate(v1alpha1.AnnotationReauthorize, "1") // a person may ask
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		Expect(w.offersLink()).To(BeFalse(), "another one is asked for")
		w.server.Handle(oauthtest.MCPPath, nil)
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.tokenTried(answering(http.StatusUnauthorized))
		w.every(time.Minute)
		w.later(2 * time.Minute)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		Expect(w.offersLink()).To(BeTrue(), "no consent is asked for, though the server had accepted the token meanwhile")
	})
})

var _ = Describe("An answer to a probe that is no 401", func() {
	DescribeTable("changes Ready in neither direction:", func(answer http.HandlerFunc) {
		w := connected()
		w.tokenTried(answer)
		w.every(time.Minute)
		w.later(2 * time.Minute)
		Expect(meta.FindStatusCondition(w.get().Status.Conditions, ready)).To(HaveField("Status", isTrue))
		w = refusedConnection()
		w.tokenTried(answer)
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		w.server.Handle(oauthtest.MCPPath, nil)
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	},
		Entry("a 403", answering(http.StatusForbidden)),
		Entry("missing scopes", http.HandlerFunc(lacksScopes)),
		Entry("a 500", answering(http.StatusInternalServerError)),
		Entry("a 503", answering(http.StatusServiceUnavailable)),
		Entry("no answer", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
	)
})

var _ = Describe("A published token", func() {
	DescribeTable("is tried once after invalid_grant:", func(answer http.HandlerFunc, want string) {
		w := connected()
		if answer != nil {
			w.tokenTried(answer)
		}
		repeats(w.server, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
		tries := w.tries()
		w.untilRefresh()
		Expect(shown(w.reconcile(), ready)).To(Equal(want))
		Expect(w.tries()).To(Equal(tries + 1))
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		w.reconcile()
		Expect(w.tries()).To(Equal(tries+1), "it was tried again at once")
		w.consent()
		if answer == nil {
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		}
	},
		Entry("the server accepts it", nil, "True RefreshRejected"),
		Entry("the server refuses it", answering(http.StatusUnauthorized), "False ProbeUnauthorized"),
		Entry("the server forbids it", http.HandlerFunc(lacksScopes), "True RefreshRejected"),
	)
})

var _ = Describe("A consumer's challenge", func() {
	It("never changes Ready", func() {
		w := connected()
		w.annotate(v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A public server that answers 401", func() {
	It("and names no authorization server is not hurried", func() {
		w := newWorld(func(c *oauthtest.Config) { c.Public = true })
		w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
		w.every(time.Minute)
		public := 0
		w.server.Handle(oauthtest.MCPPath, func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Mcp-Protocol-Version") == "" &&
				r.ContentLength == int64(len(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`)) {
				rw.WriteHeader(http.StatusOK) // whoever only looks
				return
			}
			public++
			rw.WriteHeader(http.StatusUnauthorized)
		})
		w.later(2 * time.Minute)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		before := public
		w.reconcile()
		w.reconcile()
		Expect(public).To(Equal(before), "it was asked again at once")
	})
})

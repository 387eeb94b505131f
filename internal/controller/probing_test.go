package controller

import (
	"context"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const probed = v1alpha1.ConditionProbed

// tokenTried has the MCP server answer those with a token in this way, and nobody else.
func (w *world) tokenTried(answer http.HandlerFunc) {
	w.server.Handle(oauthtest.MCPPath, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+w.server.URL+oauthtest.ResourceMetadataPath+`"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(rw, r)
	})
}

// tries is how often a token was presented at the MCP server.
func (w *world) tries() int {
	n := 0
	for _, r := range w.server.Requests() {
		if r.Path == oauthtest.MCPPath && r.Header.Get("Authorization") != "" && strings.Contains(r.Body, "server/discover") {
			n++
		}
	}
	return n
}

func (w *world) every(interval time.Duration) {
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: interval}}
	})
}

var _ = Describe("A probe", func() {
	It("follows a consent, once", func() {
		w := connected()
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		server := w.get().Status.Server
		Expect(server).To(HaveValue(And(
			HaveField("Name", "oauthtest"), HaveField("Version", "1.0.0"), HaveField("ProtocolVersion", "2025-11-25"),
			HaveField("Tools", HaveValue(BeEquivalentTo(1))), HaveField("ProbedAt", Not(BeNil())))))
		w.restart()
		w.untilRefresh()
		w.reconcile()
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		Expect(w.tries()).To(Equal(1))
		Expect(w.get().Status.Server.ProbedAt).To(HaveValue(Equal(*server.ProbedAt)))
		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.consent()
		Expect(w.tries()).To(Equal(2), "probes after another consent")
	})

	It("goes on at the interval", func() {
		w := connected()
		w.every(10 * time.Minute)
		first := w.get().Status.Server.ProbedAt
		for range 3 {
			w.restart()
			before := w.get().Status
			w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
			w.reconcile()
			w.reconcile()
			after := w.get().Status
			Expect(after.Next).NotTo(BeNil())
			Expect(after.Next.At.Time).To(BeTemporally(">", w.clock.Now()))
			before.Next, after.Next = nil, nil
			Expect(equality.Semantic.DeepEqual(before, after)).To(BeTrue(), "status changed, though the result did not")
			Expect(after.Server.ProbedAt).To(HaveValue(Equal(*first)))
		}
		Expect(w.tries()).To(Equal(4), "probes in half an hour")
		w.server.Configure(func(c *oauthtest.Config) { c.RequiredScopes = []string{"mcp:admin"} })
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
		conn := w.reconcile()
		w.want(probed, isFalse, v1alpha1.ReasonInsufficientScope)
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		Expect(meta.FindStatusCondition(conn.Status.Conditions, probed).Message).To(ContainSubstring("mcp:admin"))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		Expect(conn.Status.Server.Tools).To(HaveValue(BeEquivalentTo(1)))
		w.server.Configure(func(c *oauthtest.Config) { c.RequiredScopes = nil })
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("tells of missing scopes once and asks for no consent", func() {
		w := newWorld(func(c *oauthtest.Config) { c.RequiredScopes = []string{"mcp:admin"} })
		w.apply()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
		for range 3 {
			w.restart()
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
			w.reconcile()
		}
		Expect(w.tries()).To(Equal(1))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1))
	})

	It("of an unreachable server is made again and stops nothing", func() {
		w := newWorld()
		w.apply()
		w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.want(probed, isFalse, v1alpha1.ReasonServerUnreachable)
		for attempt := range 3 {
			f := w.get().Status.Failure
			Expect(f).To(HaveValue(And(HaveField("Step", string(lifecycle.StepProbe)),
				HaveField("Attempts", BeEquivalentTo(attempt+1)))))
			Expect(w.tries()).To(Equal(attempt + 1))
			w.restart()
			w.reconcile()
			w.clock.SetTime(f.RetryAt.Time)
			w.reconcile()
		}
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.untilRefresh()
		w.reconcile()
		kept := w.secret()[v1alpha1.KeyAccessToken] == token
		Expect(kept).To(BeFalse(), "the outage stopped the refresh")
		w.server.Handle(oauthtest.MCPPath, nil)
		w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		w.reconcile()
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().Status.Failure).To(BeNil())
	})

	It("of a suspended connection is not made", func() {
		w := connected()
		w.every(time.Minute)
		w.edit(func(c *v1alpha1.MCPConnection) { suspend := true; c.Spec.Suspend = &suspend })
		tries := w.tries()
		w.clock.SetTime(w.clock.Now().Add(time.Hour / 2))
		w.reconcile()
		Expect(w.tries()).To(Equal(tries))
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = nil })
		Expect(w.tries()).To(Equal(tries+1), "probes once it goes on")
	})

	It("of a public server is made without a token", func() {
		w := newWorld(func(c *oauthtest.Config) { c.Public = true })
		w.apply(func(c *v1alpha1.MCPConnection) {
			c.Spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Minute}}
		})
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
		Expect(w.tries()).To(BeZero(), "a token was sent")
		Expect(w.get().Status.Server).To(HaveField("Name", "oauthtest"))
		w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	})

	It("of a token that is bound to a key is made with proofs", Label("security"), func() {
		w := newWorld(func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, "n-1" })
		w.apply()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		for _, r := range w.server.Requests() {
			bearer := strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")
			Expect(bearer).To(BeFalse(), "%s %s was sent with a bearer token", r.Method, r.Path)
		}
	})

	It("of the next token of a non-interactive grant is not made", func() {
		w := newWorld()
		w.registerByHand(firstSecret, "")
		w.keepCredentials(firstSecret)
		w.apply(w.clientCredentials)
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRefresh()
		w.reconcile()
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2))
		Expect(w.tries()).To(Equal(1))
	})

	It("satisfies a server that begins to demand DPoP", func() {
		w := connected()
		w.every(time.Minute)
		w.server.Configure(func(c *oauthtest.Config) { c.DPoP = true })
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		secret := w.secret()
		Expect(secret[v1alpha1.KeyTokenType]).To(Equal("DPoP"))
		keyed := secret[v1alpha1.KeyDPoPJWK] != ""
		Expect(keyed).To(BeTrue(), "no key is published with the token")
	})
})

var _ = Describe("A probe that gets a 401", func() {
	It("leads to a refresh alone, where that helps", func() {
		w := newWorld()
		w.apply()
		first := ""
		w.tokenTried(func(rw http.ResponseWriter, r *http.Request) {
			if first == "" {
				first = r.Header.Get("Authorization")
			}
			if r.Header.Get("Authorization") == first {
				rw.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.server.Handle(oauthtest.MCPPath, nil)
			rw.WriteHeader(http.StatusNotFound) // server/discover is not known; initialize follows
		})
		discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.tries()).To(Equal(2))
		Expect(w.server.Count(oauthtest.ResourceMetadataPath)).To(Equal(discoveries), "the server was discovered again")
	})

	It("of a server that moved leads to the new authorization server", func() {
		w := connected()
		w.every(time.Minute)
		other := w.migrated()
		w.server.RevokeGrants()
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		Expect(other.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken])).To(BeTrue(), "the token is not the new server's")
	})

	It("of a non-interactive grant asks for one token", func(ctx SpecContext) {
		w := newWorld()
		w.registerByHand(firstSecret, "")
		w.keepCredentials(firstSecret)
		w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
		w.apply(w.clientCredentials)
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
		w.later(time.Minute) // the same token is tried once more
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2))
		Expect(w.tries()).To(Equal(3))
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		held, err := w.r.Store.Get(ctx, w.get().UID)
		Expect(err).NotTo(HaveOccurred())
		Expect(held.Grants[0].Probe.Wants).To(Equal(credential.WantsNothing))
	})
})

var _ = Describe("A probe that ended its process", func() {
	DescribeTable("is not made again at once:", func(before func(w *world)) {
		w := newWorld()
		before(w)
		w.dieWhenTried()
		tried := w.tries()
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		for range 3 {
			w.restart()
			w.reconcile()
		}
		Expect(w.tries()).To(Equal(tried), "the server was tried after restarts")
		w.clock.SetTime(w.clock.Now().Add(lifecycle.ProbeRest))
		w.reconcile()
		w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.tries()).To(Equal(tried+1), "the server was not tried once after the rest")
	},
		Entry("the first of a grant", func(w *world) {
			w.apply()
			w.open(w.get().Status.AuthorizationURL)
		}),
		Entry("one at the interval", func(w *world) {
			w.apply()
			w.consent()
			w.every(time.Minute)
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
		}),
		Entry("one after a failure", func(w *world) {
			w.apply()
			w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
			w.consent()
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		}),
	)
})

// dieWhenTried ends a reconcile while the server is tried, before anything else is written.
func (w *world) dieWhenTried() {
	GinkgoHelper()
	ctx, die := context.WithCancel(w.ctx)
	defer die()
	w.tokenTried(func(http.ResponseWriter, *http.Request) { die() })
	_, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: w.key})
	Expect(err).NotTo(HaveOccurred())
	Expect(ctx.Err()).To(HaveOccurred(), "the server was not tried")
	w.server.Handle(oauthtest.MCPPath, nil)
}

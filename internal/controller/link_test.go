package controller

import (
	"encoding/json"
	"net/http"
	"net/url"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// withQuery has the metadata name an authorization endpoint with a query; none if it is empty.
func (w *world) withQuery(query string) {
	endpoint := w.server.URL + oauthtest.AuthorizePath
	if query != "" {
		endpoint += "?" + query
	}
	w.server.Handle(w.server.MetadataPath(), func(rw http.ResponseWriter, _ *http.Request) {
		md := w.server.Metadata()
		md["authorization_endpoint"] = endpoint
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(md)
	})
}

// retried reconciles when the failed step is tried again.
func (w *world) retried() {
	GinkgoHelper()
	w.untilRetry()
	w.reconcile()
}

func (w *world) wantNoLink() {
	GinkgoHelper()
	Expect(w.offersLink()).To(BeFalse(), "a link is offered")
	held, err := w.r.Store.Get(w.ctx, w.get().UID)
	Expect(err).NotTo(HaveOccurred())
	stored := held != nil && held.Authorization.Offer != nil
	Expect(stored).To(BeFalse(), "an offer is stored")
}

func prompting(c *v1alpha1.MCPConnection) {
	c.Spec.Compatibility = &v1alpha1.CompatibilitySpec{AuthorizationParameters: map[string]v1alpha1.ParameterValue{
		"prompt": "consent"}}
}

var _ = DescribeTable("A link that cannot work is not offered:",
	func(query, says string, spec ...func(*v1alpha1.MCPConnection)) {
		w := newWorld()
		w.withQuery(query)
		w.apply(spec...)
		w.want(v1alpha1.ConditionDiscovered, isFalse, v1alpha1.ReasonInvalidMetadata)
		w.want(ready, isFalse, v1alpha1.ReasonInvalidMetadata)
		Expect(meta.FindStatusCondition(w.get().Status.Conditions, ready).Message).To(ContainSubstring(says))
		w.wantNoLink()
		Expect(w.server.Count(oauthtest.RegisterPath)).To(BeZero(), "clients that are registered for it")
		first := w.get().Status.Failure.RetryAt
		w.retried()
		f := w.get().Status.Failure
		Expect(f.Attempts).To(BeEquivalentTo(2))
		Expect(f.RetryAt.Sub(first.Time)).To(BeNumerically(">", lifecycle.FirstRecheck), "the recheck does not back off")
		w.withQuery("")
		w.retried()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	},
	Entry("another resource", "resource=https://other.example/mcp", "spec.compatibility.resource.mode"),
	Entry("a state", "state=x", "the parameter state"),
	Entry("a prompt", "prompt=login", "remove it from spec.compatibility.authorizationParameters", prompting),
	Entry("another challenge", "code_challenge_method=plain", "the parameter code_challenge_method"),
)

var _ = Describe("An authorization endpoint that says the same", func() {
	It("is not told again", func() {
		w := newWorld()
		w.withQuery("tenant=a&prompt=consent&" + url.Values{"resource": {w.server.MCPURL()}}.Encode())
		w.apply(prompting)
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent() // the server refuses a query that repeats a parameter
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A link for another client", func() {
	It("is not offered", func() {
		w := newWorld()
		w.withQuery("client_id=somebody-else")
		w.apply()
		w.want(authorized, isFalse, v1alpha1.ReasonInvalidMetadata)
		w.want(ready, isFalse, v1alpha1.ReasonInvalidMetadata)
		w.wantNoLink()
		for range 3 {
			w.retried()
		}
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "clients that are registered for it")
		Expect(w.get().Status.Failure.Attempts).To(BeEquivalentTo(4))
		w.withQuery("")
		w.retried()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A token", func() {
	It("keeps being refreshed where no link can work", func() {
		w := connected()
		w.withQuery("state=x")
		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.want(v1alpha1.ConditionDiscovered, isFalse, v1alpha1.ReasonInvalidMetadata)
		w.wantNoLink()
		before := w.secret()[v1alpha1.KeyAccessToken]
		w.untilRefresh()
		w.reconcile()
		Expect(w.holdsToken(before)).To(BeFalse(), "the token was not refreshed")
		Expect(meta.FindStatusCondition(w.get().Status.Conditions, ready)).To(HaveField("Status", isTrue))
	})
})

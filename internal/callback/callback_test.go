package callback

import (
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// response is the response that is recorded.
func (f *fixture) response() *credential.Response {
	GinkgoHelper()
	r := f.credential().Authorization.Response
	Expect(r).NotTo(BeNil(), "no response is recorded")
	return r
}

var _ = Describe("An authorization response", Label("security"), func() {
	It("is recorded, and the address bar holds no code", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		w := b.answer(state, "code", "code-1")
		expect(f, w, http.StatusSeeOther)
		Expect(w.Header().Get("Location")).To(Equal("/connect/" + f.ticket))
		r, a := f.response(), f.credential().Authorization
		Expect(r.Code).To(Equal("code-1"))
		Expect(r.Reason).To(BeEmpty())
		Expect(r.Request.State).To(Equal(state))
		Expect(r.ReceivedAt).To(BeTemporally("==", f.now))
		Expect(a.Revision).To(BeEquivalentTo(1))
		Expect(a.Requests).To(BeEmpty())
		Expect(a.Offer).NotTo(BeNil())
		Expect(f.secret().Annotations).To(HaveKeyWithValue(credential.AnnotationRevision, "1"), "nobody wakes the reconciler")
	})

	DescribeTable("with an unknown state is 400 and costs no call:", func(state func(*fixture) string) {
		f := newFixture()
		before := f.reads.Load()
		w := f.browser().answer(state(f), "code", "c")
		expect(f, w, http.StatusBadRequest)
		Expect(w.Body.String()).NotTo(ContainSubstring("alert"))
		Expect(f.reads.Load()).To(Equal(before))
	},
		Entry("missing", func(*fixture) string { return "" }),
		Entry("words", func(*fixture) string { return "hello" }),
		Entry("another connection", func(*fixture) string { return credential.NewTicket(otherUID) }),
		Entry("very long", func(f *fixture) string { return credential.NewTicket(f.uid) + strings.Repeat("a", 300) }),
		Entry("markup", func(*fixture) string { return "<script>alert(1)</script>" }),
	)

	It("with a state that was made up, or with the ticket, is 400 and changes nothing", func() {
		f := newFixture()
		f.unchanged(func() {
			expect(f, f.browser().answer(credential.NewTicket(f.uid), "code", "c"), http.StatusBadRequest)
			expect(f, f.browser().answer(f.ticket, "code", "c"), http.StatusBadRequest)
		})
	})

	It("to a request that has expired is 400", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.now = f.now.Add(credential.RequestLifetime)
		f.unchanged(func() { expect(f, b.answer(state, "code", "c"), http.StatusBadRequest) })
	})

	It("in another browser is 403 and changes nothing", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		stranger := f.browser()
		stranger.begin()
		f.unchanged(func() {
			expect(f, f.browser().answer(state, "code", "c"), http.StatusForbidden)
			expect(f, stranger.answer(state, "code", "c"), http.StatusForbidden)
			broken := &browser{f: f, from: "192.0.2.1:1234", cookie: &http.Cookie{Name: cookieSecure, Value: "short"}}
			expect(f, broken.answer(state, "code", "c"), http.StatusForbidden)
			plain := &browser{f: f, from: "192.0.2.1:1234", cookie: &http.Cookie{Name: cookiePlain, Value: b.cookie.Value}}
			expect(f, plain.answer(state, "code", "c"), http.StatusForbidden)
		})
		expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
		expect(f, stranger.answer(state, "code", "c"), http.StatusForbidden)
	})

	It("that is repeated gets the same answer and changes nothing", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		first := b.answer(state, "code", "c")
		repeat := func() {
			GinkgoHelper()
			f.unchanged(func() {
				w := b.answer(state, "code", "c")
				expect(f, w, http.StatusSeeOther)
				Expect(w.Header().Get("Location")).To(Equal(first.Header().Get("Location")))
			})
		}
		repeat()
		f.finish("", "")
		repeat()
	})

	It("with the first code ends the other tabs", func() {
		f := newFixture()
		b := f.browser()
		first, second := b.begin(), b.begin()
		expect(f, b.answer(second, "code", "c2"), http.StatusSeeOther)
		f.unchanged(func() { expect(f, b.answer(first, "code", "c1"), http.StatusBadRequest) })
	})

	It("does not replace a code that may be on the wire", func() {
		f := newFixture()
		b, late := f.browser(), f.browser()
		expect(f, b.answer(b.begin(), "code", "c1"), http.StatusSeeOther)
		state := late.begin()
		f.unchanged(func() { expect(f, late.answer(state, "code", "c2"), http.StatusConflict) })
		f.finish("CodeRejected", "")
		expect(f, late.answer(state, "code", "c2"), http.StatusSeeOther)
	})

	It("that refuses leaves the other tabs", func() {
		f := newFixture()
		b := f.browser()
		first, second := b.begin(), b.begin()
		expect(f, b.answer(first, "error", "access_denied", "error_description", "not <today>\u0007"), http.StatusSeeOther)
		r := f.response()
		Expect(r.Code).To(BeEmpty())
		Expect(r.Reason).To(Equal(v1alpha1.ReasonAccessDenied))
		Expect(r.Message).To(And(ContainSubstring("not <today>"), Not(ContainSubstring("\u0007"))))
		expect(f, b.answer(second, "code", "c"), http.StatusSeeOther)
		Expect(f.response().Code).To(Equal("c"), "the second tab's")
	})

	DescribeTable("of a foreign issuer is 400 and reported without its text:", func(query ...string) {
		f := newFixture()
		b := f.browser()
		w := b.answer(b.begin(), query...)
		expect(f, w, http.StatusBadRequest)
		r := f.response()
		Expect(r.Code).To(BeEmpty())
		Expect(r.Reason).To(Equal(v1alpha1.ReasonIssuerParameterMismatch))
		for _, text := range []string{"555", "evil", "stolen"} {
			Expect(w.Body.String()).NotTo(ContainSubstring(text))
			Expect(r.Message).NotTo(ContainSubstring(text))
		}
		f.finish(r.Reason, r.Message)
		expect(f, b.open(), http.StatusOK, "is not connected", "did not come from the authorization server")
	},
		Entry("another issuer", "iss", "https://evil.example", "code", "stolen-code"),
		Entry("another issuer's error text", "iss", "https://evil.example", "error", "server_error", "error_description",
			"call 555-1234"),
		Entry("a slash more", "iss", issuer+"/", "code", "stolen-code"),
	)

	It("without an issuer is 400 where the server promises it, and only there", func() {
		f := newFixture()
		b := f.browser()
		expect(f, b.get("/oauth/callback?code=c&state="+b.begin()), http.StatusBadRequest)
		Expect(f.response().Reason).To(Equal(v1alpha1.ReasonIssuerParameterMismatch))
		f = newFixture(withBinding(func(b *credential.Binding) { b.IssParameterSupported = false }))
		b = f.browser()
		expect(f, b.get("/oauth/callback?code=c&state="+b.begin()), http.StatusSeeOther)
	})

	It("that is malformed is 400 and uses nothing up", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		good := "state=" + state + "&iss=" + issuer + "&code=c"
		f.unchanged(func() {
			for name, query := range map[string]string{
				"two codes":              good + "&code=d",
				"two states":             good + "&state=" + state,
				"two issuers":            good + "&iss=" + issuer,
				"two errors":             "state=" + state + "&iss=" + issuer + "&error=a&error=b",
				"neither code nor error": "state=" + state + "&iss=" + issuer,
				"a very long code":       "state=" + state + "&iss=" + issuer + "&code=" + strings.Repeat("x", maxCode+1),
				"broken escapes":         good + "&x=%zz",
				"semicolons":             good + ";x=1",
			} {
				Expect(b.get("/oauth/callback?"+query).Code).To(Equal(http.StatusBadRequest), name)
			}
		})
		expect(f, b.get("/oauth/callback?"+good), http.StatusSeeOther)
	})

	It("with a long error text is cut", func() {
		f := newFixture()
		b := f.browser()
		expect(f, b.answer(b.begin(), "error", "access_denied", "error_description", strings.Repeat("long ", 2000)),
			http.StatusSeeOther)
		Expect(len([]rune(f.response().Message))).To(BeNumerically("<=", maxMessage))
	})

	It("by HEAD, or fetched in advance, changes nothing", func() {
		f := newFixture()
		b := f.browser()
		target := "/oauth/callback?code=c&iss=" + issuer + "&state=" + b.begin()
		f.unchanged(func() {
			expect(f, b.do(http.MethodHead, target, ""), http.StatusOK)
			for _, purpose := range []string{"prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip"} {
				expect(f, b.get(target, "Sec-Purpose", purpose), http.StatusServiceUnavailable)
			}
			expect(f, b.get(target, "Purpose", "prefetch"), http.StatusServiceUnavailable)
			expect(f, b.get(target, "X-Moz", "prefetch"), http.StatusServiceUnavailable)
		})
		expect(f, b.get(target), http.StatusSeeOther)
	})

	It("loses nothing to a reconciler that writes at the same time, nor the reconciler to it", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.onUpdate = func() error {
			f.onUpdate = nil
			f.reconcile(func(c *credential.Credential) {
				c.PutGrant(credential.Grant{Binding: credential.Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: issuer},
					AccessToken: "at", RefreshToken: "rt-2"})
			})
			return nil
		}
		expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
		Expect(f.response().Code).To(Equal("c"))
		grants := f.credential().Grants
		Expect(grants).To(HaveLen(1))
		Expect(grants[0].RefreshToken).To(Equal("rt-2"))
	})

	It("that was written though the answer of the API server was lost is a repeat", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.onUpdate = func() error {
			f.onUpdate = nil
			f.reconcile(func(c *credential.Credential) {
				r, err := c.Authorization.PendingRequest(state, credential.Hash(b.cookie.Value), f.now)
				f.must(err)
				c.Authorization.Record(credential.Response{Request: *r, Code: "c", ReceivedAt: f.now})
			})
			return apierrors.NewTimeoutError("the server was too slow", 1)
		}
		expect(f, b.answer(state, "code", "c"), http.StatusServiceUnavailable)
		f.unchanged(func() { expect(f, b.answer(state, "code", "c"), http.StatusSeeOther) })
	})
})

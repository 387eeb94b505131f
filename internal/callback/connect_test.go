package callback

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/internal/credential"
)

// post presses the button of the start page.
func (b *browser) post(headers ...string) *httptest.ResponseRecorder {
	b.f.Helper()
	return b.do(http.MethodPost, "/connect/"+b.f.ticket, "", headers...)
}

var _ = Describe("The start page", func() {
	It("says what will be authorized, and consumes nothing", func() {
		f := newFixture()
		f.unchanged(func() {
			for range 3 {
				w := f.browser().open()
				expect(f, w, http.StatusOK, "team-a/files", "https://mcp.example.com/mcp", issuer, "files:read", "files:write",
					`<form method="post">`, "Continue to auth.example.com", "3 November 2026, 09:00 UTC", `<html lang="en">`,
					"<title>Connect team-a/files</title>")
				Expect(w.Body.String()).NotTo(ContainSubstring("hidden"), "the query of the server URL")
				Expect(w.Result().Cookies()).To(BeEmpty(), "of opening the link")
			}
		})
	})

	It("escapes a hostile text", Label("security"), func() {
		evil := []string{"<script>evil()</script>", `"><img/src=x/onerror=evil()>`, "</dl><form/action=//evil>"}
		f := newFixture(withBinding(func(b *credential.Binding) {
			b.Scopes, b.Issuer, b.ServerURL = evil, issuer+"/"+evil[0], "https://mcp.example.com/"+evil[1]
		}))
		w := f.browser().open()
		expect(f, w, http.StatusOK, "&lt;script&gt;evil()&lt;/script&gt;")
		for _, text := range []string{"<script", "<img", "//evil>"} {
			Expect(w.Body.String()).NotTo(ContainSubstring(text))
		}
	})

	It("has the same answer for HEAD, and no body", func() {
		f := newFixture()
		f.unchanged(func() {
			w := f.browser().do(http.MethodHead, "/connect/"+f.ticket, "")
			expect(f, w, http.StatusOK)
			Expect(w.Body.Len()).To(BeZero())
			expect(f, f.browser().do(http.MethodHead, "/connect/nothing", ""), http.StatusNotFound)
		})
	})

	// What a server wrote is no fault of the operator: nobody sees a 500, nothing is begun, and no button leads there.
	DescribeTable("tells of an authorization request that cannot be built, and stores nothing, if the endpoint is",
		func(change func(*credential.Binding)) {
			f := newFixture(withBinding(change))
			f.unchanged(func() {
				b := f.browser()
				for _, w := range []*httptest.ResponseRecorder{b.open(), b.post(),
					b.do(http.MethodHead, "/connect/"+f.ticket, "")} {
					expect(f, w, http.StatusConflict)
					Expect(w.Body.String()).NotTo(ContainSubstring("<form"))
					Expect(w.Header()).NotTo(HaveKey("Location"))
				}
				w := b.open()
				expect(f, w, http.StatusConflict, "This link leads nowhere", "Details:", "kubectl describe mcpc -n team-a files")
				Expect(w.Body.String()).NotTo(ContainSubstring("<b>"), "markup of a server")
				Expect(f.audits.String()).To(BeEmpty())
			})
		},
		Entry("no URL", func(b *credential.Binding) { b.AuthorizationEndpoint = "nonsense" }),
		Entry("nothing", func(b *credential.Binding) { b.AuthorizationEndpoint = "" }),
		Entry("broken escapes", func(b *credential.Binding) { b.AuthorizationEndpoint = issuer + "/%zz" }),
		Entry("a script", func(b *credential.Binding) { b.AuthorizationEndpoint = "javascript:alert(1)//" }),
		Entry("a person in the URL",
			func(b *credential.Binding) { b.AuthorizationEndpoint = "https://a:b@auth.example.com/authorize" }),
		Entry("a fragment", func(b *credential.Binding) { b.AuthorizationEndpoint += "#x" }),
		Entry("another state", func(b *credential.Binding) { b.AuthorizationEndpoint += "?state=x" }),
		Entry("another resource", func(b *credential.Binding) {
			b.AuthorizationEndpoint += "?resource=https://other.example.com/<b>"
		}),
		Entry("another prompt", func(b *credential.Binding) {
			b.AuthorizationEndpoint += "?prompt=login"
			b.Parameters = map[string]string{"prompt": "none"}
		}),
		Entry("a protocol parameter of the spec's",
			func(b *credential.Binding) { b.Parameters = map[string]string{"state": "x"} }),
	)
})

var _ = Describe("A ticket", Label("security"), func() {
	DescribeTable("that is unknown is 404 and costs no call:", func(ticket func(*fixture) string) {
		f := newFixture()
		before := f.reads.Load()
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			expect(f, f.browser().do(method, "/connect/"+ticket(f), ""), http.StatusNotFound)
		}
		Expect(f.reads.Load()).To(Equal(before))
	},
		Entry("empty", func(*fixture) string { return "" }),
		Entry("words", func(*fixture) string { return "hello" }),
		Entry("a path", func(f *fixture) string { return f.ticket + "/more" }),
		Entry("another connection", func(*fixture) string { return credential.NewTicket(otherUID) }),
		Entry("upper case", func(f *fixture) string { return strings.ToUpper(f.ticket) }),
		Entry("very long", func(*fixture) string { return strings.Repeat("a", 8000) }),
		Entry("not even ASCII", func(*fixture) string { return "%E2%80%AE%00" }),
	)

	It("with the right UID and wrong bits is 404", func() {
		f := newFixture()
		expect(f, f.browser().get("/connect/"+credential.NewTicket(f.uid)), http.StatusNotFound)
	})

	It("that has expired is 410", func() {
		f := newFixture()
		f.now = f.now.Add(credential.TicketLifetime)
		f.unchanged(func() {
			expect(f, f.browser().open(), http.StatusGone, "status.authorizationURL")
			expect(f, f.browser().post(), http.StatusGone)
		})
	})

	It("that was replaced is 410, and the new one works", func() {
		f := newFixture()
		next := credential.NewTicket(f.uid)
		f.reconcile(func(c *credential.Credential) {
			o := *c.Authorization.Offer
			o.Ticket = next
			c.Authorization.Replace(o)
		})
		expect(f, f.browser().open(), http.StatusGone)
		expect(f, f.browser().post(), http.StatusGone)
		expect(f, f.browser().get("/connect/"+next), http.StatusOK)
	})

	It("that is replaced between read and write is 410", func() {
		f := newFixture()
		f.onUpdate = func() error {
			f.onUpdate = nil
			f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
			return nil
		}
		expect(f, f.browser().post(), http.StatusGone)
		Expect(f.credential().Authorization.Requests).To(BeEmpty())
	})
})

var _ = Describe("A POST of the start page", Label("security"), func() {
	It("begins one request and goes to the authorization server", func() {
		f := newFixture()
		b := f.browser()
		w := b.post("Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded")
		expect(f, w, http.StatusSeeOther)
		location := w.Header().Get("Location")
		a := f.credential().Authorization
		Expect(a.Requests).To(HaveLen(1))
		Expect(a.Offer).NotTo(BeNil())
		Expect(a.Revision).To(BeZero())
		r := a.Requests[0]
		Expect(location).To(And(
			ContainSubstring(issuer+"/authorize?"), ContainSubstring("state="+r.State),
			ContainSubstring("code_challenge_method=S256"),
			ContainSubstring("resource=https%3A%2F%2Fmcp.example.com%2Fmcp"),
			ContainSubstring("scope=files%3Aread+files%3Awrite")))
		Expect(r.Ticket).To(Equal(f.ticket))
		Expect(r.Binding.Issuer).To(Equal(issuer))
		Expect(r.CodeVerifier).NotTo(BeEmpty())
		Expect(r.ExpiresAt).To(BeTemporally("==", f.now.Add(credential.RequestLifetime)))
		Expect(r.BrowserHash).To(Equal(credential.Hash(b.cookie.Value)))
		Expect(location).NotTo(ContainSubstring(b.cookie.Value), "the cookie's value leaves for the authorization server")
	})

	It("from a foreign page is 403", func() {
		f := newFixture()
		before := f.reads.Load()
		f.unchanged(func() {
			for name, headers := range map[string][]string{
				"cross-site":               {"Sec-Fetch-Site", "cross-site"},
				"same-site is not ours":    {"Sec-Fetch-Site", "same-site"},
				"origin of an old browser": {"Origin", "https://evil.example"},
				"opaque origin":            {"Origin", "null"},
			} {
				Expect(f.browser().post(headers...).Code).To(Equal(http.StatusForbidden), name)
			}
		})
		Expect(f.reads.Load()).To(Equal(before+2), "only those of unchanged")
		// Behind a proxy that changes the Host header, an old browser's Origin is still ours.
		expect(f, f.browser().post("Origin", externalURL), http.StatusSeeOther)
	})

	It("with a body is 400", func() {
		f := newFixture()
		f.unchanged(func() {
			for _, body := range []string{"x", "ticket=other&state=chosen", strings.Repeat("a", 1<<20)} {
				expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, body), http.StatusBadRequest)
			}
		})
	})

	It("is one of at most five requests, and the oldest goes", func() {
		f := newFixture()
		b := f.browser()
		states := make([]string, 0, 6)
		for range 6 {
			states = append(states, b.begin())
			f.now = f.now.Add(time.Second)
		}
		Expect(f.credential().Authorization.Requests).To(HaveLen(credential.MaxRequests))
		f.unchanged(func() { expect(f, b.answer(states[0], "code", "c"), http.StatusBadRequest) })
		expect(f, b.answer(states[1], "code", "c"), http.StatusSeeOther)
	})

	It("survives the conflict with that of another browser, as does the other", func() {
		f := newFixture()
		other := f.browser()
		f.onUpdate = func() error {
			f.onUpdate = nil
			other.begin()
			return nil
		}
		b := f.browser()
		state := b.begin()
		Expect(f.credential().Authorization.Requests).To(HaveLen(2))
		expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
	})
})

var _ = Describe("A connection", func() {
	It("that is suspended takes no consent", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.suspend()
		f.unchanged(func() {
			expect(f, b.open(), http.StatusConflict, "suspended")
			expect(f, b.post(), http.StatusConflict, "suspended")
			expect(f, b.answer(state, "code", "c"), http.StatusConflict, "suspended")
		})
		// Only who holds the link learns of it.
		expect(f, f.browser().get("/connect/"+credential.NewTicket(f.uid)), http.StatusNotFound)
	})

	It("that is deleted takes no consent", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.must(f.client.Delete(f.Context(), f.connection())) // the finalizer holds it
		f.unchanged(func() {
			expect(f, b.open(), http.StatusGone, "deleted")
			expect(f, b.post(), http.StatusGone)
			expect(f, b.answer(state, "code", "c"), http.StatusBadRequest)
		})
		f.release()
		expect(f, b.open(), http.StatusGone)
	})
})

var _ = Describe("An API server that cannot be reached", func() {
	down := func() error { return errors.New("dial tcp: connection refused") }
	// unavailable checks answers that are 503 with a time to come back.
	unavailable := func(f *fixture, answers ...*httptest.ResponseRecorder) {
		GinkgoHelper()
		for _, w := range answers {
			expect(f, w, http.StatusServiceUnavailable)
			Expect(w.Header()).To(HaveKey("Retry-After"))
		}
	}

	It("for reads is 503 with Retry-After, and nothing is used up", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.onRead = down
		unavailable(f, b.open(), b.post(), b.answer(state, "code", "c"))
		f.onRead = nil
		expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
	})

	It("for writes is 503 with Retry-After, and nothing is used up", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		f.onUpdate = down
		unavailable(f, b.post(), b.answer(state, "code", "c"))
		f.onUpdate = nil
		expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
	})
})

var _ = Describe("The outcome page", func() {
	It("is that of its browser: another sees the start page while the response is pending, and 410 after success", func() {
		f := newFixture()
		b, other := f.browser(), f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		expect(f, other.open(), http.StatusOK, `<form method="post">`)
		f.finish("", "")
		expect(f, b.open(), http.StatusOK, "is connected")
		expect(f, other.open(), http.StatusGone)
		expect(f, b.post(), http.StatusGone)
		f.suspend()
		expect(f, b.open(), http.StatusOK, "is connected")
	})

	It("shows a failure to its browser only, and the consent may be tried again", func() {
		f := newFixture()
		b, begun := f.browser(), f.browser()
		begun.begin() // it has a cookie of its own
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		f.finish("CodeRejected", "invalid_grant: <b>no</b>\u202e")
		expect(f, b.open(), http.StatusOK, "is not connected", "did not accept its own answer",
			"invalid_grant: &lt;b&gt;no&lt;/b&gt;<", `<form method="post">`, "Try again at")
		for _, other := range []*browser{f.browser(), begun} {
			w := other.open()
			expect(f, w, http.StatusOK, "Continue to")
			Expect(w.Body.String()).NotTo(ContainSubstring("invalid_grant"))
		}
		expect(f, b.answer(b.begin(), "code", "c2"), http.StatusSeeOther)
		f.finish("", "")
		expect(f, b.open(), http.StatusOK, "is connected")
	})

	It("says so if a failure is on a link that has ended", func() {
		f := newFixture()
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		f.finish("TokenRequestRejected", "invalid_client")
		f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
		w := b.open()
		expect(f, w, http.StatusGone, "refused to issue a token", "This link has ended")
		Expect(w.Body.String()).NotTo(ContainSubstring("<form"))
	})
})

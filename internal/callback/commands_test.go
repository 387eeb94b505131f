package callback

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/internal/credential"
)

var shownCode = regexp.MustCompile(`<pre><code>([^<]*)</code></pre>`)

var _ = Describe("A command on a page", func() {
	const link = `kubectl get mcpc -n team-a files -o jsonpath='{.status.authorizationURL}{"\n"}'`

	// It names the connection and its namespace.
	DescribeTable("works as it is pasted, for", func(visit func(*fixture) *httptest.ResponseRecorder, want string) {
		w := visit(newFixture())
		found := shownCode.FindStringSubmatch(w.Body.String())
		Expect(found).To(HaveLen(2), "the page shows no command:\n%s", w.Body)
		Expect(html.UnescapeString(found[1])).To(Equal(want))
	},
		Entry("a link that was replaced", func(f *fixture) *httptest.ResponseRecorder {
			f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
			return f.browser().open()
		}, link),
		Entry("a link that has expired", func(f *fixture) *httptest.ResponseRecorder {
			f.now = f.now.Add(credential.TicketLifetime)
			return f.browser().post()
		}, link),
		Entry("a failure on a link that has ended", func(f *fixture) *httptest.ResponseRecorder {
			b := f.browser()
			expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
			f.finish("TokenRequestRejected", "invalid_client")
			f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
			return b.open()
		}, link),
		Entry("an answer from somewhere else", func(f *fixture) *httptest.ResponseRecorder {
			b := f.browser()
			return b.answer(b.begin(), "iss", "https://evil.example", "code", "c")
		}, "kubectl describe mcpc -n team-a files"),
		Entry("a person who may not consent", func(f *fixture) *httptest.ResponseRecorder {
			behindProxy(&f.server.o, nil)
			return f.person("mallory").post()
		}, "kubectl create role authorize-files -n team-a --verb=authorize --resource=mcpconnections.mcp-connection.dev "+
			"--resource-name=files"),
	)

	It("is not shown for a guessed ticket, which names no connection", Label("security"), func() {
		f := newFixture()
		w := f.browser().get("/connect/" + credential.NewTicket(f.uid))
		expect(f, w, http.StatusNotFound)
		Expect(w.Body.String()).NotTo(Or(ContainSubstring("team-a"), MatchRegexp(shownCode.String())))
	})

	// It has no current link to show.
	It("is not shown for a replaced link of a connection that was deleted", func() {
		f := newFixture()
		f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
		f.must(f.client.Delete(f.Context(), f.connection()))
		w := f.browser().open()
		expect(f, w, http.StatusGone, "The connection was deleted")
		Expect(w.Body.String()).NotTo(MatchRegexp(shownCode.String()))
	})
})

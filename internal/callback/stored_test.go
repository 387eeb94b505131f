package callback

import (
	"context"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

var _ = Describe("A credential Secret that pages must not use", Label("security"), func() {
	It("is unknown without its label", func() {
		f := newFixture()
		f.editSecret(func(labels, _ map[string]string, _ map[string][]byte) { labels[v1alpha1.LabelSecretType] = "token" })
		expect(f, f.browser().open(), http.StatusNotFound)
	})

	It("is unknown if it is of another connection", func() {
		f := newFixture()
		f.editSecret(func(_, annotations map[string]string, _ map[string][]byte) {
			annotations[credential.AnnotationUID] = "other"
		})
		expect(f, f.browser().open(), http.StatusNotFound)
	})

	It("is the operator's to mend if it is broken", func() {
		f := newFixture()
		f.editSecret(func(_, _ map[string]string, data map[string][]byte) { data["authorization"] = []byte("{secret") })
		w := f.browser().open()
		expect(f, w, http.StatusInternalServerError)
		Expect(f.logs.String() + w.Body.String()).NotTo(ContainSubstring("{secret"))
	})

	It("has lost its connection if there is another object of that name", func() {
		f := newFixture()
		f.remake()
		expect(f, f.browser().open(), http.StatusGone)
	})
})

var _ = Describe("The log of the pages", Label("security"), func() {
	It("holds nothing secret", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		secrets := []string{f.ticket, state, "code-1", b.cookie.Value, "hunter2", issuer}
		b.get("/connect/" + f.ticket + "?password=hunter2")
		b.answer(state, "code", "code-1")
		b.do("BREW-hunter2", "/connect/"+f.ticket, "")
		f.onRead = func() error { return context.DeadlineExceeded }
		b.open()
		for _, secret := range secrets {
			Expect(f.logs.String()).NotTo(ContainSubstring(secret))
		}
		for _, want := range []string{`"route"="/connect/{ticket}"`, `"route"="/oauth/callback"`, `"status"=303`,
			`"connection"="team-a/files"`, `"method"="other"`} {
			Expect(f.logs.String()).To(ContainSubstring(want))
		}
	})
})

var _ = Describe("The prefix of the external URL", func() {
	It("is honoured", func() {
		f := newFixture(withExternalURL(externalURL + "/mcp"))
		b := f.browser()
		expect(f, b.open(), http.StatusNotFound)
		expect(f, b.get("/mcpx/connect/"+f.ticket), http.StatusNotFound)
		expect(f, b.get("/mcp/connect/"+f.ticket), http.StatusOK)
		expect(f, b.do(http.MethodPost, "/mcp/connect/"+f.ticket, ""), http.StatusSeeOther)
		state := f.credential().Authorization.Requests[0].State
		w := b.get("/mcp/oauth/callback?code=c&iss=" + issuer + "&state=" + state)
		expect(f, w, http.StatusSeeOther)
		Expect(w.Header().Get("Location")).To(Equal("/mcp/connect/" + f.ticket))
	})
})

var _ = Describe("The cookie", Label("security"), func() {
	DescribeTable("is the contract's for", func(external, want string) {
		f := newFixture(withExternalURL(external))
		b := f.browser()
		post := func() string {
			GinkgoHelper()
			w := b.do(http.MethodPost, f.server.prefix+"/connect/"+f.ticket, "")
			expect(f, w, http.StatusSeeOther)
			return w.Header().Get("Set-Cookie")
		}
		set := post()
		Expect(strings.Replace(set, b.cookie.Value, "VALUE", 1)).To(Equal(want))
		value := b.cookie.Value
		post()
		Expect(b.cookie.Value).To(Equal(value), "a second flow changed the browser's value")
		b.cookie.Value = "chosen-by-somebody"
		post()
		Expect(b.cookie.Value).To(HaveLen(43), "a malformed value was kept")
	},
		Entry("https", externalURL, "__Host-mcp-connection=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"),
		Entry("https and a path", externalURL+"/mcp/", "__Host-mcp-connection=VALUE; Path=/; HttpOnly; Secure; SameSite=Lax"),
		Entry("http on loopback", "http://localhost:8082", "mcp-connection=VALUE; Path=/; HttpOnly; SameSite=Lax"),
	)
})

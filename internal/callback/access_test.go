package callback

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/mcp-connection/operator/internal/credential"
)

var _ = Describe("A person behind an authenticating proxy", Label("security"), func() {
	It("who is permitted consents, and is recorded", func() {
		f := newFixture(behindProxy)
		f.permit("alice@example.com")
		alice := f.person("alice@example.com")
		expect(f, alice.open(), http.StatusOK, "alice@example.com")
		expect(f, alice.answer(alice.begin(), "code", "c"), http.StatusSeeOther)
		r := f.response()
		Expect(r.Code).To(Equal("c"))
		Expect(r.Request.User).To(Equal("alice@example.com"))
		want := authorizationv1.SubjectAccessReviewSpec{
			User: "alice@example.com",
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "mcp-connection.dev", Version: "v1alpha1", Resource: "mcpconnections", Namespace: "team-a", Name: "files",
				Verb: "authorize",
			},
		}
		Expect(f.reviews).To(Equal([]authorizationv1.SubjectAccessReviewSpec{want, want}), "at the start and at the end")
	})

	It("who may not consent is told which role to ask for", func() {
		f := newFixture(behindProxy)
		mallory := f.person("mallory@example.com")
		f.unchanged(func() {
			w := mallory.post()
			expect(f, w, http.StatusForbidden, "You may not authorize team-a/files",
				"kubectl create role authorize-files -n team-a --verb=authorize --resource=mcpconnections.mcp-connection.dev "+
					"--resource-name=files")
			Expect(mallory.cookie).To(BeNil())
			Expect(w.Body.String()).NotTo(ContainSubstring("mallory"), "the header is repeated")
		})
	})

	It("whose right is taken away during the login does not consent", func() {
		f := newFixture(behindProxy)
		f.permit("alice")
		alice := f.person("alice")
		state := alice.begin()
		f.permit()
		f.unchanged(func() { expect(f, alice.answer(state, "code", "c"), http.StatusForbidden, "You may not authorize") })
		f.permit("alice")
		expect(f, alice.answer(state, "code", "c"), http.StatusSeeOther)
	})

	It("who begins must be who comes back", func() {
		f := newFixture(behindProxy)
		f.permit("alice", "bob")
		alice := f.person("alice")
		state := alice.begin()
		f.unchanged(func() {
			bob := f.person("bob")
			bob.cookie = alice.cookie
			expect(f, bob.answer(state, "code", "c"), http.StatusForbidden, "Another person began this")
			nobody := f.person("")
			nobody.cookie = alice.cookie
			expect(f, nobody.answer(state, "code", "c"), http.StatusForbidden, "Nobody is signed in")
		})
		expect(f, alice.answer(state, "code", "c"), http.StatusSeeOther)
	})

	It("begins again what was begun before there was a proxy", func() {
		f := newFixture()
		b := f.browser()
		state := b.begin()
		behindProxy(&f.server.o, nil)
		f.permit("alice")
		f.unchanged(func() {
			expect(f, b.answer(state, "code", "c"), http.StatusForbidden)
			alice := f.person("alice")
			alice.cookie = b.cookie
			expect(f, alice.answer(state, "code", "c"), http.StatusForbidden)
		})
	})

	It("does not consent if the API server cannot say who may", func() {
		f := newFixture(behindProxy)
		f.permit("alice")
		f.onReview = errors.New("forbidden")
		f.unchanged(func() { expect(f, f.person("alice").post(), http.StatusServiceUnavailable) })
	})

	It("learns nothing of a connection from its UID", func() {
		f := newFixture(behindProxy)
		mallory := f.person("mallory")
		guess := credential.NewTicket(f.uid)
		expect(f, mallory.do(http.MethodPost, "/connect/"+guess, ""), http.StatusNotFound)
		expect(f, mallory.answer(guess, "code", "c"), http.StatusBadRequest)
		Expect(f.reviews).To(BeEmpty(), "a guess cost a question to the API server")
	})
})

var _ = Describe("The user header", Label("security"), func() {
	DescribeTable("is not believed in", func(change func(*browser)) {
		f := newFixture(behindProxy)
		b := f.person("alice")
		change(b)
		users := []string{"alice"}
		if b.user != "" && utf8.ValidString(b.user) { // the API server takes no other names
			users = append(users, b.user)
		}
		f.permit(users...)
		f.unchanged(func() { expect(f, b.post(), http.StatusForbidden, "Nobody is signed in") })
		Expect(f.reviews).To(BeEmpty())
		Expect(b.cookie).To(BeNil())
	},
		Entry("a request past the proxy", func(b *browser) { b.from = "192.0.2.1:1234" }),
		Entry("an address that says it is the proxy", func(b *browser) { b.from = "198.51.100.7" }),
		Entry("no header", func(b *browser) { b.user = "" }),
		Entry("a name that belongs to the cluster", func(b *browser) { b.user = "system:admin" }),
		Entry("a node's name", func(b *browser) { b.user = "system:node:a" }),
		Entry("a control character", func(b *browser) { b.user = "alice\u0007" }),
		Entry("an invisible character", func(b *browser) { b.user = "alice\u200b" }),
		Entry("no UTF-8", func(b *browser) { b.user = "alice\xff" }),
		Entry("a very long name", func(b *browser) { b.user = strings.Repeat("a", maxUser+1) }),
	)

	It("is not believed if there are two", func() {
		f := newFixture(behindProxy)
		f.permit("alice")
		f.unchanged(func() { expect(f, f.person("alice").post(userHeader, "alice"), http.StatusForbidden) })
	})

	It("means nothing without a proxy", func() {
		f := newFixture()
		b := f.person("alice")
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		Expect(f.response().Request.User).To(BeEmpty())
		Expect(f.reviews).To(BeEmpty())
	})
})

var _ = Describe("The audit log of the pages", Label("security"), func() {
	It("says who did what, and holds nothing secret", func() {
		f := newFixture(behindProxy)
		f.permit("alice", "bob")
		alice := f.person("alice")
		first, second, third := alice.begin(), alice.begin(), alice.begin()
		f.person("mallory").post()
		f.browser().post()
		bob := f.person("bob")
		expect(f, bob.answer(first, "code", "code-1"), http.StatusForbidden)
		bob.cookie = alice.cookie
		expect(f, bob.answer(first, "code", "code-1"), http.StatusForbidden)
		expect(f, alice.answer(first, "error", "access_denied"), http.StatusSeeOther)
		expect(f, alice.answer(second, "iss", "https://evil.example", "code", "code-1"), http.StatusBadRequest)
		expect(f, alice.answer(third, "code", "code-1"), http.StatusSeeOther)
		expect(f, alice.answer(third, "code", "code-1"), http.StatusSeeOther)

		var got []string
		for line := range strings.Lines(f.audits.String()) {
			_, outcome, _ := strings.Cut(strings.TrimSpace(line), `"outcome"=`)
			got = append(got, outcome)
			for _, secret := range []string{f.ticket, first, second, third, "code-1", alice.cookie.Value, "evil"} {
				Expect(line).NotTo(ContainSubstring(secret))
			}
		}
		tail := func(outcome, user, from string) string {
			return `"` + outcome + `" "connection"="team-a/files" "uid"="` + string(f.uid) + `" "user"="` + user +
				`" "client"="` + from + `"`
		}
		const proxy = "198.51.100.7"
		Expect(got).To(Equal([]string{
			tail("begun", "alice", proxy), tail("begun", "alice", proxy), tail("begun", "alice", proxy),
			tail("refused: not permitted", "mallory", proxy), tail("refused: no user", "", "192.0.2.1"),
			tail("refused: another browser", "bob", proxy), tail("refused: another user", "bob", proxy),
			tail("declined", "alice", proxy), tail("foreign issuer", "alice", proxy), tail("consented", "alice", proxy),
		}))
	})

	It("holds nothing that strangers make up", func() {
		f := newFixture()
		f.browser().answer(credential.NewTicket(f.uid), "code", "c")
		f.browser().do(http.MethodPost, "/connect/"+credential.NewTicket(f.uid), "")
		f.remake()
		f.browser().open()
		Expect(f.audits.String()).To(BeEmpty())
	})
})

package callback

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestAPermittedPersonConsentsAndIsRecorded(t *testing.T) {
	f := newFixture(t, behindProxy)
	f.allowed = []string{"alice@example.com"}
	alice := f.person("alice@example.com")
	expect(f, alice.open(), http.StatusOK, "alice@example.com")
	state := alice.begin()
	expect(f, alice.answer(state, "code", "c"), http.StatusSeeOther)
	if r := f.credential().Authorization.Response; r == nil || r.Code != "c" || r.Request.User != "alice@example.com" {
		t.Fatalf("recorded %+v", r)
	}
	want := authorizationv1.SubjectAccessReviewSpec{
		User: "alice@example.com",
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: "mcp-connection.dev", Version: "v1alpha1", Resource: "mcpconnections", Namespace: "team-a", Name: "files", Verb: "authorize",
		},
	}
	if len(f.reviews) != 2 {
		t.Fatalf("the API server was asked %d times, want at the start and at the end", len(f.reviews))
	}
	for _, got := range f.reviews {
		if !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("asked %+v, want %+v", got, want)
		}
	}
}

func TestAPersonWhoMayNotIsToldWhichRoleToAskFor(t *testing.T) {
	f := newFixture(t, behindProxy)
	mallory := f.person("mallory@example.com")
	f.unchanged(func() {
		w := mallory.do(http.MethodPost, "/connect/"+f.ticket, "")
		expect(f, w, http.StatusForbidden, "You may not authorize team-a/files",
			"kubectl create role authorize-files -n team-a --verb=authorize --resource=mcpconnections.mcp-connection.dev --resource-name=files")
		if mallory.cookie != nil || strings.Contains(w.Body.String(), "mallory") {
			t.Error("a cookie was set, or the header is repeated")
		}
	})
}

func TestARightTakenAwayDuringTheLoginStopsTheConsent(t *testing.T) {
	f := newFixture(t, behindProxy)
	f.allowed = []string{"alice"}
	alice := f.person("alice")
	state := alice.begin()
	f.allowed = nil
	f.unchanged(func() { expect(f, alice.answer(state, "code", "c"), http.StatusForbidden, "You may not authorize") })
	f.allowed = []string{"alice"}
	expect(f, alice.answer(state, "code", "c"), http.StatusSeeOther)
}

func TestWhoBeginsMustBeWhoComesBack(t *testing.T) {
	f := newFixture(t, behindProxy)
	f.allowed = []string{"alice", "bob"}
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
}

func TestARequestBegunBeforeThereWasAProxyIsBegunAgain(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	f.server.o.UserHeader, f.server.o.UserProxies, f.allowed = userHeader, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, []string{"alice"}
	f.unchanged(func() {
		expect(f, b.answer(state, "code", "c"), http.StatusForbidden)
		alice := f.person("alice")
		alice.cookie = b.cookie
		expect(f, alice.answer(state, "code", "c"), http.StatusForbidden)
	})
}

func TestTheUserHeaderIsBelievedOnlyWhereItCanBe(t *testing.T) {
	for name, change := range map[string]func(*browser){
		"a request past the proxy":             func(b *browser) { b.from = "192.0.2.1:1234" },
		"an address that says it is the proxy": func(b *browser) { b.from = "198.51.100.7" },
		"no header":                            func(b *browser) { b.user = "" },
		"a name that belongs to the cluster":   func(b *browser) { b.user = "system:admin" },
		"a node's name":                        func(b *browser) { b.user = "system:node:a" },
		"a control character":                  func(b *browser) { b.user = "alice\u0007" },
		"an invisible character":               func(b *browser) { b.user = "alice\u200b" },
		"no UTF-8":                             func(b *browser) { b.user = "alice\xff" },
		"a very long name":                     func(b *browser) { b.user = strings.Repeat("a", maxUser+1) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, behindProxy)
			b := f.person("alice")
			change(b)
			f.allowed = []string{"alice", b.user}
			f.unchanged(func() {
				expect(f, b.do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusForbidden, "Nobody is signed in")
			})
			if len(f.reviews) != 0 || b.cookie != nil {
				t.Errorf("%d questions to the API server, cookie %v", len(f.reviews), b.cookie)
			}
		})
	}
	f := newFixture(t, behindProxy)
	f.allowed = []string{"alice"}
	f.unchanged(func() {
		expect(f, f.person("alice").do(http.MethodPost, "/connect/"+f.ticket, "", userHeader, "alice"), http.StatusForbidden)
	})
}

func TestWithoutAProxyTheUserHeaderMeansNothing(t *testing.T) {
	f := newFixture(t)
	b := f.person("alice")
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	if r := f.credential().Authorization.Response; r.Request.User != "" || len(f.reviews) != 0 {
		t.Errorf("user %q, %d questions to the API server", r.Request.User, len(f.reviews))
	}
}

func TestAnAPIServerThatCannotSayWhoMayLetsNobody(t *testing.T) {
	f := newFixture(t, behindProxy)
	f.allowed, f.onReview = []string{"alice"}, errors.New("forbidden")
	f.unchanged(func() {
		w := f.person("alice").do(http.MethodPost, "/connect/"+f.ticket, "")
		expect(f, w, http.StatusServiceUnavailable)
	})
}

func TestStrangersLearnNothingOfAConnectionFromItsUID(t *testing.T) {
	f := newFixture(t, behindProxy)
	mallory := f.person("mallory")
	guess := credential.NewTicket(connectionUID)
	for _, w := range []int{mallory.do(http.MethodPost, "/connect/"+guess, "").Code, mallory.answer(guess, "code", "c").Code} {
		if w == http.StatusForbidden {
			t.Error("the answer tells that the connection exists")
		}
	}
	if len(f.reviews) != 0 {
		t.Error("a guess cost a question to the API server")
	}
}

func TestTheUserHeaderWantsAProxy(t *testing.T) {
	f := newFixture(t)
	o := f.server.o
	o.UserHeader = userHeader
	if _, err := New(o); err == nil {
		t.Error("a header from anywhere would be believed")
	}
}

func TestTheAuditLogSaysWhoDidWhatAndHoldsNothingSecret(t *testing.T) {
	f := newFixture(t, behindProxy)
	f.allowed = []string{"alice", "bob"}
	alice := f.person("alice")
	first, second, third := alice.begin(), alice.begin(), alice.begin()
	f.person("mallory").do(http.MethodPost, "/connect/"+f.ticket, "")
	f.browser().do(http.MethodPost, "/connect/"+f.ticket, "")
	bob := f.person("bob")
	expect(f, bob.answer(first, "code", "code-1"), http.StatusForbidden)
	bob.cookie = alice.cookie
	expect(f, bob.answer(first, "code", "code-1"), http.StatusForbidden)
	expect(f, alice.answer(first, "error", "access_denied"), http.StatusSeeOther)
	expect(f, alice.answer(second, "iss", "https://evil.example", "code", "code-1"), http.StatusBadRequest)
	expect(f, alice.answer(third, "code", "code-1"), http.StatusSeeOther)
	expect(f, alice.answer(third, "code", "code-1"), http.StatusSeeOther)

	var got []string
	for _, line := range strings.Split(strings.TrimSpace(f.audits.String()), "\n") {
		_, outcome, _ := strings.Cut(line, `"outcome"=`)
		got = append(got, outcome)
		for _, secret := range []string{f.ticket, first, second, third, "code-1", alice.cookie.Value, "evil"} {
			if strings.Contains(line, secret) {
				t.Errorf("the audit log holds %q: %s", secret, line)
			}
		}
	}
	tail := func(outcome, user, from string) string {
		return `"` + outcome + `" "connection"="team-a/files" "uid"="` + string(connectionUID) + `" "user"="` + user + `" "client"="` + from + `"`
	}
	const proxy = "198.51.100.7"
	want := []string{
		tail("begun", "alice", proxy), tail("begun", "alice", proxy), tail("begun", "alice", proxy),
		tail("refused: not permitted", "mallory", proxy), tail("refused: no user", "", "192.0.2.1"),
		tail("refused: another browser", "bob", proxy), tail("refused: another user", "bob", proxy),
		tail("declined", "alice", proxy), tail("foreign issuer", "alice", proxy), tail("consented", "alice", proxy),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatStrangersMakeUpIsNotInTheAuditLog(t *testing.T) {
	f := newFixture(t)
	f.browser().answer(credential.NewTicket(connectionUID), "code", "c")
	f.browser().do(http.MethodPost, "/connect/"+credential.NewTicket(connectionUID), "")
	f.editConnection(func(c *v1alpha1.MCPConnection) { c.UID = "11111111-2222-4333-8444-555555555555" })
	f.browser().open()
	if f.audits.Len() != 0 {
		t.Errorf("the audit log holds\n%s", f.audits.String())
	}
}

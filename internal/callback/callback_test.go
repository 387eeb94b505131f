package callback

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func connection(f *fixture) *v1alpha1.MCPConnection {
	f.Helper()
	c := &v1alpha1.MCPConnection{}
	f.must(f.client.Get(f.Context(), types.NamespacedName{Namespace: "team-a", Name: "files"}, c))
	return c
}

func TestCodeIsRecordedAndTheAddressBarHoldsNone(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	w := b.answer(state, "code", "code-1")
	expect(f, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != "/connect/"+f.ticket {
		t.Errorf("Location %q", got)
	}
	a := f.credential().Authorization
	switch {
	case a.Response == nil:
		t.Fatal("no response was recorded")
	case a.Response.Code != "code-1", a.Response.Reason != "", a.Response.Request.State != state, !a.Response.ReceivedAt.Equal(f.now):
		t.Errorf("recorded %+v", a.Response)
	case a.Revision != 1, len(a.Requests) != 0, a.Offer == nil:
		t.Errorf("revision %d, %d requests, offer %v", a.Revision, len(a.Requests), a.Offer)
	}
	if got := f.secret().Annotations[credential.AnnotationRevision]; got != "1" {
		t.Errorf("annotation says revision %q: nobody wakes the reconciler", got)
	}
}

func TestUnknownStateIs400AndCostsNoCall(t *testing.T) {
	f := newFixture(t)
	before := f.reads.Load()
	for name, state := range map[string]string{
		"missing":            "",
		"words":              "hello",
		"another connection": credential.NewTicket("11111111-2222-4333-8444-555555555555"),
		"very long":          credential.NewTicket(connectionUID) + strings.Repeat("a", 300),
		"markup":             "<script>alert(1)</script>",
	} {
		t.Run(name, func(t *testing.T) {
			w := f.browser().answer(state, "code", "c")
			if w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "alert") {
				t.Errorf("status %d, want 400 and nothing of the query:\n%s", w.Code, w.Body)
			}
		})
	}
	if n := f.reads.Load() - before; n != 0 {
		t.Errorf("unknown states cost %d calls to the API server", n)
	}
	f.unchanged(func() {
		expect(f, f.browser().answer(credential.NewTicket(connectionUID), "code", "c"), http.StatusBadRequest)
		expect(f, f.browser().answer(f.ticket, "code", "c"), http.StatusBadRequest)
	})
}

func TestExpiredRequestIs400(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	f.now = f.now.Add(credential.RequestLifetime)
	f.unchanged(func() { expect(f, b.answer(state, "code", "c"), http.StatusBadRequest) })
}

func TestAnotherBrowserIs403AndChangesNothing(t *testing.T) {
	f := newFixture(t)
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
}

func TestRepeatedCallbackGetsTheSameAnswerAndChangesNothing(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	first := b.answer(state, "code", "c")
	repeat := func() {
		f.unchanged(func() {
			w := b.answer(state, "code", "c")
			expect(f, w, http.StatusSeeOther)
			if w.Header().Get("Location") != first.Header().Get("Location") {
				t.Errorf("a repeat goes to %q", w.Header().Get("Location"))
			}
		})
	}
	repeat()
	f.finish("", "")
	repeat()
}

func TestFirstCodeEndsTheOtherTabs(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	first, second := b.begin(), b.begin()
	expect(f, b.answer(second, "code", "c2"), http.StatusSeeOther)
	f.unchanged(func() { expect(f, b.answer(first, "code", "c1"), http.StatusBadRequest) })
}

func TestCodeThatMayBeOnTheWireIsNotReplaced(t *testing.T) {
	f := newFixture(t)
	b, late := f.browser(), f.browser()
	expect(f, b.answer(b.begin(), "code", "c1"), http.StatusSeeOther)
	state := late.begin()
	f.unchanged(func() { expect(f, late.answer(state, "code", "c2"), http.StatusConflict) })
	f.finish("CodeRejected", "")
	expect(f, late.answer(state, "code", "c2"), http.StatusSeeOther)
}

func TestRefusalLeavesTheOtherTabs(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	first, second := b.begin(), b.begin()
	expect(f, b.answer(first, "error", "access_denied", "error_description", "not <today>\u0007"), http.StatusSeeOther)
	r := f.credential().Authorization.Response
	if r == nil || r.Code != "" || r.Reason != v1alpha1.ReasonAccessDenied || !strings.Contains(r.Message, "not <today>") || strings.ContainsRune(r.Message, 7) {
		t.Fatalf("recorded %+v", r)
	}
	expect(f, b.answer(second, "code", "c"), http.StatusSeeOther)
	if r := f.credential().Authorization.Response; r == nil || r.Code != "c" {
		t.Errorf("the second tab's code was not recorded: %+v", r)
	}
}

func TestForeignIssuerIs400AndReportedWithoutItsText(t *testing.T) {
	for name, query := range map[string][]string{
		"another issuer":              {"iss", "https://evil.example", "code", "stolen-code"},
		"another issuer's error text": {"iss", "https://evil.example", "error", "server_error", "error_description", "call 555-1234"},
		"a slash more":                {"iss", issuer + "/", "code", "stolen-code"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			b := f.browser()
			state := b.begin()
			w := b.answer(state, query...)
			expect(f, w, http.StatusBadRequest)
			r := f.credential().Authorization.Response
			if r == nil || r.Code != "" || r.Reason != v1alpha1.ReasonIssuerParameterMismatch {
				t.Fatalf("recorded %+v", r)
			}
			for _, text := range []string{"555", "evil", "stolen"} {
				if strings.Contains(w.Body.String(), text) || strings.Contains(r.Message, text) {
					t.Errorf("the server's text %q is repeated", text)
				}
			}
			f.finish(r.Reason, r.Message)
			expect(f, b.open(), http.StatusOK, "is not connected", "did not come from the authorization server")
		})
	}
}

func TestMissingIssuerIs400WhereTheServerPromisesIt(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	expect(f, b.get("/oauth/callback?code=c&state="+b.begin()), http.StatusBadRequest)
	if r := f.credential().Authorization.Response; r == nil || r.Reason != v1alpha1.ReasonIssuerParameterMismatch {
		t.Fatalf("recorded %+v", r)
	}
	f = newFixture(t, withBinding(func(b *credential.Binding) { b.IssParameterSupported = false }))
	b = f.browser()
	expect(f, b.get("/oauth/callback?code=c&state="+b.begin()), http.StatusSeeOther)
}

func TestMalformedResponsesAre400AndUseNothingUp(t *testing.T) {
	f := newFixture(t)
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
			w := b.get("/oauth/callback?" + query)
			if w.Code != http.StatusBadRequest {
				t.Errorf("%s: status %d, want 400", name, w.Code)
			}
		}
	})
	expect(f, b.get("/oauth/callback?"+good), http.StatusSeeOther)
}

func TestLongErrorTextIsCut(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	expect(f, b.answer(b.begin(), "error", "access_denied", "error_description", strings.Repeat("long ", 2000)), http.StatusSeeOther)
	if n := len([]rune(f.credential().Authorization.Response.Message)); n > maxMessage {
		t.Errorf("%d runes of a server's text were stored", n)
	}
}

func TestHEADAndPrefetchOfTheCallbackChangeNothing(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	target := "/oauth/callback?code=c&iss=" + issuer + "&state=" + state
	f.unchanged(func() {
		expect(f, b.do(http.MethodHead, target, ""), http.StatusOK)
		for _, purpose := range []string{"prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip"} {
			expect(f, b.get(target, "Sec-Purpose", purpose), http.StatusServiceUnavailable)
		}
		expect(f, b.get(target, "Purpose", "prefetch"), http.StatusServiceUnavailable)
		expect(f, b.get(target, "X-Moz", "prefetch"), http.StatusServiceUnavailable)
	})
	expect(f, b.get(target), http.StatusSeeOther)
}

func TestReconcilerWritingAtTheSameTimeLosesNothing(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	f.onUpdate = func() error {
		f.onUpdate = nil
		f.reconcile(func(c *credential.Credential) {
			c.PutGrant(credential.Grant{Binding: credential.Binding{ServerURL: "https://mcp.example.com/mcp", Issuer: issuer}, AccessToken: "at", RefreshToken: "rt-2"})
		})
		return nil
	}
	expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
	held := f.credential()
	if held.Authorization.Response == nil || held.Authorization.Response.Code != "c" || len(held.Grants) != 1 || held.Grants[0].RefreshToken != "rt-2" {
		t.Errorf("after a conflict: response %v, %d grants", held.Authorization.Response, len(held.Grants))
	}
}

func TestResponseThatWasWrittenThoughTheAnswerWasLostIsARepeat(t *testing.T) {
	f := newFixture(t)
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
}

package callback

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestStartPageSaysWhatWillBeAuthorizedAndConsumesNothing(t *testing.T) {
	f := newFixture(t)
	f.unchanged(func() {
		for range 3 {
			w := f.browser().open()
			expect(f, w, http.StatusOK, "team-a/files", "https://mcp.example.com/mcp", issuer, "files:read", "files:write",
				`<form method="post">`, "Continue to auth.example.com", "3 November 2026, 09:00 UTC", `<html lang="en">`, "<title>Connect team-a/files</title>")
			if strings.Contains(w.Body.String(), "hidden") {
				t.Error("the page shows the query of the server URL")
			}
			if len(w.Result().Cookies()) != 0 {
				t.Error("opening the link set a cookie")
			}
		}
	})
}

func TestAHostileTextIsEscaped(t *testing.T) {
	evil := []string{"<script>evil()</script>", `"><img/src=x/onerror=evil()>`, "</dl><form/action=//evil>"}
	f := newFixture(t, withBinding(func(b *credential.Binding) {
		b.Scopes, b.Issuer, b.ServerURL = evil, issuer+"/"+evil[0], "https://mcp.example.com/"+evil[1]
	}))
	w := f.browser().open()
	expect(f, w, http.StatusOK, "&lt;script&gt;evil()&lt;/script&gt;")
	for _, text := range []string{"<script", "<img", "//evil>"} {
		if strings.Contains(w.Body.String(), text) {
			t.Errorf("the page holds %s", text)
		}
	}
}

func TestStartPageForHEADHasTheSameAnswerAndNoBody(t *testing.T) {
	f := newFixture(t)
	f.unchanged(func() {
		w := f.browser().do(http.MethodHead, "/connect/"+f.ticket, "")
		expect(f, w, http.StatusOK)
		if w.Body.Len() != 0 {
			t.Errorf("a HEAD answer has a body of %d bytes", w.Body.Len())
		}
		expect(f, f.browser().do(http.MethodHead, "/connect/nothing", ""), http.StatusNotFound)
	})
}

func TestUnknownTicketsAre404AndCostNoCall(t *testing.T) {
	f := newFixture(t)
	before := f.reads.Load()
	for name, ticket := range map[string]string{
		"empty":              "",
		"words":              "hello",
		"a path":             f.ticket + "/more",
		"another connection": credential.NewTicket("11111111-2222-4333-8444-555555555555"),
		"upper case":         strings.ToUpper(f.ticket),
		"very long":          strings.Repeat("a", 8000),
		"not even ASCII":     "%E2%80%AE%00",
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := f.browser().do(method, "/connect/"+ticket, "")
				if w.Code != http.StatusNotFound {
					t.Errorf("%s: status %d, want 404", method, w.Code)
				}
			}
		})
	}
	if n := f.reads.Load() - before; n != 0 {
		t.Errorf("unknown tickets cost %d calls to the API server", n)
	}
}

func TestTicketWithTheRightUIDAndWrongBitsIs404(t *testing.T) {
	f := newFixture(t)
	expect(f, f.browser().get("/connect/"+credential.NewTicket(connectionUID)), http.StatusNotFound)
}

func TestExpiredTicketIs410(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Add(credential.TicketLifetime)
	f.unchanged(func() {
		expect(f, f.browser().open(), http.StatusGone, "status.authorizationURL")
		expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusGone)
	})
}

func TestReplacedTicketIs410AndTheNewOneWorks(t *testing.T) {
	f := newFixture(t)
	next := credential.NewTicket(connectionUID)
	f.reconcile(func(c *credential.Credential) {
		o := *c.Authorization.Offer
		o.Ticket = next
		c.Authorization.Replace(o)
	})
	expect(f, f.browser().open(), http.StatusGone)
	expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusGone)
	expect(f, f.browser().get("/connect/"+next), http.StatusOK)
}

func TestTicketReplacedBetweenReadAndWriteIs410(t *testing.T) {
	f := newFixture(t)
	f.onUpdate = func() error {
		f.onUpdate = nil
		f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
		return nil
	}
	expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusGone)
	if n := len(f.credential().Authorization.Requests); n != 0 {
		t.Errorf("%d requests were stored for a replaced link", n)
	}
}

func TestPostBeginsOneRequestAndGoesToTheAuthorizationServer(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	w := b.do(http.MethodPost, "/connect/"+f.ticket, "", "Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded")
	expect(f, w, http.StatusSeeOther)
	location := w.Header().Get("Location")
	a := f.credential().Authorization
	if len(a.Requests) != 1 || a.Offer == nil || a.Revision != 0 {
		t.Fatalf("requests %d, offer %v, revision %d; want one request and everything else untouched", len(a.Requests), a.Offer, a.Revision)
	}
	r := a.Requests[0]
	for _, want := range []string{issuer + "/authorize?", "state=" + r.State, "code_challenge_method=S256", "resource=https%3A%2F%2Fmcp.example.com%2Fmcp", "scope=files%3Aread+files%3Awrite"} {
		if !strings.Contains(location, want) {
			t.Errorf("Location %q lacks %q", location, want)
		}
	}
	switch {
	case r.Ticket != f.ticket, r.Binding.Issuer != issuer, r.CodeVerifier == "":
		t.Errorf("the request is not bound to its ticket: %+v", r)
	case !r.ExpiresAt.Equal(f.now.Add(credential.RequestLifetime)):
		t.Errorf("the request lives until %v", r.ExpiresAt)
	case r.BrowserHash != credential.Hash(b.cookie.Value):
		t.Error("the request does not hold the hash of the cookie")
	case strings.Contains(location, b.cookie.Value):
		t.Error("the cookie's value leaves for the authorization server")
	}
}

func TestPostFromAForeignPageIs403(t *testing.T) {
	f := newFixture(t)
	before := f.reads.Load()
	for name, headers := range map[string][]string{
		"cross-site":               {"Sec-Fetch-Site", "cross-site"},
		"same-site is not ours":    {"Sec-Fetch-Site", "same-site"},
		"origin of an old browser": {"Origin", "https://evil.example"},
		"opaque origin":            {"Origin", "null"},
	} {
		if w := f.browser().do(http.MethodPost, "/connect/"+f.ticket, "", headers...); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", name, w.Code)
		}
	}
	if f.reads.Load() != before {
		t.Error("foreign requests cost calls to the API server")
	}
	f.unchanged(func() {})
	// Behind a proxy that changes the Host header, an old browser's Origin is still ours.
	expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, "", "Origin", externalURL), http.StatusSeeOther)
}

func TestPostWithABodyIs400(t *testing.T) {
	f := newFixture(t)
	f.unchanged(func() {
		for _, body := range []string{"x", "ticket=other&state=chosen", strings.Repeat("a", 1<<20)} {
			expect(f, f.browser().do(http.MethodPost, "/connect/"+f.ticket, body), http.StatusBadRequest)
		}
	})
}

func TestAtMostFiveRequestsAndTheOldestGoes(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	states := make([]string, 0, 6)
	for range 6 {
		states = append(states, b.begin())
		f.now = f.now.Add(time.Second)
	}
	if n := len(f.credential().Authorization.Requests); n != credential.MaxRequests {
		t.Errorf("%d requests are kept, want %d", n, credential.MaxRequests)
	}
	f.unchanged(func() { expect(f, b.answer(states[0], "code", "c"), http.StatusBadRequest) })
	expect(f, b.answer(states[1], "code", "c"), http.StatusSeeOther)
}

func TestRequestsOfTwoBrowsersAtOnceBothSurviveTheConflict(t *testing.T) {
	f := newFixture(t)
	other := f.browser()
	f.onUpdate = func() error {
		f.onUpdate = nil
		other.begin()
		return nil
	}
	b := f.browser()
	state := b.begin()
	if n := len(f.credential().Authorization.Requests); n != 2 {
		t.Fatalf("%d requests, want 2", n)
	}
	expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
}

func TestSuspendedConnectionTakesNoConsent(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	f.suspend()
	f.unchanged(func() {
		expect(f, b.open(), http.StatusConflict, "suspended")
		expect(f, b.do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusConflict, "suspended")
		expect(f, b.answer(state, "code", "c"), http.StatusConflict, "suspended")
	})
	// Only who holds the link learns of it.
	expect(f, f.browser().get("/connect/"+credential.NewTicket(connectionUID)), http.StatusNotFound)
}

func TestDeletedConnectionTakesNoConsent(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	c := connection(f)
	f.must(f.client.Delete(t.Context(), c)) // the finalizer holds it
	f.unchanged(func() {
		expect(f, b.open(), http.StatusGone, "deleted")
		expect(f, b.do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusGone)
		expect(f, b.answer(state, "code", "c"), http.StatusBadRequest)
	})
	c = connection(f)
	c.Finalizers = nil
	f.must(f.client.Update(t.Context(), c))
	expect(f, b.open(), http.StatusGone)
}

func TestUnreachableAPIServerIs503WithRetryAfter(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	state := b.begin()
	down := func() error { return errors.New("dial tcp: connection refused") }
	check := func(t *testing.T) {
		for name, w := range map[string]func() int{
			"start page": func() int { w := b.open(); return answered(t, w.Code, w.Header().Get("Retry-After")) },
			"post": func() int {
				w := b.do(http.MethodPost, "/connect/"+f.ticket, "")
				return answered(t, w.Code, w.Header().Get("Retry-After"))
			},
			"callback": func() int {
				w := b.answer(state, "code", "c")
				return answered(t, w.Code, w.Header().Get("Retry-After"))
			},
		} {
			if name == "start page" && f.onRead == nil {
				continue // it only reads
			}
			if code := w(); code != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d, want 503", name, code)
			}
		}
	}
	t.Run("no reads", func(t *testing.T) { f.onRead = down; check(t); f.onRead = nil })
	t.Run("no writes", func(t *testing.T) { f.onUpdate = down; check(t); f.onUpdate = nil })
	// Nothing was used up: the same callback works once the API server is back.
	expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
}

func answered(t *testing.T, code int, retry string) int {
	t.Helper()
	if retry == "" {
		t.Error("no Retry-After")
	}
	return code
}

// What a server wrote is no fault of the operator: nobody sees a 500, nothing is begun, and no button leads there.
func TestAnAuthorizationRequestThatCannotBeBuiltIsToldAndStoresNothing(t *testing.T) {
	for name, change := range map[string]func(*credential.Binding){
		"no URL":              func(b *credential.Binding) { b.AuthorizationEndpoint = "nonsense" },
		"nothing":             func(b *credential.Binding) { b.AuthorizationEndpoint = "" },
		"broken escapes":      func(b *credential.Binding) { b.AuthorizationEndpoint = issuer + "/%zz" },
		"a script":            func(b *credential.Binding) { b.AuthorizationEndpoint = "javascript:alert(1)//" },
		"a person in the URL": func(b *credential.Binding) { b.AuthorizationEndpoint = "https://a:b@auth.example.com/authorize" },
		"a fragment":          func(b *credential.Binding) { b.AuthorizationEndpoint += "#x" },
		"another state":       func(b *credential.Binding) { b.AuthorizationEndpoint += "?state=x" },
		"another resource":    func(b *credential.Binding) { b.AuthorizationEndpoint += "?resource=https://other.example.com/<b>" },
		"another prompt": func(b *credential.Binding) {
			b.AuthorizationEndpoint += "?prompt=login"
			b.Parameters = map[string]string{"prompt": "none"}
		},
		"a protocol parameter of the spec's": func(b *credential.Binding) { b.Parameters = map[string]string{"state": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, withBinding(change))
			f.unchanged(func() {
				b := f.browser()
				for _, w := range []*httptest.ResponseRecorder{b.open(), b.do(http.MethodPost, "/connect/"+f.ticket, ""), b.do(http.MethodHead, "/connect/"+f.ticket, "")} {
					if w.Code != http.StatusConflict || strings.Contains(w.Body.String(), "<form") || w.Header().Get("Location") != "" {
						t.Errorf("status %d, want 409 and no way on\n%s", w.Code, w.Body)
					}
				}
				w := b.open()
				expect(f, w, http.StatusConflict, "This link leads nowhere", "Details:", "kubectl describe mcpc -n team-a files")
				if strings.Contains(w.Body.String(), "<b>") {
					t.Error("markup of a server is on the page")
				}
				if f.audits.Len() > 0 {
					t.Errorf("a sign-in is on record: %s", f.audits.String())
				}
			})
		})
	}
}

func TestOutcomePageWaitsForTheReconciler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		go func() {
			time.Sleep(3 * time.Second)
			f.finish("", "")
		}()
		began, reads := time.Now(), f.reads.Load()
		expect(f, b.open(), http.StatusOK, "team-a/files is connected", "You can close this window")
		if waited := time.Since(began); waited < 3*time.Second || waited > 3*time.Second+2*outcomePoll {
			t.Errorf("waited %v for an outcome that took 3 s", waited)
		}
		// One read to begin with, one of the reconciler, one at the end: polling looks at cached metadata only.
		if n := f.reads.Load() - reads; n != 3 {
			t.Errorf("%d reads of the Secret, want 3", n)
		}
	})
}

func TestOutcomePageRefreshesItselfWhenTheReconcilerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		began := time.Now()
		expect(f, b.open(), http.StatusOK, `<meta http-equiv="refresh" content="2">`)
		if waited := time.Since(began); waited != outcomeWait {
			t.Errorf("waited %v, want %v", waited, outcomeWait)
		}
		for name, w := range map[string]func() int{
			"HEAD":     func() int { return b.do(http.MethodHead, "/connect/"+f.ticket, "").Code },
			"prefetch": func() int { return b.get("/connect/"+f.ticket, "Sec-Purpose", "prefetch").Code },
		} {
			began = time.Now()
			if code := w(); code != http.StatusOK || time.Since(began) != 0 {
				t.Errorf("%s: status %d after %v; want 200 at once", name, code, time.Since(began))
			}
		}
	})
}

func TestPagesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		for range maxWaiting {
			f.server.waiting <- struct{}{}
		}
		began := time.Now()
		expect(f, b.open(), http.StatusOK, `http-equiv="refresh"`)
		if time.Since(began) != 0 {
			t.Error("a page waited although no place was free")
		}
	})
}

func TestAnotherBrowserSeesTheStartPageWhileTheResponseIsPendingAnd410AfterSuccess(t *testing.T) {
	f := newFixture(t)
	b, other := f.browser(), f.browser()
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	expect(f, other.open(), http.StatusOK, `<form method="post">`)
	f.finish("", "")
	expect(f, b.open(), http.StatusOK, "is connected")
	expect(f, other.open(), http.StatusGone)
	expect(f, b.do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusGone)
	f.suspend()
	expect(f, b.open(), http.StatusOK, "is connected")
}

func TestFailureIsShownToItsBrowserOnlyAndMayBeTriedAgain(t *testing.T) {
	f := newFixture(t)
	b, begun := f.browser(), f.browser()
	begun.begin() // it has a cookie of its own
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	f.finish("CodeRejected", "invalid_grant: <b>no</b>\u202e")
	expect(f, b.open(), http.StatusOK, "is not connected", "did not accept its own answer", "invalid_grant: &lt;b&gt;no&lt;/b&gt;<", `<form method="post">`, "Try again at")
	for _, other := range []*browser{f.browser(), begun} {
		w := other.open()
		expect(f, w, http.StatusOK, "Continue to")
		if strings.Contains(w.Body.String(), "invalid_grant") {
			t.Error("another browser sees the failure")
		}
	}
	expect(f, b.answer(b.begin(), "code", "c2"), http.StatusSeeOther)
	f.finish("", "")
	expect(f, b.open(), http.StatusOK, "is connected")
}

func TestFailureOnALinkThatHasEndedSaysSo(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	f.finish("TokenRequestRejected", "invalid_client")
	f.reconcile(func(c *credential.Credential) { c.Authorization.Withdraw() })
	w := b.open()
	expect(f, w, http.StatusGone, "refused to issue a token", "This link has ended")
	if strings.Contains(w.Body.String(), "<form") {
		t.Error("a form on a link that has ended")
	}
}

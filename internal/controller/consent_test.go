package controller

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// waiting is a connection whose link is open.
func waiting(t testing.TB, configure ...func(*oauthtest.Config)) (w *world, link string) {
	t.Helper()
	w = newWorld(t, configure...)
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	return w, w.get().Status.AuthorizationURL
}

// cancel presses the button of the start page and goes no further: the person closes the tab at the login.
func (w *world) cancel(link string) {
	w.t.Helper()
	away := *w.browser
	away.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := away.Post(link, "", nil)
	w.must(err)
	w.must(resp.Body.Close())
	if resp.StatusCode != http.StatusSeeOther {
		w.t.Fatalf("the start page answered %d", resp.StatusCode)
	}
}

// look opens the start page.
func (w *world) look(link string) int {
	w.t.Helper()
	resp, err := w.browser.Get(link)
	w.must(err)
	w.must(resp.Body.Close())
	return resp.StatusCode
}

// stored is the credential Secret's content.
func (w *world) stored() *credential.Held {
	w.t.Helper()
	held, err := w.r.Store.Get(w.t.Context(), w.get().UID)
	w.must(err)
	if held == nil {
		w.t.Fatal("there is no credential Secret")
	}
	return held
}

func TestADeniedConsentSaysSoAndASecondTrySucceeds(t *testing.T) {
	w, link := waiting(t)
	w.server.Deny("access_denied", "not today")
	w.consent()
	w.want(authorized, isFalse, v1alpha1.ReasonAccessDenied)
	w.want(ready, isFalse, v1alpha1.ReasonAccessDenied)
	if w.get().Status.AuthorizationURL != link || w.server.Count(oauthtest.TokenPath) != 0 {
		t.Error("the link was replaced, or a token was asked for")
	}
	w.server.Deny("", "")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("a denial cost a registration")
	}
}

func TestALoginThatWasGivenUpHindersNoSecondTry(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "after the first has expired": credential.RequestLifetime} {
		t.Run(name, func(t *testing.T) {
			w, link := waiting(t)
			w.cancel(link)
			w.clock.SetTime(w.clock.Now().Add(wait))
			w.reconcile()
			w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
			if w.get().Status.AuthorizationURL != link || len(w.stored().Authorization.Requests) != 1 {
				t.Fatal("the link changed, or the first request was not kept")
			}
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if len(w.stored().Authorization.Requests) != 0 {
				t.Error("the abandoned request is still stored")
			}
		})
	}
}

func TestASecondClickOfAFinishedLinkBeginsNothing(t *testing.T) {
	w, link := waiting(t)
	w.consent()
	before, asked := w.get().ResourceVersion, w.server.Count(oauthtest.AuthorizePath)
	if status := w.look(link); status != http.StatusOK {
		t.Errorf("the browser that consented sees %d, want its outcome", status)
	}
	if status := w.open(link); status != http.StatusGone {
		t.Errorf("a second click is answered %d", status)
	}
	w.newBrowser()
	if status := w.look(link); status != http.StatusGone {
		t.Errorf("another browser is answered %d", status)
	}
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().ResourceVersion != before || w.server.Count(oauthtest.AuthorizePath) != asked {
		t.Error("the second click changed the connection or reached the server")
	}
}

func TestAnExpiredLinkIsReplacedAndAnswers410(t *testing.T) {
	w, link := waiting(t)
	w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
	if status := w.open(link); status != http.StatusGone {
		t.Errorf("the expired link answers %d before it is replaced", status)
	}
	conn := w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == link || conn.Status.AuthorizationURL == "" {
		t.Fatal("the link was not replaced")
	}
	if status := w.look(link); status != http.StatusGone {
		t.Errorf("the old link answers %d after it was replaced", status)
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("one expired link cost a registration")
	}
}

func TestAClientWhoseLinksAllExpireIsRegisteredAnew(t *testing.T) {
	w, _ := waiting(t)
	first := w.get().Status.Client.ID
	expire := func() string {
		t.Helper()
		w.cancel(w.get().Status.AuthorizationURL)
		w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
		return w.reconcile().Status.Client.ID
	}
	for range maxExpiredConsents - 1 {
		if id := expire(); id != first {
			t.Fatal("the client was registered anew too early")
		}
	}
	second := expire()
	if second == first || w.server.Count(oauthtest.RegisterPath) != 2 {
		t.Fatalf("after %d expired links the client is the same", maxExpiredConsents)
	}
	for range maxExpiredConsents - 1 {
		if id := expire(); id != second {
			t.Fatal("the links of the first client count against the second")
		}
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	held := w.stored()
	if len(held.Registrations) != 1 || held.Registrations[0].ExpiredConsents != 0 {
		t.Errorf("%d registrations, want one without expired consents", len(held.Registrations))
	}
}

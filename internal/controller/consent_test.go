package controller

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// waiting is a connection whose link is open.
func waiting(configure ...func(*oauthtest.Config)) (w *world, link string) {
	GinkgoHelper()
	w = newWorld(configure...)
	w.apply()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	return w, w.get().Status.AuthorizationURL
}

// cancel presses the button of the start page and goes no further: the person closes the tab at the login.
func (w *world) cancel(link string) {
	GinkgoHelper()
	away := *w.browser
	away.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := away.Post(link, "", nil)
	w.must(err)
	w.must(resp.Body.Close())
	Expect(resp.StatusCode).To(Equal(http.StatusSeeOther), "of the start page")
}

// look opens the start page.
func (w *world) look(link string) int {
	GinkgoHelper()
	resp, err := w.browser.Get(link)
	w.must(err)
	w.must(resp.Body.Close())
	return resp.StatusCode
}

// stored is the credential Secret's content.
func (w *world) stored() *credential.Held {
	GinkgoHelper()
	held, err := w.r.Store.Get(w.ctx, w.get().UID)
	w.must(err)
	Expect(held).NotTo(BeNil(), "there is no credential Secret")
	return held
}

// showsLink reports whether status shows this link. A failed Expect of the link itself would print it.
func (w *world) showsLink(link string) bool {
	GinkgoHelper()
	return w.get().Status.AuthorizationURL == link
}

// storedRequests is how many requests for an authorization are stored. Each has a secret in it.
func (w *world) storedRequests() int {
	GinkgoHelper()
	return len(w.stored().Authorization.Requests)
}

var _ = Describe("A consent that was denied", func() {
	It("says so, and a second try succeeds", func() {
		w, link := waiting()
		w.server.Deny("access_denied", "not today")
		w.consent()
		w.want(authorized, isFalse, v1alpha1.ReasonAccessDenied)
		w.want(ready, isFalse, v1alpha1.ReasonAccessDenied)
		Expect(w.showsLink(link)).To(BeTrue(), "the link was replaced")
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "a token was asked for")
		w.server.Deny("", "")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "a denial cost a registration")
	})
})

var _ = DescribeTable("A login that was given up hinders no second try", func(wait time.Duration) {
	w, link := waiting()
	w.cancel(link)
	w.clock.SetTime(w.clock.Now().Add(wait))
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	Expect(w.showsLink(link)).To(BeTrue(), "the link changed")
	Expect(w.storedRequests()).To(Equal(1), "the first request was not kept")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	Expect(w.storedRequests()).To(BeZero(), "the abandoned request is still stored")
},
	Entry("at once", time.Duration(0)),
	Entry("after the first has expired", credential.RequestLifetime),
)

var _ = Describe("A link that was used", Label("security"), func() {
	It("begins nothing when it is clicked again", func() {
		w, link := waiting()
		w.consent()
		before, asked := w.get().ResourceVersion, w.server.Count(oauthtest.AuthorizePath)
		Expect(w.look(link)).To(Equal(http.StatusOK), "the browser that consented sees its outcome")
		Expect(w.open(link)).To(Equal(http.StatusGone), "a second click")
		w.newBrowser()
		Expect(w.look(link)).To(Equal(http.StatusGone), "another browser")
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.get().ResourceVersion).To(Equal(before), "the second click changed the connection")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(asked), "the second click reached the server")
	})
})

var _ = Describe("A link that expired", Label("security"), func() {
	It("is replaced and answers 410", func() {
		w, link := waiting()
		w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
		Expect(w.open(link)).To(Equal(http.StatusGone), "the expired link before it is replaced")
		conn := w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.showsLink(link)).To(BeFalse(), "the link was not replaced")
		Expect(conn.Status.AuthorizationURL).NotTo(BeEmpty(), "the link was not replaced")
		Expect(w.look(link)).To(Equal(http.StatusGone), "the old link after it was replaced")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "one expired link cost a registration")
	})
})

var _ = Describe("A client whose links all expire", func() {
	It("is registered anew", func() {
		w, _ := waiting()
		first := w.get().Status.Client.ID
		expire := func() string {
			GinkgoHelper()
			w.cancel(w.get().Status.AuthorizationURL)
			w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
			return w.reconcile().Status.Client.ID
		}
		for range lifecycle.MaxExpiredConsents - 1 {
			Expect(expire()).To(Equal(first), "the client was registered anew too early")
		}
		second := expire()
		Expect(second).NotTo(Equal(first), "the client is the same after %d expired links", lifecycle.MaxExpiredConsents)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(2), "registrations at the server")
		for range lifecycle.MaxExpiredConsents - 1 {
			Expect(expire()).To(Equal(second), "the links of the first client count against the second")
		}
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		held := w.stored()
		registrations := len(held.Registrations)
		Expect(registrations).To(Equal(1), "registrations that are stored")
		Expect(held.Registrations[0].ExpiredConsents).To(BeZero())
	})
})

package controller

import (
	"encoding/json"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// registersWithSecret has the server issue a secret to clients that it registers with the method none.
func (w *world) registersWithSecret() {
	w.server.Edit(oauthtest.RegisterPath, -1, func(m map[string]any) {
		m["token_endpoint_auth_method"], m["client_secret"], m["client_secret_expires_at"] = "none", "the-secret", 0
	})
}

// demandsSecret has the token endpoint refuse whoever does not send a secret, and everybody if none is good.
func (w *world) demandsSecret(good bool) (sent func() []string) {
	w.tokenTried(answering(http.StatusServiceUnavailable)) // it does not know the tokens that this endpoint makes up
	var codes []string
	w.server.HandleTimes(oauthtest.TokenPath, -1, func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // what cannot be parsed has no secret
		_, secret, _ := r.BasicAuth()
		codes = append(codes, r.Form.Get("code"))
		rw.Header().Set("Content-Type", "application/json")
		if !good || (secret == "" && r.Form.Get("client_secret") == "") {
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": "access", "token_type": "Bearer",
			"refresh_token": "refresh", "expires_in": 3600})
	})
	return func() []string { return codes }
}

var _ = Describe("A secret that the server demands after all", func() {
	It("is sent from the next request on", func() {
		w := newWorld()
		w.registersWithSecret()
		w.apply()
		client, link := w.get().Status.Client.ID, w.get().Status.AuthorizationURL
		sent := w.demandsSecret(true)
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.get().Status.Client.ID).To(Equal(client))
		another := w.offersLink() && w.get().Status.AuthorizationURL != link
		Expect(another).To(BeTrue(), "there is no link, or the old one")
		w.consent()
		w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRefresh()
		w.reconcile()
		w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
		codes := sent()
		Expect(codes).To(HaveLen(3), "token requests")
		again := codes[0] == codes[1]
		Expect(again).To(BeFalse(), "the first code was sent again")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "registrations")
		Expect(w.stored().Authorization.ClientRefusals).To(BeZero(), "a refresh that succeeded forgot nothing")
	})
})

var _ = Describe("A refresh that demands a secret", func() {
	It("gets the secret", func() {
		w := newWorld()
		w.registersWithSecret()
		w.apply()
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.demandsSecret(true)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		w.untilRetry()
		w.reconcile()
		w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "another client was registered")
	})
})

var _ = Describe("A round of registration and refusal", func() {
	DescribeTable("is not followed by another for ever", func(prepare func(*world)) {
		w := newWorld()
		prepare(w)
		w.apply()
		w.demandsSecret(false)
		for range 5 {
			w.consent()
		}
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.want(ready, isFalse, v1alpha1.ReasonCredentialsRejected)
		registrations := w.server.Count(oauthtest.RegisterPath)
		Expect(registrations).To(BeNumerically("<=", lifecycle.MaxClientRefusals))
		Expect(w.offersLink()).To(BeTrue(), "there is no link")
		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(registrations+1), "registrations when a person asked")
		w.server.Handle(oauthtest.TokenPath, nil)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	},
		Entry("without secrets", func(*world) {}),
		Entry("with a secret", (*world).registersWithSecret),
	)
})

var _ = Describe("A client whose link nobody opened", func() {
	It("is kept", func() {
		w, _ := waiting()
		for range 4 * lifecycle.MaxExpiredConsents {
			w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
			w.reconcile()
		}
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "registrations")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("An abandoned link", func() {
	It("renews its client three times", func() {
		w, _ := waiting()
		for range 10 * lifecycle.MaxExpiredConsents {
			w.cancel(w.get().Status.AuthorizationURL)
			w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
			w.reconcile()
		}
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1+lifecycle.MaxRenewals), "registrations")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

var _ = Describe("A client whose secret expires", func() {
	It("is replaced while the link is open", func() {
		w := newWorld()
		w.server.Edit(oauthtest.RegisterPath, -1, func(m map[string]any) {
			m["token_endpoint_auth_method"], m["client_secret"], m["client_secret_expires_at"] = "client_secret_basic", "x",
				w.clock.Now().Add(time.Hour).Unix()
		})
		w.apply()
		for range 8 {
			conn := w.get()
			if !w.offersLink() {
				break
			}
			Expect(conn.Status.Client.ExpiresAt.Sub(w.clock.Now())).To(BeNumerically(">=", 10*time.Minute),
				"the client's secret expires under an open link")
			w.restart()
			w.later(10 * time.Minute)
		}
		for range 20 { // nobody comes
			w.later(10 * time.Minute)
		}
		w.want(ready, isFalse, v1alpha1.ReasonRegistrationFailing)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1+lifecycle.MaxRenewals), "registrations")
		Expect(w.offersLink()).To(BeFalse(), "a link is offered")
		w.annotate(v1alpha1.AnnotationReauthorize, "1")
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.offersLink()).To(BeTrue(), "a person asked for a link and gets none")
	})
})

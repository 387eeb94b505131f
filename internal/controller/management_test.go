package controller

import (
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const secretLifetime = 30 * 24 * time.Hour

// expiring is a server whose clients have a secret that expires.
func expiring(c *oauthtest.Config) {
	c.AuthMethods, c.ClientSecretLifetime = []string{"client_secret_basic"}, secretLifetime
}

// managing lets clients be updated and deleted.
func managing(c *oauthtest.Config) { c.RegistrationManagement = true }

// managementPath is the path of the current client's registration.
func (w *world) managementPath() string {
	return oauthtest.RegisterPath + "/" + w.get().Status.Client.ID
}

// untilUpdate steps the clock to the time at which the client is updated, or replaced.
func (w *world) untilUpdate() {
	GinkgoHelper()
	at := w.get().Status.Client.UpdateAt
	Expect(at == nil || !at.After(w.clock.Now())).To(BeFalse(), "updateAt is %v at %v", at, w.clock.Now())
	w.clock.SetTime(at.Time)
}

// told reports whether an event with these words was emitted.
func (w *world) told(words string) bool {
	for {
		select {
		case event := <-w.events.Events:
			if strings.Contains(event, words) {
				return true
			}
		default:
			return false
		}
	}
}

// letGo reconciles and reports whether the connection is gone; a matcher would print the connection, and its link.
func (w *world) letGo() bool {
	GinkgoHelper()
	return w.reconcile() == nil
}

// holdsCredential reports whether the credential Secret is there; a matcher would print the Secret.
func (w *world) holdsCredential(uid types.UID) bool {
	GinkgoHelper()
	return w.credentialSecret(uid) != nil
}

var _ = Describe("A client secret", func() {
	It("is renewed before it expires, without a consent", func() {
		w := connected(expiring, managing)
		path, first := w.managementPath(), *w.get().Status.Client
		old := w.stored().Grants[0].Client
		Expect(first.ExpiresAt.Sub(first.UpdateAt.Time)).To(And(BeNumerically(">=", 24*time.Hour),
			BeNumerically("<=", secretLifetime/2)), "from the update until the secret expires")
		w.untilUpdate()
		w.restart()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(path)).To(Equal(1), "updates")
		put := w.server.Last(path)
		Expect(put.Method).To(Equal(http.MethodPut))
		complete := strings.Contains(put.Body, credential.RedirectURI(w.pages.URL))
		Expect(complete).To(BeTrue(), "the update does not hold the redirect URI")
		held, registered := w.stored(), w.server.Clients()[0]
		now := held.Grants[0].Client
		same, issued := held.Registrations[0].Client == now, now.ClientSecret == registered.Secret &&
			now.RegistrationAccessToken == registered.RegistrationAccessToken
		Expect(same).To(BeTrue(), "registration and grant hold different clients")
		Expect(issued).To(BeTrue(), "the grant does not hold what the server issued")
		renewed := now.ClientSecret != old.ClientSecret
		Expect(renewed).To(BeTrue(), "the secret is the old one")
		shown := w.get().Status.Client
		Expect(shown.ExpiresAt.Time).To(BeTemporally(">", first.ExpiresAt.Time))
		Expect(shown.UpdateAt.Time).To(BeTemporally(">", first.UpdateAt.Time))
		Expect(shown.ID).To(Equal(first.ID))
		w.clock.SetTime(first.ExpiresAt.Add(time.Hour)) // the old secret is over
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		_, secret := w.authentication()
		sent := secret == registered.Secret
		Expect(sent).To(BeTrue(), "the old secret was sent")
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "consents")
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "registrations")
	})

	It("that expired while the operator was away is renewed before the refresh", func() {
		w := connected(expiring, managing)
		w.clock.SetTime(w.clock.Now().Add(2 * secretLifetime))
		w.restart()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.AuthorizePath)).To(Equal(1), "consents")
	})
})

var _ = Describe("An update of a registration", func() {
	It("renews the client of an open link too", func() {
		w := connected(expiring, managing)
		w.clock.SetTime(w.get().Status.Client.UpdateAt.Add(-time.Minute))
		w.reconcile()
		link := w.annotate(v1alpha1.AnnotationReauthorize, "1").Status.AuthorizationURL
		w.cancel(link)
		w.untilUpdate()
		w.reconcile()
		held := w.stored()
		granted := held.Grants[0].Client
		offered, requested := held.Authorization.Offer.Binding.Client == granted,
			held.Authorization.Requests[0].Binding.Client == granted
		Expect(offered).To(BeTrue(), "the link has another client than the grant")
		Expect(requested).To(BeTrue(), "what a person began has another client than the grant")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "registrations")
	})

	It("that fails is retried and hinders no refresh", func() {
		w := connected(expiring, managing)
		path, expiry := w.managementPath(), w.get().Status.Client.ExpiresAt
		w.server.Handle(path, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
		w.untilUpdate()
		conn := w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(conn.Status.Failure).To(HaveValue(And(HaveField("Step", string(lifecycle.StepUpdateRegistration)),
			HaveField("Reason", v1alpha1.ReasonRegistrationFailing))))
		Expect(w.server.Count(path)).To(Equal(1), "updates")
		Expect(meta.FindStatusCondition(conn.Status.Conditions, registered).Message).To(ContainSubstring("renewing it fails"))
		refreshes := w.server.Grants()[0].Refreshes
		w.clock.SetTime(w.clock.Now().Add(50 * time.Minute))
		w.reconcile()
		Expect(w.server.Grants()[0].Refreshes).To(BeNumerically(">", refreshes), "refreshes")
		Expect(w.server.Count(path)).To(Equal(2), "updates")
		w.server.Handle(path, nil)
		w.untilRetry()
		conn = w.reconcile()
		Expect(conn.Status.Failure).To(BeNil())
		Expect(conn.Status.Client.ExpiresAt.Time).To(BeTemporally(">", expiry.Time))
	})
})

var _ = Describe("A client that cannot be updated", func() {
	refuses := func(w *world) {
		w.server.HandleTimes(w.managementPath(), 1,
			func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusMethodNotAllowed) })
	}
	repeats := func(w *world) { // the answer renews nothing
		w.server.HandleTimes(w.managementPath(), 1, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{}`))
		})
	}
	DescribeTable("is replaced by a consent while the old token stays:",
		func(hinder func(*world), deleted bool, configure ...func(*oauthtest.Config)) {
			w := connected(configure...)
			hinder(w)
			old, oldPath := w.get().Status.Client.ID, w.managementPath()
			w.untilUpdate()
			conn := w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
			w.want(authorized, isFalse, v1alpha1.ReasonConsentRequired)
			Expect(w.offersLink()).To(BeTrue(), "there is no link")
			Expect(conn.Status.Client.ID).NotTo(Equal(old), "the link is of the old client")
			Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(2), "registrations")
			w.untilRefresh()
			w.restart()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
			authenticated := w.server.Last(oauthtest.TokenPath).Header.Get("Authorization") != ""
			Expect(authenticated).To(BeTrue(), "the refresh sent no secret")
			Expect(w.server.Grants()[0].Refreshes).NotTo(BeZero(), "the old grant is not refreshed any more")
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			c := w.get().Status.Client
			Expect(c.ID).NotTo(Equal(old))
			Expect(c.UpdateAt.Time).To(BeTemporally(">", w.clock.Now()))
			Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(2), "registrations")
			gone := w.server.Last(oldPath).Method == http.MethodDelete
			Expect(gone).To(Equal(deleted), "whether the old client was deleted")
			left := len(w.stored().Retired)
			Expect(left).To(BeZero(), "clients that are left to be deleted")
		},
		Entry("the server manages no clients", func(*world) {}, false, expiring),
		Entry("the server refuses the update", refuses, true, expiring, managing),
		Entry("the server accepts and renews nothing", repeats, true, expiring, managing),
	)
})

var _ = Describe("A deletion of a client's connection", func() {
	It("deletes the registration after the revocation", func(ctx SpecContext) {
		w := connected(expiring, managing)
		path := w.managementPath()
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		Expect(w.letGo()).To(BeTrue(), "the object is still there")
		requests := w.server.Requests()
		last := requests[len(requests)-1]
		Expect(last.Method+" "+last.Path).To(Equal(http.MethodDelete+" "+path), "the last request")
		left := len(w.server.Clients())
		Expect(left).To(BeZero(), "clients that are left")
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(2), "revocations")
		Expect(w.server.Grants()[0].Revoked).To(BeTrue(), "the grant was not revoked")
	})

	It("waits for the registration, not for ever", func(ctx SpecContext) {
		w := connected(expiring, managing)
		path, uid := w.managementPath(), w.get().UID
		w.server.Handle(path, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.clock.SetTime(w.get().DeletionTimestamp.Time)
		Expect(w.letGo()).To(BeFalse(), "the object was let go at once")
		Expect(w.holdsCredential(uid)).To(BeTrue(), "the Secret was let go at once")
		revocations := w.server.Count(oauthtest.RevokePath)
		w.untilRetry()
		Expect(w.letGo()).To(BeFalse(), "the object was let go at the second try")
		Expect(w.server.Count(path)).To(Equal(2), "tries")
		Expect(w.server.Count(oauthtest.RevokePath)).To(Equal(revocations), "revocations")
		w.clock.SetTime(w.get().DeletionTimestamp.Add(finalizeWithin))
		Expect(w.letGo()).To(BeTrue(), "a server that is down keeps the object for ever")
		Expect(w.holdsCredential(uid)).To(BeFalse(), "a server that is down keeps the Secret for ever")
		Expect(w.told("UnregistrationFailed")).To(BeTrue(), "nobody is told that the client is left")
	})

	It("that orphans unregisters nothing", func(ctx SpecContext) {
		w := connected(expiring, managing)
		w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		Expect(w.letGo()).To(BeTrue(), "the object is still there")
		left := len(w.server.Clients())
		Expect(left).To(Equal(1), "clients that are left")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "revocations")
		Expect(w.server.Grants()[0].Revoked).To(BeFalse(), "the grant was revoked")
	})
})

var _ = Describe("A vanished connection", func() {
	It("is unregistered too", func() {
		w := connected(expiring, managing)
		uid := w.get().UID
		w.vanish()
		w.orphans(credentialKey(uid))
		w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
		w.orphans(credentialKey(uid))
		left := len(w.server.Clients())
		Expect(left).To(BeZero(), "clients that are left")
		Expect(w.holdsCredential(uid)).To(BeFalse(), "the Secret is left")
	})
})

var _ = Describe("A client that nobody needs", func() {
	It("is given up after a few failures", func(ctx SpecContext) {
		w := connected(managing)
		gone := mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "gone", RegistrationClientURI: w.server.URL +
			"/register/gone", RegistrationAccessToken: "t"}
		w.server.Handle("/register/gone", func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusServiceUnavailable)
		})
		_, err := w.r.Store.Update(ctx, w.stored(), func(c *credential.Credential) error {
			c.Retired = []credential.Registration{{Issuer: w.server.Issuer(), Client: gone}}
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		w.reconcile()
		for range lifecycle.MaxRevokeAttempts - 1 {
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.untilRetry()
			w.reconcile()
		}
		w.untilRetry()
		conn := w.reconcile()
		left := len(w.stored().Retired)
		Expect(left).To(BeZero(), "clients that are left to be deleted")
		Expect(conn.Status.Failure).To(BeNil())
		Expect(w.server.Count("/register/gone")).To(Equal(lifecycle.MaxRevokeAttempts+1), "tries")
		Expect(w.told("UnregistrationFailed")).To(BeTrue(), "nobody is told that the client is left")
	})
})

package controller

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
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
	w.t.Helper()
	at := w.get().Status.Client.UpdateAt
	if at == nil || !at.After(w.clock.Now()) {
		w.t.Fatalf("updateAt is %v at %v", at, w.clock.Now())
	}
	w.clock.SetTime(at.Time)
}

// told says whether an event with these words was emitted.
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

func TestAClientSecretIsRenewedBeforeItExpiresWithoutAConsent(t *testing.T) {
	w := connected(t, expiring, managing)
	path, first := w.managementPath(), *w.get().Status.Client
	old := w.stored().Grants[0].Client
	if left := first.ExpiresAt.Sub(first.UpdateAt.Time); left < 24*time.Hour || left > secretLifetime/2 {
		t.Fatalf("it is updated %s before its secret expires", left)
	}
	w.untilUpdate()
	w.restart()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if put := w.server.Last(path); put.Method != http.MethodPut || w.server.Count(path) != 1 || !strings.Contains(put.Body, credential.RedirectURI(w.pages.URL)) {
		t.Fatalf("the registration was updated %d times, by %s", w.server.Count(path), put.Method)
	}
	held, registered := w.stored(), w.server.Clients()[0]
	if held.Registrations[0].Client != held.Grants[0].Client || held.Grants[0].Client.ClientSecret != registered.Secret ||
		held.Grants[0].Client.ClientSecret == old.ClientSecret || held.Grants[0].Client.RegistrationAccessToken != registered.RegistrationAccessToken {
		t.Error("registration and grant do not both hold what the server issued")
	}
	now := w.get().Status.Client
	if !now.ExpiresAt.After(first.ExpiresAt.Time) || !now.UpdateAt.After(first.UpdateAt.Time) || now.ID != first.ID {
		t.Errorf("status shows %+v", now)
	}
	w.clock.SetTime(first.ExpiresAt.Add(time.Hour)) // the old secret is over
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if _, secret := w.authentication(); secret != registered.Secret || w.server.Count(oauthtest.AuthorizePath) != 1 || w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("the old secret was sent, or a consent or a registration was made")
	}
}

func TestASecretThatExpiredWhileTheOperatorWasAwayIsRenewedBeforeTheRefresh(t *testing.T) {
	w := connected(t, expiring, managing)
	w.clock.SetTime(w.clock.Now().Add(2 * secretLifetime))
	w.restart()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Error("it took a consent")
	}
}

func TestAnUpdateUnderAnOpenLinkRenewsTheClientOfTheLinkToo(t *testing.T) {
	w := connected(t, expiring, managing)
	w.clock.SetTime(w.get().Status.Client.UpdateAt.Add(-time.Minute))
	w.reconcile()
	link := w.annotate(v1alpha1.AnnotationReauthorize, "1").Status.AuthorizationURL
	w.cancel(link)
	w.untilUpdate()
	w.reconcile()
	held := w.stored()
	if got := held.Authorization.Offer.Binding.Client; got != held.Grants[0].Client || held.Authorization.Requests[0].Binding.Client != got {
		t.Fatal("the link has another client than the grant")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("another client was registered")
	}
}

func TestAnUpdateThatFailsIsRetriedAndHindersNoRefresh(t *testing.T) {
	w := connected(t, expiring, managing)
	path, expiry := w.managementPath(), w.get().Status.Client.ExpiresAt
	w.server.Handle(path, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.untilUpdate()
	conn := w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if f := conn.Status.Failure; f == nil || f.Step != string(stepUpdateRegistration) || f.Reason != v1alpha1.ReasonRegistrationFailing || w.server.Count(path) != 1 {
		t.Fatalf("the failure is %+v", f)
	}
	if m := findCondition(conn.Status.Conditions, registered).Message; !strings.Contains(m, "renewing it fails") {
		t.Errorf("Registered says %s", m)
	}
	refreshes := w.server.Grants()[0].Refreshes
	w.clock.SetTime(w.clock.Now().Add(50 * time.Minute))
	w.reconcile()
	if w.server.Grants()[0].Refreshes <= refreshes || w.server.Count(path) != 2 {
		t.Errorf("the token was not refreshed, or %d updates were tried", w.server.Count(path))
	}
	w.server.Handle(path, nil)
	w.untilRetry()
	conn = w.reconcile()
	if conn.Status.Failure != nil || !conn.Status.Client.ExpiresAt.After(expiry.Time) {
		t.Errorf("after the outage the failure is %+v and the client %+v", conn.Status.Failure, conn.Status.Client)
	}
}

func TestAClientThatCannotBeUpdatedIsReplacedByAConsentWhileTheOldTokenStays(t *testing.T) {
	refuse := func(w *world) {
		w.server.HandleTimes(w.managementPath(), 1, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusMethodNotAllowed) })
	}
	repeats := func(w *world) { // the answer renews nothing
		w.server.HandleTimes(w.managementPath(), 1, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{}`))
		})
	}
	for name, test := range map[string]struct {
		configure []func(*oauthtest.Config)
		hinder    func(*world)
		deleted   bool
	}{
		"the server manages no clients":         {configure: []func(*oauthtest.Config){expiring}},
		"the server refuses the update":         {[]func(*oauthtest.Config){expiring, managing}, refuse, true},
		"the server accepts and renews nothing": {[]func(*oauthtest.Config){expiring, managing}, repeats, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t, test.configure...)
			if test.hinder != nil {
				test.hinder(w)
			}
			old := w.get().Status.Client.ID
			oldPath := w.managementPath()
			w.untilUpdate()
			conn := w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
			w.want(authorized, isFalse, v1alpha1.ReasonConsentRequired)
			if conn.Status.AuthorizationURL == "" || conn.Status.Client.ID == old || w.server.Count(oauthtest.RegisterPath) != 2 {
				t.Fatal("there is no link, or it is of the old client")
			}
			w.untilRefresh()
			w.restart()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
			if got := w.server.Last(oauthtest.TokenPath).Header.Get("Authorization"); w.server.Grants()[0].Refreshes == 0 || got == "" {
				t.Error("the old grant is not refreshed any more")
			}
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if c := w.get().Status.Client; c.ID == old || !c.UpdateAt.After(w.clock.Now()) || w.server.Count(oauthtest.RegisterPath) != 2 {
				t.Errorf("status shows %+v after %d registrations", c, w.server.Count(oauthtest.RegisterPath))
			}
			if got := w.server.Last(oldPath).Method == http.MethodDelete; got != test.deleted || len(w.stored().Retired) != 0 {
				t.Errorf("the old client was deleted: %t, and %d are left to be", got, len(w.stored().Retired))
			}
		})
	}
}

func TestDeletionDeletesTheRegistrationAfterTheRevocation(t *testing.T) {
	w := connected(t, expiring, managing)
	path := w.managementPath()
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil {
		t.Fatal("the object is still there")
	}
	requests := w.server.Requests()
	last := requests[len(requests)-1]
	if last.Method != http.MethodDelete || last.Path != path || len(w.server.Clients()) != 0 || w.server.Count(oauthtest.RevokePath) != 2 || !w.server.Grants()[0].Revoked {
		t.Errorf("the last request is %s %s, and %d clients are left", last.Method, last.Path, len(w.server.Clients()))
	}
}

func TestADeletionWaitsForTheRegistrationNotForEver(t *testing.T) {
	w := connected(t, expiring, managing)
	path, uid := w.managementPath(), w.get().UID
	unavailable := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }
	w.server.Handle(path, unavailable)
	w.must(api.Delete(t.Context(), w.get()))
	w.clock.SetTime(w.get().DeletionTimestamp.Time)
	if w.reconcile() == nil || w.credentialSecret(uid) == nil {
		t.Fatal("it was let go at once")
	}
	revocations := w.server.Count(oauthtest.RevokePath)
	w.untilRetry()
	if w.reconcile() == nil || w.server.Count(path) != 2 || w.server.Count(oauthtest.RevokePath) != revocations {
		t.Error("it was not tried again, or revoked once more")
	}
	w.clock.SetTime(w.get().DeletionTimestamp.Add(finalizeWithin))
	if w.reconcile() != nil || w.credentialSecret(uid) != nil {
		t.Fatal("a server that is down keeps the object for ever")
	}
	if !w.told("UnregistrationFailed") {
		t.Error("nobody is told that the client is left")
	}
}

func TestAnOrphaningDeletionUnregistersNothing(t *testing.T) {
	w := connected(t, expiring, managing)
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil {
		t.Fatal("the object is still there")
	}
	if len(w.server.Clients()) != 1 || w.server.Count(oauthtest.RevokePath) != 0 || w.server.Grants()[0].Revoked {
		t.Error("something was ended at the server")
	}
}

func TestAVanishedConnectionIsUnregisteredToo(t *testing.T) {
	w := connected(t, expiring, managing)
	uid := w.get().UID
	w.vanish()
	w.orphans(credentialKey(uid))
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	w.orphans(credentialKey(uid))
	if len(w.server.Clients()) != 0 || w.credentialSecret(uid) != nil {
		t.Error("the client or the Secret is left")
	}
}

func TestAClientThatNobodyNeedsIsGivenUpAfterAFewFailures(t *testing.T) {
	w := connected(t, managing)
	gone := mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic, ClientID: "gone", RegistrationClientURI: w.server.URL + "/register/gone", RegistrationAccessToken: "t"}
	w.server.Handle("/register/gone", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	_, err := w.r.Store.Update(t.Context(), w.stored(), func(c *credential.Credential) error {
		c.Retired = []credential.Registration{{Issuer: w.server.Issuer(), Client: gone}}
		return nil
	})
	w.must(err)
	w.reconcile()
	for range maxRevokeAttempts - 1 {
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.untilRetry()
		w.reconcile()
	}
	w.untilRetry()
	conn := w.reconcile()
	if len(w.stored().Retired) != 0 || conn.Status.Failure != nil || w.server.Count("/register/gone") != maxRevokeAttempts+1 || !w.told("UnregistrationFailed") {
		t.Errorf("after %d tries the failure is %+v", w.server.Count("/register/gone"), conn.Status.Failure)
	}
}

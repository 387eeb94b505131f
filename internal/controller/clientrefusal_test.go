package controller

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
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
		_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": "access", "token_type": "Bearer", "refresh_token": "refresh", "expires_in": 3600})
	})
	return func() []string { return codes }
}

func TestASecretThatTheServerDemandsAfterAllIsSentFromTheNextRequestOn(t *testing.T) {
	w := newWorld(t)
	w.registersWithSecret()
	w.apply()
	client, link := w.get().Status.Client.ID, w.get().Status.AuthorizationURL
	codes := w.demandsSecret(true)
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if conn := w.get(); conn.Status.Client.ID != client || conn.Status.AuthorizationURL == "" || conn.Status.AuthorizationURL == link {
		t.Fatalf("the client is %s, the link %q", conn.Status.Client.ID, conn.Status.AuthorizationURL)
	}
	w.consent()
	w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
	w.untilRefresh()
	w.reconcile()
	w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
	if got := codes(); len(got) != 3 || got[0] == got[1] || w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Errorf("%d token requests, %d registrations", len(got), w.server.Count(oauthtest.RegisterPath))
	}
	if w.stored().Authorization.ClientRefusals != 0 {
		t.Error("a refresh that succeeded forgot nothing")
	}
}

func TestARefreshThatDemandsASecretGetsIt(t *testing.T) {
	w := newWorld(t)
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
	if w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("another client was registered")
	}
}

func TestNoRoundOfRegistrationAndRefusalFollowsAnotherForEver(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"without secrets": func(*world) {},
		"with a secret":   (*world).registersWithSecret,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			w.apply()
			w.demandsSecret(false)
			for range 5 {
				w.consent()
			}
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
			w.want(ready, isFalse, v1alpha1.ReasonCredentialsRejected)
			registrations := w.server.Count(oauthtest.RegisterPath)
			if registrations > maxClientRefusals || w.get().Status.AuthorizationURL == "" {
				t.Errorf("%d clients were registered, the link is %q", registrations, w.get().Status.AuthorizationURL)
			}
			w.annotate(v1alpha1.AnnotationReauthorize, "1")
			if got := w.server.Count(oauthtest.RegisterPath); got != registrations+1 {
				t.Errorf("%d clients were registered when a person asked", got-registrations)
			}
			w.server.Handle(oauthtest.TokenPath, nil)
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		})
	}
}

func TestAClientWhoseLinkNobodyOpenedIsKept(t *testing.T) {
	w, _ := waiting(t)
	for range 4 * maxExpiredConsents {
		w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
		w.reconcile()
	}
	if got := w.server.Count(oauthtest.RegisterPath); got != 1 {
		t.Errorf("%d clients were registered", got)
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAnAbandonedLinkRenewsItsClientThreeTimes(t *testing.T) {
	w, _ := waiting(t)
	for range 10 * maxExpiredConsents {
		w.cancel(w.get().Status.AuthorizationURL)
		w.clock.SetTime(w.clock.Now().Add(credential.TicketLifetime))
		w.reconcile()
	}
	if got := w.server.Count(oauthtest.RegisterPath); got != 1+maxRenewals {
		t.Errorf("%d clients were registered", got)
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAClientWhoseSecretExpiresIsReplacedWhileTheLinkIsOpen(t *testing.T) {
	w := newWorld(t)
	w.server.Edit(oauthtest.RegisterPath, -1, func(m map[string]any) {
		m["token_endpoint_auth_method"], m["client_secret"], m["client_secret_expires_at"] = "client_secret_basic", "x", w.clock.Now().Add(time.Hour).Unix()
	})
	w.apply()
	for range 8 {
		conn := w.get()
		if conn.Status.AuthorizationURL == "" {
			break
		}
		if left := conn.Status.Client.ExpiresAt.Sub(w.clock.Now()); left < 10*time.Minute {
			t.Fatalf("a link is open whose client's secret is good for %s", left)
		}
		w.restart()
		w.later(10 * time.Minute)
	}
	for range 20 { // nobody comes
		w.later(10 * time.Minute)
	}
	w.want(ready, isFalse, v1alpha1.ReasonRegistrationFailing)
	if got := w.server.Count(oauthtest.RegisterPath); got != 1+maxRenewals || w.get().Status.AuthorizationURL != "" {
		t.Errorf("%d clients were registered, the link is %q", got, w.get().Status.AuthorizationURL)
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "1")
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if w.get().Status.AuthorizationURL == "" {
		t.Error("a person asked for a link and gets none")
	}
}

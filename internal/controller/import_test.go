package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// oldRedirect is of the tool that a team used before.
const oldRedirect = "http://localhost:7777/callback"

// grantElsewhere has a person consent to another tool, which got a refresh token so.
func (w *world) grantElsewhere(s *oauthtest.Server, client oauthtest.Client) (refreshToken string) {
	w.t.Helper()
	client.RedirectURIs = []string{oldRedirect}
	s.AddClient(client)
	verifier := mcpoauth.NewCodeVerifier()
	link, err := mcpoauth.AuthorizationURL(mcpoauth.AuthorizationRequest{
		Endpoint: s.URL + oauthtest.AuthorizePath, ClientID: client.ID, RedirectURI: oldRedirect, Resource: s.Resource(),
		Scopes: []string{"mcp:read", "offline_access"}, State: "state", CodeVerifier: verifier,
	})
	w.must(err)
	back, err := s.Approve(link)
	w.must(err)
	answer, err := w.r.OAuth.For(s.MCPURL()).Exchange(w.t.Context(), mcpoauth.CodeRequest{
		TokenEndpoint: mcpoauth.TokenEndpoint{URL: s.URL + oauthtest.TokenPath, Resource: s.Resource(), Client: mcpoauth.ClientRegistration{ClientID: client.ID, ClientSecret: client.Secret}},
		Code:          back.Query().Get("code"), CodeVerifier: verifier, RedirectURI: oldRedirect,
	})
	w.must(err)
	if answer.RefreshToken == "" {
		w.t.Fatal("no refresh token")
	}
	return answer.RefreshToken
}

func importing(c *v1alpha1.MCPConnection) {
	c.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"}
}

func TestAGrantIsBroughtAlongWithoutANewConsent(t *testing.T) {
	for name, client := range map[string]oauthtest.Client{
		"of a public client":       {ID: "old tool"},
		"of a confidential client": {ID: "old tool", Secret: firstSecret},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			token := w.grantElsewhere(w.server, client)
			w.keep("old", map[string]string{"refresh_token": token + "\n", "client_id": client.ID, "client_secret": client.Secret, "issuer": w.server.Issuer()})
			before := w.server.Count(oauthtest.TokenPath)
			w.apply(importing)
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if conn := w.get(); conn.Status.AuthorizationURL != "" || conn.Status.Client.ID != "old tool" || w.server.Count(oauthtest.TokenPath) != before+1 {
				t.Errorf("after %d token requests status is %+v", w.server.Count(oauthtest.TokenPath)-before, conn.Status)
			}
			for range 2 { // rotated, and never the imported one again
				w.restart()
				w.untilRefresh()
				w.reconcile()
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			}
			if !w.server.ValidAccessToken(w.secret()["access_token"]) {
				t.Error("the published token is not valid")
			}
		})
	}
}

func TestAnImportWaitsForItsSecretAndAsksForNoConsentMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.apply(importing)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	if w.get().Status.AuthorizationURL != "" || len(w.server.Requests()) != 0 {
		t.Error("a consent was asked for")
	}
	token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
	w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool"})
	w.later(time.Minute)
	if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, "has no key issuer") {
		t.Errorf("the message is %q", m)
	}
	w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAGrantOfAnotherIssuerIsNotImported(t *testing.T) {
	w, other := newWorld(t), oauthtest.New(t)
	token := w.grantElsewhere(other, oauthtest.Client{ID: "old tool"})
	w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": other.Issuer()})
	w.apply(importing)
	w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
	if w.server.Count(oauthtest.TokenPath) != 0 {
		t.Error("the refresh token was sent to another issuer")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ImportSecretRef = nil })
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

func TestAnImportedTokenThatIsNoGoodLeadsToAConsentAndIsNotTriedAgain(t *testing.T) {
	w := newWorld(t)
	token := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
	w.server.RevokeGrants()
	w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
	w.apply(importing)
	w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
	asked := w.server.Count(oauthtest.TokenPath)
	w.restart()
	w.later(time.Hour)
	if w.server.Count(oauthtest.TokenPath) != asked {
		t.Error("the dead token was sent again")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if got := w.get().Status.Client.ID; got == "old tool" {
		t.Error("the consent was asked for as the old tool")
	}
}

func TestAnotherRefreshTokenInTheSecretIsImportedOnceTheFirstIsDead(t *testing.T) {
	w := newWorld(t)
	first := w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"})
	w.server.RevokeGrants()
	keep := func(token string) {
		w.keep("old", map[string]string{"refresh_token": token, "client_id": "old tool", "issuer": w.server.Issuer()})
	}
	keep(first)
	w.apply(importing)
	w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
	keep(w.grantElsewhere(w.server, oauthtest.Client{ID: "old tool"}))
	w.annotate(v1alpha1.AnnotationRefresh, "now")
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if got := w.get().Status.Scopes; !slices.Contains(got, "mcp:read") {
		t.Errorf("granted %v", got)
	}
}

package controller

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// withLongTokens has the next answer leave no room for anything but its refresh token: each character of an access token of the
// longest kind that is taken is stored as six.
func withLongTokens(m map[string]any) { m["access_token"] = strings.Repeat("\x01", 64<<10) }

// withLongRefreshToken has not even that fit.
func withLongRefreshToken(m map[string]any) { m["refresh_token"] = strings.Repeat("\x01", 64<<10) }

// readyMessage is what Ready says.
func (w *world) readyMessage() string {
	w.t.Helper()
	return findCondition(w.get().Status.Conditions, ready).Message
}

func TestOfATooLargeAnswerToACodeTheRefreshTokenIsSaved(t *testing.T) {
	w := newWorld(t)
	w.apply()
	w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
	w.consent()
	g := w.stored().Grants[0]
	if g.AccessToken != "" || g.RefreshToken != w.server.Grants()[0].RefreshToken || g.RefreshToken == "" {
		t.Fatal("the refresh token alone is not what is stored")
	}
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
	if m := w.readyMessage(); !strings.Contains(m, "too large") || w.server.Count(oauthtest.RevokePath) != 0 || w.secret() != nil {
		t.Errorf("Ready says %q; %d revocations", m, w.server.Count(oauthtest.RevokePath))
	}
	w.restart()
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) || w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Error("no valid token is published, or it took another consent")
	}
}

func TestOfATooLargeAnswerToARefreshTheRefreshTokenIsSaved(t *testing.T) {
	w := connected(t)
	published := w.secret()[v1alpha1.KeyAccessToken]
	w.untilRefresh()
	w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
	w.reconcile()
	g := w.stored().Grants[0]
	if g.RefreshToken != w.server.Grants()[0].RefreshToken || g.AccessToken != published || g.Claim != nil || g.UnknownOutcomes != 0 {
		t.Fatal("the new refresh token is not stored beside the access token that was published")
	}
	if f := w.get().Status.Failure; f == nil || f.Step != string(stepRefresh) || !strings.Contains(f.Message, "too large") || w.server.Count(oauthtest.RevokePath) != 0 {
		t.Errorf("the failure is %+v; %d revocations", f, w.server.Count(oauthtest.RevokePath))
	}
	w.restart()
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.Failure != nil || !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
		t.Error("it did not heal")
	}
}

// TestAnAnswerOfWhichNothingFitsIsGivenBack ends for every kind of request, where saving went on for ever.
func TestAnAnswerOfWhichNothingFitsIsGivenBack(t *testing.T) {
	for name, test := range map[string]struct {
		meets  func(*world)
		tokens int
	}{
		"to a code": {func(w *world) {
			w.apply()
			w.server.Edit(oauthtest.TokenPath, 1, func(m map[string]any) { withLongTokens(m); withLongRefreshToken(m) })
			w.consent()
		}, 2},
		"to a code, without a refresh token": {func(w *world) {
			w.server.Configure(func(c *oauthtest.Config) { c.NoRefreshTokens = true })
			w.apply()
			w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
			w.consent()
		}, 1},
		"to a refresh": {func(w *world) {
			w.apply()
			w.consent()
			w.untilRefresh()
			w.server.Edit(oauthtest.TokenPath, 1, withLongRefreshToken)
			w.reconcile()
		}, 2},
		"to client credentials": {func(w *world) {
			w.registerByHand(firstSecret, "")
			w.keepCredentials(firstSecret)
			w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
			w.apply(w.clientCredentials)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.meets(w)
			if n := w.server.Count(oauthtest.RevokePath); n != test.tokens {
				t.Errorf("%d tokens were given back", n)
			}
			if last := w.server.Last(oauthtest.RevokePath); last.Form.Get("token_type_hint") != "access_token" || last.Form.Get("token") == "" {
				t.Error("the access token was not given back")
			}
			conn := w.get()
			said := w.readyMessage()
			if conn.Status.Failure != nil {
				said += conn.Status.Failure.Message
			}
			if !strings.Contains(said, "too large") {
				t.Errorf("it is said nowhere: %q", said)
			}
			for _, g := range w.stored().Grants {
				if g.Claim != nil || len(g.AccessToken)+len(g.RefreshToken) > 1<<10 {
					t.Error("the claim stayed, or what does not fit was stored")
				}
			}
			if w.unsaved() != 0 {
				t.Error("an answer counts as unsaved")
			}
		})
	}
}

func TestARefreshThatBringsNothingButALongAccessTokenKeepsTheGrant(t *testing.T) {
	w := connected(t, func(c *oauthtest.Config) { c.KeepRefreshTokens = true })
	kept := w.stored().Grants[0].RefreshToken
	w.untilRefresh()
	w.server.Edit(oauthtest.TokenPath, 1, withLongTokens)
	w.reconcile()
	if w.stored().Grants[0].RefreshToken != kept || w.server.Count(oauthtest.RevokePath) != 0 {
		t.Fatal("the grant was ended by an answer that did not replace its refresh token")
	}
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAClientThatIsTooLargeIsNotUsedAndDeletedAtItsServer(t *testing.T) {
	w := newWorld(t, managing, expiring)
	long := func(m map[string]any) { m["client_secret"] = strings.Repeat("\x01", 16<<10) }
	w.server.Edit(oauthtest.RegisterPath, 1, long)
	w.apply()
	w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
	if m := findCondition(w.get().Status.Conditions, registered).Message; !strings.Contains(m, "too large") || w.get().Status.AuthorizationURL != "" {
		t.Errorf("Registered says %q, or a link is offered", m)
	}
	if n := len(w.server.Clients()); n != 0 {
		t.Errorf("%d clients stayed at the server", n)
	}
	w.untilRetry()
	w.reconcile()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	first := w.get().Status.Client.ID
	w.untilUpdate()
	w.server.Edit(w.managementPath(), 1, long)
	w.reconcile()
	if renewed := w.stored().Grants[0].Client; !renewed.UpdateRefused || len(renewed.ClientSecret) > 1<<10 || renewed.ClientID != first {
		t.Error("the update is not given up")
	}
	if put := w.server.Last(oauthtest.RegisterPath + "/" + first); put.Method != http.MethodPut {
		t.Errorf("%s", put.Method)
	}
}

func TestClientCredentialsOfASecretThatAreTooLargeAreToldOf(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("s", 40<<10)
	w.registerByHand(long, "")
	w.keepCredentials(long)
	w.apply(w.preregistered)
	w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
	if m := w.readyMessage(); !strings.Contains(m, "too large") || strings.Contains(m, long[:100]) {
		t.Errorf("Ready says %q", m)
	}
}

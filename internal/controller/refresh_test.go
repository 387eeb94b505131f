package controller

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// untilRetry steps the clock to the next try of the step that fails.
func (w *world) untilRetry() {
	w.t.Helper()
	failure := w.get().Status.Failure
	if failure == nil || failure.RetryAt == nil {
		w.t.Fatalf("failure is %+v", failure)
	}
	w.clock.SetTime(failure.RetryAt.Time)
}

// onceMore is one reconcile, and when it wants the next.
func (w *world) onceMore() time.Duration {
	w.t.Helper()
	result, err := w.r.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result.RequeueAfter
}

// abandon leaves a claim behind as a process does that is killed between claim and answer.
func (w *world) abandon(claim func(*credential.Credential, *credential.Claim)) {
	w.t.Helper()
	_, err := w.r.Store.Update(w.t.Context(), w.stored(), func(c *credential.Credential) error {
		claim(c, &credential.Claim{ID: "left", Holder: "a process that is gone"})
		return nil
	})
	w.must(err)
}

func claimGrant(c *credential.Credential, claim *credential.Claim) { c.Grants[0].Claim = claim }

func claimCode(c *credential.Credential, claim *credential.Claim) {
	c.Authorization.Response.Claim = claim
}

// keptTokens makes a second try with the same refresh token succeed.
func keptTokens(c *oauthtest.Config) { c.KeepRefreshTokens = true }

func TestOneLostAnswerIsMadeUpForByOneMoreTry(t *testing.T) {
	w := connected(t, keptTokens)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.server.Lose(oauthtest.TokenPath, 1)
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	if w.stored().Grants[0].UnknownOutcomes != 1 || w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Fatal("the unknown outcome was not counted, or the token did not stay")
	}
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.secret()[v1alpha1.KeyAccessToken] == token || w.stored().Grants[0].UnknownOutcomes != 0 {
		t.Error("the second try did not lead to a token")
	}
}

func TestALostRotationEndsInALinkAndKeepsTheToken(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.server.Lose(oauthtest.TokenPath, 1)
	w.untilRefresh()
	w.reconcile()
	w.untilRetry()
	conn := w.reconcile()
	w.want(authorized, isFalse, v1alpha1.ReasonRefreshRejected)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized) // this server ends the access token with the grant
	if !w.server.Grants()[0].Reused || w.secret()[v1alpha1.KeyAccessToken] != token || conn.Status.AuthorizationURL == "" {
		t.Fatal("the rotated token was not tried once more, the token went, or there is no link")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAfterTwoLostAnswersNothingIsSentUntilTheTokenExpires(t *testing.T) {
	w := connected(t, keptTokens)
	w.server.Lose(oauthtest.TokenPath, 3)
	w.untilRefresh()
	w.reconcile()
	w.untilRetry()
	w.reconcile()
	sent := w.server.Count(oauthtest.TokenPath)
	if sent != 3 { // the code and two refreshes
		t.Fatalf("%d token requests", sent)
	}
	expiry := w.get().Status.Token.ExpiresAt.Time
	for w.clock.Now().Before(expiry.Add(-3 * time.Minute)) {
		w.clock.SetTime(w.clock.Now().Add(2 * time.Minute))
		w.restart()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	}
	if w.server.Count(oauthtest.TokenPath) != sent {
		t.Fatal("a refresh token of unknown fate was sent while the access token was valid")
	}
	w.clock.SetTime(expiry)
	conn := w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
	w.want(authorized, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
	if w.server.Count(oauthtest.TokenPath) != sent+1 || conn.Status.AuthorizationURL == "" {
		t.Fatal("no try at expiry, or no link")
	}
	w.untilRetry()
	conn = w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if conn.Status.AuthorizationURL != "" || !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
		t.Error("the link stayed after the recovery, or the token is not valid")
	}
}

func TestAConsentHealsAnUnknownOutcome(t *testing.T) {
	w := connected(t, keptTokens)
	w.server.Lose(oauthtest.TokenPath, -1)
	w.untilRefresh()
	w.reconcile()
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
	w.server.Handle(oauthtest.TokenPath, nil)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.Failure != nil || w.get().Status.AuthorizationURL != "" {
		t.Error("a failure or link is left")
	}
}

func TestAClaimLeftByAKilledProcessIsWatchedBeforeItIsTakenOver(t *testing.T) {
	for name, test := range map[string]struct {
		// sent says whether the process that was killed had sent the refresh token.
		sent  bool
		ready string
	}{
		"it had sent nothing":        {ready: succeeded},
		"it had sent and got no say": {sent: true, ready: "False ProbeUnauthorized"}, // this server ends the access token with the grant
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			g := w.stored().Grants[0]
			w.abandon(claimGrant)
			if test.sent {
				resp, err := http.PostForm(g.TokenEndpoint, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken},
					"client_id": {g.Client.ClientID}, "resource": {g.Resource}})
				w.must(err)
				w.must(resp.Body.Close())
			}
			sent := w.server.Count(oauthtest.TokenPath)
			w.untilRefresh()
			if wait := w.onceMore(); wait <= 0 || wait > claimMargin {
				t.Errorf("the claim is looked at again after %s", wait)
			}
			w.clock.SetTime(w.clock.Now().Add(takeoverAfter - time.Second))
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.server.Count(oauthtest.TokenPath) != sent || w.stored().Grants[0].Claim.ID != "left" {
				t.Fatal("the claim was taken over too early")
			}
			w.clock.SetTime(w.clock.Now().Add(time.Second))
			if got := shown(w.reconcile(), ready); got != test.ready {
				t.Errorf("Ready is %q, want %q", got, test.ready)
			}
			if w.server.Count(oauthtest.TokenPath) != sent+1 || w.stored().Grants[0].Claim != nil {
				t.Error("the claim was not taken over, or not given back")
			}
		})
	}
}

func TestAProcessThatStartsAnewWatchesAClaimFromTheBeginning(t *testing.T) {
	w := connected(t)
	w.abandon(claimGrant)
	w.untilRefresh()
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(takeoverAfter - time.Second))
	w.restart()
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(takeoverAfter - time.Second))
	w.reconcile()
	if w.server.Count(oauthtest.TokenPath) != 1 {
		t.Error("what another process has watched counted")
	}
}

func TestACodeThatAKilledProcessClaimedIsGivenUpAndASecondConsentWorks(t *testing.T) {
	w, link := waiting(t)
	if status := w.open(link); status != http.StatusSeeOther {
		t.Fatalf("the flow ended with %d", status)
	}
	w.abandon(claimCode)
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(takeoverAfter - time.Second))
	w.reconcile()
	if w.stored().Authorization.Response == nil {
		t.Fatal("the code was given up too early")
	}
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	conn := w.reconcile()
	w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestFailing)
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestFailing)
	if conn.Status.AuthorizationURL != link || w.server.Count(oauthtest.TokenPath) != 0 {
		t.Fatal("the link went, or the code was sent")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestALostAnswerToACodeIsNeverFollowedByASecondTry(t *testing.T) {
	w, link := waiting(t)
	w.server.Lose(oauthtest.TokenPath, 1)
	w.consent()
	w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestFailing)
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	conn := w.reconcile()
	if w.server.Count(oauthtest.TokenPath) != 1 || conn.Status.AuthorizationURL != link {
		t.Fatal("the code was sent again, or the link went")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Grants()[0].Reused {
		t.Error("a code was used twice")
	}
}

func TestANewRefreshTokenIsKeptThoughTheAccessTokenWithItIsOfNoUse(t *testing.T) {
	for name, unusable := range map[string]any{
		"without end": strings.Repeat("x", 100_000),
		"missing":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			published := w.secret()[v1alpha1.KeyAccessToken]
			w.server.Edit(oauthtest.TokenPath, 2, func(answer map[string]any) { answer["access_token"] = unusable })
			w.untilRefresh()
			w.reconcile()
			for range 2 {
				w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
				if g := w.stored().Grants[0]; g.UnknownOutcomes != 0 || g.Claim != nil || w.secret()[v1alpha1.KeyAccessToken] != published {
					t.Errorf("%d unknown outcomes, claim %v", g.UnknownOutcomes, g.Claim)
				}
				w.untilRetry()
				w.reconcile()
			}
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if len(w.server.Grants()) != 1 || !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
				t.Error("the grant was lost")
			}
		})
	}
}

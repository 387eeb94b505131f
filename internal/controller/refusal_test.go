package controller

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func answering(status int) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
}

// refusedConnection is one whose server refuses every token, as the probe found.
func refusedConnection(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.apply()
	w.tokenTried(answering(http.StatusUnauthorized))
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	return w
}

func TestA401LeadsToOneRefreshOneDiscoveryAndALink(t *testing.T) {
	w := newWorld(t)
	w.apply()
	w.tokenTried(answering(http.StatusUnauthorized))
	discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
	w.consent()
	w.want(probed, isFalse, v1alpha1.ReasonProbeUnauthorized)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	w.want(v1alpha1.ConditionReconciling, isTrue, v1alpha1.ReasonProbeUnauthorized)
	if w.tries() != 2 || w.server.Count(oauthtest.TokenPath) != 2 || w.server.Count(oauthtest.ResourceMetadataPath) != discoveries+1 {
		t.Errorf("%d probes, %d token requests, %d discoveries", w.tries(), w.server.Count(oauthtest.TokenPath), w.server.Count(oauthtest.ResourceMetadataPath)-discoveries)
	}
	if w.get().Status.AuthorizationURL == "" || w.secret()[v1alpha1.KeyAccessToken] == "" {
		t.Error("there is no link, or the token is gone")
	}
	link := w.get().Status.AuthorizationURL
	w.untilRefresh() // the new token is tried, and the link stays meanwhile
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	if w.get().Status.AuthorizationURL != link {
		t.Error("the link went with a refresh that did not help")
	}
	w.server.Handle(oauthtest.MCPPath, nil)
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.AuthorizationURL != "" || w.get().Status.Failure != nil {
		t.Error("the link or the failure stayed")
	}
}

func TestARefusedTokenIsTriedAgainFromAMinuteToAnHour(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = -1; c.NoRefreshTokens = true })
	w.apply()
	w.tokenTried(answering(http.StatusUnauthorized))
	w.consent()
	w.every(10 * time.Minute) // an edit has it tried at once
	waits := time.Minute
	for range 9 {
		f := w.get().Status.Failure
		if f == nil || f.Step != string(stepProbe) || f.RetryAt == nil {
			t.Fatalf("the failure is %+v", f)
		}
		if wait := f.RetryAt.Sub(w.clock.Now()); wait > waits+time.Second || wait < waits*9/10-time.Second {
			t.Errorf("it is tried again after %s, want about %s", wait, waits)
		}
		waits = min(2*waits, time.Hour)
		tries := w.tries()
		w.restart()
		w.clock.SetTime(f.RetryAt.Add(-time.Second))
		w.reconcile()
		if w.tries() != tries {
			t.Fatal("it was tried before its time")
		}
		w.clock.SetTime(f.RetryAt.Time)
		w.reconcile()
		if w.tries() != tries+1 {
			t.Fatalf("%d probes at the retry", w.tries()-tries)
		}
		w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	}
	w.server.Handle(oauthtest.MCPPath, nil)
	w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestOneConsentIsAskedForBecauseOfA401(t *testing.T) {
	w := refusedConnection(t)
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	if w.get().Status.AuthorizationURL != "" || w.server.Count(oauthtest.AuthorizePath) != 2 {
		t.Error("a consent that did not help is asked for again")
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "1") // a person may ask
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	if w.get().Status.AuthorizationURL != "" {
		t.Error("another one is asked for")
	}
	w.server.Handle(oauthtest.MCPPath, nil)
	w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.tokenTried(answering(http.StatusUnauthorized))
	w.every(time.Minute)
	w.later(2 * time.Minute)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	if w.get().Status.AuthorizationURL == "" {
		t.Error("no consent is asked for, though the server had accepted the token meanwhile")
	}
}

func TestWhatIsNo401ChangesReadyInNeitherDirection(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a 403": answering(http.StatusForbidden),
		"missing scopes": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:admin"`)
			rw.WriteHeader(http.StatusForbidden)
		},
		"a 500":     answering(http.StatusInternalServerError),
		"a 503":     answering(http.StatusServiceUnavailable),
		"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			w.tokenTried(answer)
			w.every(time.Minute)
			w.later(2 * time.Minute)
			if c := findCondition(w.get().Status.Conditions, ready); c.Status != isTrue {
				t.Errorf("Ready is %+v", c)
			}
			w = refusedConnection(t)
			w.tokenTried(answer)
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
			w.reconcile()
			w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
			w.server.Handle(oauthtest.MCPPath, nil)
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		})
	}
}

func TestAfterInvalidGrantThePublishedTokenIsTriedOnce(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		ready  string
	}{
		"the server accepts it": {ready: "True RefreshRejected"},
		"the server refuses it": {answer: answering(http.StatusUnauthorized), ready: "False ProbeUnauthorized"},
		"the server forbids it": {answer: func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:admin"`)
			rw.WriteHeader(http.StatusForbidden)
		}, ready: "True RefreshRejected"},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			if test.answer != nil {
				w.tokenTried(test.answer)
			}
			repeats(w.server, oauthtest.TokenPath, 1, http.StatusBadRequest, "invalid_grant")
			tries := w.tries()
			w.untilRefresh()
			conn := w.reconcile()
			if got := shown(conn, ready); got != test.ready || w.tries() != tries+1 || conn.Status.AuthorizationURL == "" {
				t.Errorf("Ready is %q after %d probes", got, w.tries()-tries)
			}
			w.reconcile()
			if w.tries() != tries+1 {
				t.Error("it was tried again at once")
			}
			w.consent()
			if test.answer == nil {
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			}
		})
	}
}

func TestAConsumersChallengeNeverChangesReady(t *testing.T) {
	w := connected(t)
	w.annotate(v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAPublicServerThatAnswers401AndNamesNoAuthorizationServerIsNotHurried(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.Public = true })
	w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
	w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
	w.every(time.Minute)
	public := 0
	w.server.Handle(oauthtest.MCPPath, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") == "" && r.ContentLength == int64(len(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`)) {
			rw.WriteHeader(http.StatusOK) // whoever only looks
			return
		}
		public++
		rw.WriteHeader(http.StatusUnauthorized)
	})
	w.later(2 * time.Minute)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	before := public
	w.reconcile()
	w.reconcile()
	if public != before {
		t.Errorf("%d requests at once again", public-before)
	}
}

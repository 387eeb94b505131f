package controller

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// onceMore and not reconcile, whose laws want no instant that lies ahead. What was planned while the clock was ahead would come too late: the token expires at the server by the server's clock.
func TestAClockThatWasSetBackDoesNotHoldBackARefresh(t *testing.T) {
	for name, test := range map[string]struct {
		back time.Duration
		sent int
	}{
		"an hour back, the token is refreshed at once":              {time.Hour, 1},
		"seconds back are the difference between two machines":      {30 * time.Second, 0},
		"the slack is a minute":                                     {clockSlack, 0},
		"a little more than that says that nobody knows the expiry": {clockSlack + time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			sent := w.server.Count(oauthtest.TokenPath)
			w.clock.SetTime(w.clock.Now().Add(-test.back))
			for range 2 { // the second time the token is of this clock
				w.onceMore()
				w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			}
			if got := w.server.Count(oauthtest.TokenPath) - sent; got != test.sent {
				t.Errorf("%d refreshes, want %d", got, test.sent)
			}
		})
	}
}

func TestAClockThatWasSetBackDoesNotHoldBackARetry(t *testing.T) {
	w := connected(t)
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.untilRefresh()
	w.reconcile() // it fails since before the clock was ahead
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.reconcile()
	sent := w.server.Count(oauthtest.TokenPath)
	w.clock.SetTime(w.clock.Now().Add(-time.Hour))
	w.onceMore()
	if got := w.server.Count(oauthtest.TokenPath) - sent; got != 1 {
		t.Fatalf("%d tries at once, want 1", got)
	}
	w.onceMore()
	if got := w.server.Count(oauthtest.TokenPath) - sent; got != 1 {
		t.Error("it was tried again without a pause")
	}
	w.server.Handle(oauthtest.TokenPath, nil)
	w.untilRetry()
	w.onceMore()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAClockThatWasSetBackPutsATryAtTheTokensEndOffByNoMoreThanItsLife(t *testing.T) {
	w := connected(t, keptTokens)
	token := w.get().Status.Token
	life := token.ExpiresAt.Sub(token.IssuedAt.Time)
	w.clock.SetTime(w.clock.Now().Add(-5 * life))
	w.server.Lose(oauthtest.TokenPath, 2)
	w.onceMore()
	w.untilRetry()
	w.onceMore() // two unknown outcomes
	sent := w.server.Count(oauthtest.TokenPath)
	if wait := w.get().Status.Failure.RetryAt.Sub(w.clock.Now()); wait < life-time.Second || wait > life+time.Second {
		t.Fatalf("the next try comes after %s, and the token lives for %s", wait, life)
	}
	w.clock.SetTime(w.clock.Now().Add(life - time.Minute))
	w.onceMore()
	if w.server.Count(oauthtest.TokenPath) != sent {
		t.Fatal("a third try while the token may be valid")
	}
	w.untilRetry()
	w.onceMore()
	if w.server.Count(oauthtest.TokenPath) != sent+1 {
		t.Fatal("no try once the token has expired for certain")
	}
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

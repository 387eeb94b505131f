package controller

import (
	"net/http"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// answersJSON has the token endpoint answer everything so.
func (w *world) answersJSON(status int, body string) {
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = rw.Write([]byte(body))
	})
}

func TestAGrantThatIsRefusedForHoursIsSetAsideAndTriedOn(t *testing.T) {
	w := connected(t)
	w.untilRefresh()
	w.answersJSON(http.StatusBadRequest, `{"error":"invalid_scope"}`)
	begin := w.clock.Now()
	for range 40 {
		w.reconcile()
		if w.stored().Grants[0].SetAside != nil {
			break
		}
		w.untilRetry()
	}
	aside := w.stored().Grants[0].SetAside
	if took := w.clock.Now().Sub(begin); aside == nil || took < rejectedFor || w.server.Count(oauthtest.TokenPath) < maxRejections {
		t.Fatalf("it was set aside (%+v) after %s and %d requests", aside, took, w.server.Count(oauthtest.TokenPath))
	}
	w.want(authorized, isFalse, v1alpha1.ReasonTokenRequestRejected)
	if w.get().Status.AuthorizationURL == "" {
		t.Error("there is no link")
	}
	for range 3 {
		before := w.server.Count(oauthtest.TokenPath)
		w.restart()
		w.later(time.Hour + time.Second)
		if got := w.server.Count(oauthtest.TokenPath) - before; got != 1 {
			t.Errorf("%d requests in an hour", got)
		}
	}
	if again := w.stored().Grants[0].SetAside; again == nil || !again.At.Equal(aside.At) {
		t.Errorf("it is set aside anew: %+v", again)
	}
	w.server.Handle(oauthtest.TokenPath, nil)
	w.later(time.Hour + time.Second)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.AuthorizationURL != "" || w.stored().Grants[0].SetAside != nil {
		t.Error("a success took nothing back")
	}
}

func TestAGatewaysJSONNeverEndsAGrantAndALinkIsOfferedOnceTheTokenHasExpired(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		link   bool
	}{
		"a gateway forbids it":       {http.StatusForbidden, `{"error":"Forbidden","status":403}`, true},
		"a 400 that says nothing":    {http.StatusBadRequest, `{"message":"no"}`, true},
		"nothing is found":           {http.StatusNotFound, `{"status":404,"error":"Not Found"}`, false},
		"the server fails":           {http.StatusInternalServerError, `{"error":"invalid_request"}`, false},
		"there are too many of them": {http.StatusTooManyRequests, `{"error":"invalid_request"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = 5 * time.Minute })
			expiry := w.get().Status.Token.ExpiresAt.Time
			w.untilRefresh()
			w.answersJSON(test.status, test.body)
			for range 20 {
				if w.reconcile(); w.stored().Grants[0].SetAside != nil {
					t.Fatal("the grant is set aside")
				}
				if expired := !w.clock.Now().Before(expiry); (w.get().Status.AuthorizationURL != "") != (expired && test.link) {
					t.Fatalf("the link is %q, expired: %t", w.get().Status.AuthorizationURL, expired)
				}
				w.untilRetry()
			}
			w.server.Handle(oauthtest.TokenPath, nil)
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.get().Status.AuthorizationURL != "" {
				t.Error("the link stayed")
			}
		})
	}
}

func TestARefusalOfAnotherKindDoesNotTakeAGrantBack(t *testing.T) {
	o := given(granted(isSetAside, func(g *credential.Grant) { g.SetAside.Retried = true }), published)
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(epoch)}
	for _, e := range []struct {
		status int
		code   string
	}{{400, "invalid_request"}, {500, ""}} {
		err := refusing(e.status, e.code)
		r.blame(o.stored(), o.grant(), &err)
		if o.grant().SetAside == nil {
			t.Errorf("a %d took it back", e.status)
		}
	}
}

package controller

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const day = 24 * time.Hour

// tokenThatExpires tells its expiry to the schedule only.
func tokenThatExpires(at time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + ".c2ln"
}

func TestAGrantIsKeptAlive(t *testing.T) {
	for name, test := range map[string]struct {
		alive, before time.Duration
		// lifetime of the token: 0 if the server does not say; jwt if only the token does.
		lifetime, jwt time.Duration
		grant         func(*credential.Grant)
		// not before and not after; zero: never.
		want [2]time.Duration
	}{
		"a token of a month, every week":                       {alive: 7 * day, lifetime: 30 * day, want: [2]time.Duration{7*day - time.Second, 7 * day}},
		"one whose expiry the token tells":                     {alive: day, jwt: 30 * day, want: [2]time.Duration{day - time.Second, day}},
		"one of unknown lifetime":                              {alive: 10 * time.Minute, want: [2]time.Duration{10*time.Minute - time.Second, 10 * time.Minute}},
		"one of unknown lifetime is refreshed hourly anyway":   {alive: day, want: [2]time.Duration{time.Hour - time.Second, time.Hour}},
		"a short one is refreshed as it expires":               {alive: day, lifetime: time.Hour, want: [2]time.Duration{36 * time.Minute, 40 * time.Minute}},
		"sooner than before asks":                              {alive: time.Minute, before: time.Minute, lifetime: time.Hour, want: [2]time.Duration{59 * time.Second, time.Minute}},
		"before, if that is sooner":                            {alive: day, before: 5 * time.Minute, lifetime: time.Hour, want: [2]time.Duration{55*time.Minute - time.Second, 55 * time.Minute}},
		"never at once":                                        {alive: time.Minute, lifetime: time.Second, want: [2]time.Duration{minRefreshInterval, minRefreshInterval + 2*time.Second}},
		"not without the wish":                                 {lifetime: 30 * day, want: [2]time.Duration{18 * day, 20 * day}},
		"a grant without a person too":                         {alive: day, lifetime: 30 * day, grant: func(g *credential.Grant) { g.GrantType = "ClientCredentials" }, want: [2]time.Duration{day - time.Second, day}},
		"but not what cannot be refreshed":                     {alive: day, lifetime: 30 * day, grant: func(g *credential.Grant) { g.RefreshToken = "" }},
		"nor what cannot be refreshed and lasts for all it is": {alive: day, grant: func(g *credential.Grant) { g.RefreshToken = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(specified(func(s *v1alpha1.MCPConnectionSpec) {
				s.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: test.alive}, Before: &metav1.Duration{Duration: test.before}}
			}))
			issued := epoch.Add(250 * time.Millisecond)
			answer := &mcpoauth.TokenResponse{AccessToken: "opaque", TokenType: "Bearer", ReceivedAt: issued}
			if test.lifetime != 0 {
				answer.ExpiresAt = issued.Add(test.lifetime)
			}
			if test.jwt != 0 {
				answer.AccessToken = tokenThatExpires(issued.Add(test.jwt))
			}
			g := credential.Grant{RefreshToken: "r"}
			if test.grant != nil {
				test.grant(&g)
			}
			store(o, &g, answer)
			if test.want[1] == 0 {
				if !g.RefreshAt.IsZero() {
					t.Errorf("it is refreshed at %s", g.RefreshAt)
				}
				return
			}
			wait := g.RefreshAt.Sub(issued)
			if wait > test.want[1] || wait < test.want[0] || RefreshMoment(o.conn.UID, g.RefreshAt).Sub(issued) < minRefreshInterval {
				t.Errorf("it is refreshed after %s, want %s", wait, test.want)
			}
		})
	}
}

func TestALongLivedTokenIsRefreshedAsOftenAsItsGrantNeeds(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = 30 * day })
	w.apply(func(c *v1alpha1.MCPConnection) {
		c.Spec.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: 7 * day}}
	})
	w.consent()
	began := w.clock.Now()
	for week := 1; week <= 5; week++ {
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		if passed := w.clock.Now().Sub(began); w.server.Count(oauthtest.TokenPath) != 1+week || passed > time.Duration(week)*7*day {
			t.Fatalf("%d token requests in %s", w.server.Count(oauthtest.TokenPath), passed)
		}
	}
}

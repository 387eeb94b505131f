package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// endsAfter has the refresh token of a grant expire by itself.
func endsAfter(life time.Duration) func(*credential.Grant) {
	return func(g *credential.Grant) { g.EndsAt, g.EndNamedAt = epoch.Add(life), epoch }
}

// endStays has a refresh not have prolonged the grant.
func endStays(g *credential.Grant) { g.EndStays = true }

func TestTheEndOfAGrantIsThatOfItsRefreshToken(t *testing.T) {
	later := epoch.Add(20 * time.Minute)
	for name, test := range map[string]struct {
		before       []func(*credential.Grant)
		refreshToken string
		end          time.Time
		named        bool
		want         time.Time
		since        time.Time
		stays        bool
	}{
		"it is named":                                {refreshToken: "new", end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"it is named for the one that stays":         {end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"none is named":                              {refreshToken: "new"},
		"a refresh moves it":                         {before: grantOf(endsAfter(time.Hour)), refreshToken: "new", end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"a refresh moves it by a minute":             {before: grantOf(endsAfter(time.Hour)), refreshToken: "new", end: epoch.Add(61 * time.Minute), named: true, want: epoch.Add(61 * time.Minute), since: later},
		"a refresh moves it by less":                 {before: grantOf(endsAfter(time.Hour)), refreshToken: "new", end: epoch.Add(61*time.Minute - 1), named: true, want: epoch.Add(61*time.Minute - 1), since: epoch, stays: true},
		"a refresh leaves it":                        {before: grantOf(endsAfter(time.Hour)), refreshToken: "new", end: epoch.Add(time.Hour), named: true, want: epoch.Add(time.Hour), since: epoch, stays: true},
		"it moves after it had stayed":               {before: grantOf(endsAfter(time.Hour), endStays), refreshToken: "new", end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"the refresh token stays, and with it this":  {before: grantOf(endsAfter(time.Hour)), want: epoch.Add(time.Hour), since: epoch, stays: true},
		"another refresh token has none":             {before: grantOf(endsAfter(time.Hour)), refreshToken: "new"},
		"the server says that there is none":         {before: grantOf(endsAfter(time.Hour)), named: true},
		"the server says that of the next one":       {before: grantOf(endsAfter(time.Hour), endStays), refreshToken: "new", named: true},
		"what is without a refresh token has no end": {before: grantOf(withoutRefreshToken), end: later.Add(time.Hour), named: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(test.before...))
			g := o.grant()
			store(o, g, &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: test.refreshToken, ReceivedAt: later, ExpiresAt: later.Add(24 * time.Hour),
				RefreshExpiresAt: test.end, RefreshExpiryNamed: test.named})
			if !g.EndsAt.Equal(test.want) || !g.EndNamedAt.Equal(test.since) || g.EndStays != test.stays {
				t.Errorf("it ends at %s, as was named at %s, stays: %t", g.EndsAt, g.EndNamedAt, g.EndStays)
			}
		})
	}
}

func TestARefreshIsPlannedByTheShorterLife(t *testing.T) {
	for name, test := range map[string]struct {
		access, refresh time.Duration
		spec            func(*v1alpha1.MCPConnectionSpec)
		earliest, last  time.Duration
	}{
		"the access token's":                {access: time.Hour, refresh: 24 * time.Hour, earliest: 36 * time.Minute, last: 40 * time.Minute},
		"the refresh token's":               {access: 24 * time.Hour, refresh: 30 * time.Minute, earliest: 18 * time.Minute, last: 20 * time.Minute},
		"an access token of unknown life":   {refresh: 30 * time.Minute, earliest: 18 * time.Minute, last: 20 * time.Minute},
		"hourly, if that is shorter":        {refresh: 30 * 24 * time.Hour, earliest: time.Hour, last: time.Hour},
		"not closer than five seconds":      {access: time.Hour, refresh: time.Second, earliest: minRefreshInterval, last: minRefreshInterval + 2*time.Second},
		"so long before the end, if wanted": {access: 24 * time.Hour, refresh: 30 * time.Minute, spec: refreshedBefore(5 * time.Minute), earliest: 25 * time.Minute, last: 25 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			o := given()
			if test.spec != nil {
				specified(test.spec)(o)
			}
			answer := &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: "r", ReceivedAt: epoch, RefreshExpiresAt: epoch.Add(test.refresh), RefreshExpiryNamed: true}
			if test.access > 0 {
				answer.ExpiresAt = epoch.Add(test.access)
			}
			g := (&Reconciler{}).newGrant(o, givenBinding(givenServer), answer)
			if at := g.RefreshAt.Sub(epoch); at < test.earliest-time.Second || at > test.last {
				t.Errorf("it is refreshed after %s, want %s to %s", at, test.earliest, test.last)
			}
		})
	}
}

func TestAGrantThatNoRefreshProlongsGetsALinkAtTwoThirdsOfItsLife(t *testing.T) {
	long := func(g *credential.Grant) { g.ExpiresAt, g.RefreshAt = epoch.Add(24*time.Hour), epoch.Add(15*time.Hour) }
	ends, stays := grantOf(long, endsAfter(9*time.Hour)), grantOf(long, endsAfter(9*time.Hour), endStays)
	testDecisions(t, map[string]decision{
		"not before that":                         {at: 6*time.Hour - time.Second, o: given(granted(stays...), published), want: stepNone},
		"then":                                    {at: 6 * time.Hour, o: given(granted(stays...), published), want: stepDiscover},
		"not if a refresh may prolong it":         {at: 8 * time.Hour, o: given(granted(ends...), published), want: stepNone},
		"a link is enough":                        {at: 6 * time.Hour, o: given(granted(stays...), published, offered()), want: stepNone},
		"a passed end stops no refresh":           {at: 15 * time.Hour, o: given(granted(stays...), published, offered()), want: stepRefresh},
		"nor does one that a refresh may prolong": {at: 15 * time.Hour, o: given(granted(ends...), published), want: stepRefresh},
	})
	o := given(granted(stays...), published)
	if rest, rests := restsUntil(epoch, reported(epoch, o), cachedOf(o).basis); !rests || rest.Sub(epoch) != 6*time.Hour {
		t.Errorf("it rests until %s (%t)", rest, rests)
	}
	if status := report(epoch, o); status.Token.GrantExpiresAt == nil || !status.Token.GrantExpiresAt.Time.Equal(epoch.Add(9*time.Hour)) {
		t.Errorf("status says %v", status.Token.GrantExpiresAt)
	}
	conn := reported(epoch.Add(6*time.Hour), given(granted(stays...), published, offered()))
	if got := shown(conn, ready); got != "True ConsentRequired" || conn.Status.AuthorizationURL == "" {
		t.Errorf("Ready is %q, the link %q", got, conn.Status.AuthorizationURL)
	}
}

func TestAShortLivedRefreshTokenIsUsedInTime(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = 24 * time.Hour })
	w.apply()
	w.server.Edit(oauthtest.TokenPath, -1, func(m map[string]any) { m["refresh_expires_in"] = 1800 })
	w.consent()
	token := w.get().Status.Token
	if life := token.RefreshAt.Sub(token.IssuedAt.Time); life > 20*time.Minute {
		t.Errorf("it is refreshed after %s", life)
	}
	if token.GrantExpiresAt == nil || token.GrantExpiresAt.Sub(token.IssuedAt.Time) > 31*time.Minute {
		t.Errorf("the grant ends at %v", token.GrantExpiresAt)
	}
	for range 3 {
		w.restart()
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	}
	end := w.get().Status.Token.GrantExpiresAt.Time
	w.server.Edit(oauthtest.TokenPath, -1, func(m map[string]any) { m["refresh_expires_in"] = end.Sub(w.clock.Now()).Seconds() })
	w.untilRefresh()
	w.reconcile()
	w.clock.SetTime(end.Add(-time.Minute))
	conn := w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == "" {
		t.Error("no link is offered for a grant that ends")
	}
}

func TestATokenOfUnknownFateIsSentOnceItHasExpiredForCertain(t *testing.T) {
	o := given()
	answer := &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: "r", ReceivedAt: epoch.Add(300 * time.Millisecond), ExpiresAt: epoch.Add(givenLifetime + 300*time.Millisecond)}
	o.stored().PutGrant((&Reconciler{}).newGrant(o, givenBinding(givenServer), answer))
	g := o.grant()
	g.Probe = givenProbe()
	unknownOutcomes(2)(g)
	published(o)
	if at := o.secretExpiry(); !at.Equal(epoch.Add(givenLifetime)) {
		t.Errorf("consumers are told %s", at)
	}
	for at, want := range map[time.Duration]bool{
		givenLifetime - 1:                        false,
		givenLifetime:                            false,
		givenLifetime + 300*time.Millisecond - 1: false,
		givenLifetime + 300*time.Millisecond:     true,
		givenLifetime + time.Second:              true,
	} {
		if got := decide(epoch.Add(at), o); (got == stepRefresh) != want {
			t.Errorf("after %s the step is %q", at, got)
		}
	}
}

func refreshedBefore(before time.Duration) func(*v1alpha1.MCPConnectionSpec) {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.Refresh = &v1alpha1.RefreshSpec{Before: &metav1.Duration{Duration: before}}
	}
}

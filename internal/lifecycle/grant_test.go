package lifecycle

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
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
		"it is named": {refreshToken: "new", end: later.Add(time.Hour), named: true,
			want: later.Add(time.Hour), since: later},
		"it is named for the one that stays": {end: later.Add(time.Hour), named: true, want: later.Add(time.Hour),
			since: later},
		"none is named": {refreshToken: "new"},
		"a refresh moves it": {before: grantOf(endsAfter(time.Hour)), refreshToken: "new",
			end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"a refresh moves it by a minute": {before: grantOf(endsAfter(time.Hour)), refreshToken: "new",
			end: epoch.Add(61 * time.Minute), named: true, want: epoch.Add(61 * time.Minute), since: later},
		"a refresh moves it by less": {before: grantOf(endsAfter(time.Hour)), refreshToken: "new",
			end: epoch.Add(61*time.Minute - 1), named: true, want: epoch.Add(61*time.Minute - 1), since: epoch, stays: true},
		"a refresh leaves it": {before: grantOf(endsAfter(time.Hour)), refreshToken: "new",
			end: epoch.Add(time.Hour), named: true, want: epoch.Add(time.Hour), since: epoch, stays: true},
		"it moves after it had stayed": {before: grantOf(endsAfter(time.Hour), endStays), refreshToken: "new",
			end: later.Add(time.Hour), named: true, want: later.Add(time.Hour), since: later},
		"the refresh token stays, and with it this": {before: grantOf(endsAfter(time.Hour)), want: epoch.Add(time.Hour),
			since: epoch, stays: true},
		"another refresh token has none":     {before: grantOf(endsAfter(time.Hour)), refreshToken: "new"},
		"the server says that there is none": {before: grantOf(endsAfter(time.Hour)), named: true},
		"the server says that of the next one": {before: grantOf(endsAfter(time.Hour), endStays), refreshToken: "new",
			named: true},
		"what is without a refresh token has no end": {before: grantOf(withoutRefreshToken), end: later.Add(time.Hour),
			named: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(test.before...))
			g := o.Grant()
			StoreAnswer(o, g, &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: test.refreshToken, ReceivedAt: later,
				ExpiresAt:        later.Add(24 * time.Hour),
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
		"the access token's": {access: time.Hour, refresh: 24 * time.Hour, earliest: 36 * time.Minute,
			last: 40 * time.Minute},
		"the refresh token's": {access: 24 * time.Hour, refresh: 30 * time.Minute, earliest: 18 * time.Minute,
			last: 20 * time.Minute},
		"an access token of unknown life": {refresh: 30 * time.Minute, earliest: 18 * time.Minute, last: 20 * time.Minute},
		"hourly, if that is shorter":      {refresh: 30 * 24 * time.Hour, earliest: time.Hour, last: time.Hour},
		"not closer than five seconds": {access: time.Hour, refresh: time.Second, earliest: minRefreshInterval,
			last: minRefreshInterval + 2*time.Second},
		"so long before the end, if wanted": {access: 24 * time.Hour, refresh: 30 * time.Minute,
			spec: refreshedBefore(5 * time.Minute), earliest: 25 * time.Minute, last: 25 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			o := given()
			if test.spec != nil {
				specified(test.spec)(o)
			}
			answer := &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: "r", ReceivedAt: epoch,
				RefreshExpiresAt: epoch.Add(test.refresh), RefreshExpiryNamed: true}
			if test.access > 0 {
				answer.ExpiresAt = epoch.Add(test.access)
			}
			g := o.NewGrant(givenBinding(givenServer), answer)
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
		"not before that": {at: 6*time.Hour - time.Second, o: given(granted(stays...), published), want: StepNone},
		"then": {at: 6 * time.Hour, o: given(granted(stays...), published),
			want: StepDiscover},
		"not if a refresh may prolong it": {at: 8 * time.Hour, o: given(granted(ends...), published), want: StepNone},
		"a link is enough": {at: 6 * time.Hour, o: given(granted(stays...), published, offered()),
			want: StepNone},
		"a passed end stops no refresh": {at: 15 * time.Hour, o: given(granted(stays...), published, offered()),
			want: StepRefresh},
		"nor does one that a refresh may prolong": {at: 15 * time.Hour, o: given(granted(ends...), published),
			want: StepRefresh},
	})
	o := given(granted(stays...), published)
	if rest, rests := RestsUntil(epoch, reported(epoch, o), cachedOf(o).Basis); !rests || rest.Sub(epoch) != 6*time.Hour {
		t.Errorf("it rests until %s (%t)", rest, rests)
	}
	if status := Report(epoch, o); status.Token.GrantExpiresAt == nil ||
		!status.Token.GrantExpiresAt.Time.Equal(epoch.Add(9*time.Hour)) {
		t.Errorf("status says %v", status.Token.GrantExpiresAt)
	}
	conn := reported(epoch.Add(6*time.Hour), given(granted(stays...), published, offered()))
	if got := shown(conn, ready); got != "True ConsentRequired" || conn.Status.AuthorizationURL == "" {
		t.Errorf("Ready is %q, the link %q", got, conn.Status.AuthorizationURL)
	}
}

func TestATokenOfUnknownFateIsSentOnceItHasExpiredForCertain(t *testing.T) {
	o := given()
	answer := &mcpoauth.TokenResponse{AccessToken: "t", RefreshToken: "r", ReceivedAt: epoch.Add(300 * time.Millisecond),
		ExpiresAt: epoch.Add(givenLifetime + 300*time.Millisecond)}
	o.stored().PutGrant(o.NewGrant(givenBinding(givenServer), answer))
	g := o.Grant()
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
		if got := Decide(epoch.Add(at), o); (got == StepRefresh) != want {
			t.Errorf("after %s the step is %q", at, got)
		}
	}
}

func refreshedBefore(before time.Duration) func(*v1alpha1.MCPConnectionSpec) {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.Refresh = &v1alpha1.RefreshSpec{Before: &metav1.Duration{Duration: before}}
	}
}

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
		"a token of a month, every week": {alive: 7 * day, lifetime: 30 * day,
			want: [2]time.Duration{7*day - time.Second, 7 * day}},
		"one whose expiry the token tells": {alive: day, jwt: 30 * day, want: [2]time.Duration{day - time.Second, day}},
		"one of unknown lifetime": {alive: 10 * time.Minute,
			want: [2]time.Duration{10*time.Minute - time.Second, 10 * time.Minute}},
		"one of unknown lifetime is refreshed hourly anyway": {alive: day, want: [2]time.Duration{time.Hour - time.Second,
			time.Hour}},
		"a short one is refreshed as it expires": {alive: day, lifetime: time.Hour,
			want: [2]time.Duration{36 * time.Minute, 40 * time.Minute}},
		"sooner than before asks": {alive: time.Minute, before: time.Minute, lifetime: time.Hour,
			want: [2]time.Duration{59 * time.Second, time.Minute}},
		"before, if that is sooner": {alive: day, before: 5 * time.Minute, lifetime: time.Hour,
			want: [2]time.Duration{55*time.Minute - time.Second, 55 * time.Minute}},
		"never at once": {alive: time.Minute, lifetime: time.Second,
			want: [2]time.Duration{minRefreshInterval, minRefreshInterval + 2*time.Second}},
		"not without the wish": {lifetime: 30 * day, want: [2]time.Duration{18 * day, 20 * day}},
		"a grant without a person too": {alive: day, lifetime: 30 * day,
			grant: func(g *credential.Grant) { g.GrantType = "ClientCredentials" },
			want:  [2]time.Duration{day - time.Second, day}},
		"but not what cannot be refreshed": {alive: day, lifetime: 30 * day,
			grant: func(g *credential.Grant) { g.RefreshToken = "" }},
		"nor what cannot be refreshed and lasts for all it is": {alive: day,
			grant: func(g *credential.Grant) { g.RefreshToken = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(specified(func(s *v1alpha1.MCPConnectionSpec) {
				s.Refresh = &v1alpha1.RefreshSpec{KeepAlive: &metav1.Duration{Duration: test.alive},
					Before: &metav1.Duration{Duration: test.before}}
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
			StoreAnswer(o, &g, answer)
			if test.want[1] == 0 {
				if !g.RefreshAt.IsZero() {
					t.Errorf("it is refreshed at %s", g.RefreshAt)
				}
				return
			}
			wait := g.RefreshAt.Sub(issued)
			if wait > test.want[1] || wait < test.want[0] ||
				RefreshMoment(o.Conn.UID, g.RefreshAt).Sub(issued) < minRefreshInterval {
				t.Errorf("it is refreshed after %s, want %s", wait, test.want)
			}
		})
	}
}

func TestANewSecretIsSentToTheIssuerThatItBelongsToOnly(t *testing.T) {
	for name, test := range map[string]struct{ pinned, id, secret string }{
		"the same issuer and client get the new secret": {pinned: givenIssuer, id: "client", secret: "new"},
		"another issuer keeps the old one":              {pinned: otherIssuer, id: "client", secret: "old"},
		"another client keeps the old one":              {pinned: givenIssuer, id: "another", secret: "old"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &State{
				Conn: &v1alpha1.MCPConnection{Spec: v1alpha1.MCPConnectionSpec{
					Client: &v1alpha1.ClientSpec{Issuer: test.pinned}}},
				Client: &ReferencedClient{ID: test.id, Secret: "new"},
			}
			bound := &credential.Binding{Issuer: givenIssuer, Client: mcpoauth.ClientRegistration{
				Method: mcpoauth.Preregistered, ClientID: "client", ClientSecret: "old",
			}}
			if got := TokenEndpoint(o, bound, time.Time{}).Client.ClientSecret; got != test.secret {
				t.Errorf("the %s secret is sent", got)
			}
		})
	}
}

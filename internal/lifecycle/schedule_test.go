package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestARefreshIsDueAtTwoThirdsOfTheLifetimeLessSomeJitter(t *testing.T) {
	earliest, latest := time.Duration(1<<62), time.Duration(0)
	for i := range 500 {
		uid := types.UID(fmt.Sprintf("uid-%d", i))
		at := refreshTime(uid, epoch, epoch.Add(time.Hour), 0).Sub(epoch)
		if at != at.Truncate(time.Second) || at > 40*time.Minute || at < 36*time.Minute {
			t.Fatalf("%s refreshes after %s", uid, at)
		}
		if again := refreshTime(uid, epoch, epoch.Add(time.Hour), 0).Sub(epoch); again != at {
			t.Fatalf("%s refreshes after %s, then after %s", uid, at, again)
		}
		earliest, latest = min(earliest, at), max(latest, at)
	}
	if earliest > 37*time.Minute || latest < 39*time.Minute {
		t.Errorf("the jitter only spreads from %s to %s", earliest, latest)
	}
}

func TestTheTimeOfARefresh(t *testing.T) {
	for name, test := range map[string]struct {
		issued   time.Time
		lifetime time.Duration
		before   time.Duration
		want     [2]time.Duration
	}{
		"before its expiry, if the spec says so": {lifetime: time.Hour, before: 5 * time.Minute,
			want: [2]time.Duration{55 * time.Minute, 55 * time.Minute}},
		"at half its life, if before is longer": {lifetime: time.Hour, before: 50 * time.Minute,
			want: [2]time.Duration{30 * time.Minute, 30 * time.Minute}},
		"at half its life, if before is longer than life": {lifetime: time.Hour, before: 100 * time.Hour,
			want: [2]time.Duration{30 * time.Minute, 30 * time.Minute}},
		"every hour, if nobody knows its life": {want: [2]time.Duration{time.Hour, time.Hour}},
		"every hour, whatever before says": {before: time.Minute,
			want: [2]time.Duration{time.Hour, time.Hour}},
		"never at once": {lifetime: time.Second, want: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		"never at once for a token that was issued expired": {lifetime: -time.Hour,
			want: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		"nor with before": {lifetime: -time.Hour, before: time.Minute,
			want: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		"never within five seconds, whatever the fraction is": {issued: epoch.Add(900 * time.Millisecond),
			lifetime: 2 * time.Second, want: [2]time.Duration{6 * time.Second, 7 * time.Second}},
		"in whole seconds after the epoch": {issued: epoch.Add(300 * time.Millisecond), lifetime: time.Hour,
			before: time.Minute, want: [2]time.Duration{59*time.Minute - time.Second, 59 * time.Minute}},
		"a long life": {lifetime: 90 * 24 * time.Hour, want: [2]time.Duration{54 * 24 * time.Hour, 60 * 24 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			issued, expires := test.issued, time.Time{}
			if issued.IsZero() {
				issued = epoch
			}
			if test.lifetime != 0 {
				expires = issued.Add(test.lifetime)
			}
			at := refreshTime(givenUID, issued, expires, test.before)
			if wait := at.Sub(issued); wait < test.want[0] || wait > test.want[1] || !at.Equal(at.Truncate(time.Second)) {
				t.Errorf("after %s, want %s", wait, test.want)
			}
		})
	}
}

func TestRefreshesOfOneSecondAreSpreadOverIt(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 100 {
		early := epoch.Sub(RefreshMoment(types.UID(fmt.Sprint(i)), epoch))
		if early < 0 || early >= time.Second {
			t.Fatalf("%s early", early)
		}
		seen[early] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d moments", len(seen))
	}
}

func TestNoRefreshFollowsTheLastWithinFiveSeconds(t *testing.T) {
	for i := range 500 {
		uid, issued := types.UID(fmt.Sprint(i)), epoch.Add(time.Duration(i)*7*time.Millisecond)
		for _, lifetime := range []time.Duration{-time.Hour, time.Second, 7 * time.Second, 8 * time.Second, 9 * time.Second} {
			at := refreshTime(uid, issued, issued.Add(lifetime), 0)
			if wait := RefreshMoment(uid, at).Sub(issued); wait < minRefreshInterval || wait > minRefreshInterval+2*time.Second {
				t.Fatalf("a token of %s is refreshed after %s", lifetime, wait)
			}
		}
	}
}

func TestALinkIsOfferedAtTwoThirdsOfALifeThatCannotBeProlonged(t *testing.T) {
	for name, test := range map[string]struct {
		grant credential.Grant
		want  time.Time
	}{
		"without a refresh token": {credential.Grant{IssuedAt: epoch, ExpiresAt: epoch.Add(time.Hour)},
			epoch.Add(40 * time.Minute)},
		"in whole seconds": {credential.Grant{IssuedAt: epoch, ExpiresAt: epoch.Add(10 * time.Second)},
			epoch.Add(6 * time.Second)},
		"never without an expiry": {credential.Grant{IssuedAt: epoch}, time.Time{}},
		"never with a refresh token": {credential.Grant{IssuedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
			RefreshToken: "r"}, time.Time{}},
		"even for a token that was never without": {credential.Grant{IssuedAt: epoch, ExpiresAt: epoch}, epoch},
	} {
		t.Run(name, func(t *testing.T) {
			if got := linkTime(&test.grant); !got.Equal(test.want) {
				t.Errorf("at %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheBackOffGrowsToALimit(t *testing.T) {
	for kind, bounds := range map[mcpoauth.Kind][2]time.Duration{
		mcpoauth.Transient: {FirstRetry, maxRetry}, mcpoauth.Rejected: {FirstRecheck, maxRecheck},
		mcpoauth.Misconfigured: {FirstRecheck, maxRecheck},
	} {
		nominal := bounds[0]
		for attempts := int32(1); attempts < 60; attempts++ {
			got := RetryDelay(givenUID, StepRefresh, attempts, kind)
			if got > nominal || got < nominal*9/10 {
				t.Errorf("kind %d waits %s after %d attempts, want about %s", kind, got, attempts, nominal)
			}
			nominal = min(2*nominal, bounds[1])
		}
		for _, attempts := range []int32{-5, 0} {
			if got := RetryDelay(givenUID, StepRefresh, attempts, kind); got <= 0 || got > bounds[0] {
				t.Errorf("after %d attempts: %s", attempts, got)
			}
		}
		if got := RetryDelay(givenUID, StepRefresh, 1<<31-1, kind); got < bounds[1]*9/10 {
			t.Errorf("after very many attempts: %s", got)
		}
	}
	if RetryDelay(givenUID, StepRefresh, 9, mcpoauth.Transient) == RetryDelay(givenUID, StepDiscover, 9,
		mcpoauth.Transient) {
		t.Error("two steps have the same jitter")
	}
}

func TestTheTimeOfARetry(t *testing.T) {
	for name, test := range map[string]struct {
		delay, after, left, want time.Duration
	}{
		"the back-off":                 {delay: time.Minute, want: time.Minute},
		"the server's wish, if longer": {delay: time.Minute, after: time.Hour, want: time.Hour},
		"the back-off, if longer":      {delay: time.Hour, after: time.Minute, want: time.Hour},
		"a quarter of what is left, if the wish is longer": {delay: time.Second, after: time.Hour, left: 20 * time.Minute,
			want: 5 * time.Minute},
		"a quarter of what is left, if the back-off is": {delay: time.Hour, left: 20 * time.Minute, want: 5 * time.Minute},
		"less than a quarter of what is left": {delay: time.Second, after: 2 * time.Second,
			left: 20 * time.Minute, want: 2 * time.Second},
		"a second at least":              {delay: time.Minute, left: 2 * time.Second, want: time.Second},
		"the wish, once nothing is left": {delay: time.Second, after: time.Hour, left: -time.Minute, want: time.Hour},
		"the wish, if the token expires this very instant": {delay: time.Second, after: time.Hour, left: -1,
			want: time.Hour},
		"the back-off to the full, if the life is much longer": {delay: 5 * time.Minute, left: 24 * time.Hour,
			want: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			expires := time.Time{}
			if test.left != 0 {
				expires = epoch.Add(test.left)
			}
			if got := RetryTime(epoch, test.delay, test.after, expires).Sub(epoch); got != test.want {
				t.Errorf("after %s, want %s", got, test.want)
			}
		})
	}
}

func TestTheNextLookIsAtTheEarliestInstantAhead(t *testing.T) {
	at := func(d time.Duration) time.Time { return epoch.Add(d) }
	for name, test := range map[string]struct {
		times []time.Time
		want  time.Duration
	}{
		"nothing":                 {},
		"no instant":              {times: []time.Time{{}, {}}},
		"one":                     {times: []time.Time{at(3)}, want: 3},
		"the earliest":            {times: []time.Time{at(9), {}, at(3), at(5)}, want: 3},
		"none that passed":        {times: []time.Time{at(-1), at(5)}, want: 5},
		"none that is now":        {times: []time.Time{at(0), at(5)}, want: 5},
		"nothing if all are past": {times: []time.Time{at(-1), at(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			var tasks []Task
			for _, at := range test.times {
				tasks = append(tasks, Task{At: at})
			}
			next, found := Earliest(epoch, tasks)
			if found != (test.want > 0) || (found && next.At.Sub(epoch) != test.want) {
				t.Errorf("at %s (found: %t), want after %s", next.At, found, test.want)
			}
		})
	}
}

func TestTheScheduleCoversAllThatIsDue(t *testing.T) {
	moment := RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		want time.Duration
	}{
		"a free slot": {o: given(granted(), published, func(o *State) { o.Busy = 3 * time.Second }), want: 3 * time.Second},
		"a refresh that is due before a slot is free": {o: given(granted(), published,
			func(o *State) { o.Busy = 2 * time.Hour }), want: moment},
		"what is due already":           {o: given(), want: UrgentSlotRetry},
		"a refresh":                     {o: given(granted(), published), want: moment},
		"a refresh that came due since": {o: given(granted(), published), at: givenRefresh, want: UrgentSlotRetry},
		"the expiry of a refresh that fails": {o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)), at: givenRefresh, want: givenLifetime - givenRefresh},
		"the retry of a refresh": {o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", givenRefresh+time.Minute)), at: givenRefresh, want: time.Minute},
		"the retry of a discovery": {o: given(failing(StepDiscover, "ServerUnreachable", time.Minute)), want: time.Minute},
		"no retry of what is not to be done": {o: given(granted(isPublic), published,
			failing(StepDiscover, "ServerUnreachable", time.Minute))},
		"the end of a link":  {o: given(offered()), want: credential.TicketLifetime},
		"the time of a link": {o: given(granted(withoutRefreshToken), published), want: 40 * time.Minute},
		"the expiry under an open link": {o: given(granted(withoutRefreshToken), published, offered()),
			at: 50 * time.Minute, want: 10 * time.Minute},
		"the expiry of a grant that was set aside": {o: given(granted(isSetAside), published, offered()),
			want: givenLifetime},
		"the expiry while suspended": {o: given(granted(), published, isSuspended), want: givenLifetime},
		"nothing else while suspended": {
			o: given(offered(), failing(StepDiscover, "ServerUnreachable", time.Minute), isSuspended)},
		"the expiry of a token whose grant is unreadable": {o: given(granted(), published,
			func(o *State) { o.Held, o.Unusable = nil, credential.ErrCorrupt }), want: givenLifetime},
		"the expiry of an older token": {o: given(granted(), published,
			granted(isOf("DPoP"), withoutExpiry, withoutRefreshToken)), want: givenLifetime},
		"nothing for a public server":    {o: given(granted(isPublic), published)},
		"nothing for a token that lasts": {o: given(granted(withoutRefreshToken, withoutExpiry), published)},
		"nothing where only an edit helps": {o: given(noURL,
			failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0))},
		"the retry of a finalization": {o: given(isDeleted, failing(StepFinalize, "TokenRequestFailing", time.Minute)),
			want: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pause(epoch.Add(test.at), test.o); got != test.want {
				t.Errorf("after %s, want %s", got, test.want)
			}
		})
	}
}

func TestAGrantOfUnknownFateIsLookedAtOnceItsTokenHasExpiredForCertain(t *testing.T) {
	o := given(granted(unknownOutcomes(2), func(g *credential.Grant) {
		g.ExpiresAt = g.ExpiresAt.Add(800 * time.Millisecond)
	}), published, offered(),
		failing(StepRefresh, v1alpha1.ReasonTokenRequestFailing, givenRefresh))
	if wait := pause(epoch.Add(givenLifetime), o); wait != time.Second {
		t.Errorf("the next look is after %s", wait)
	}
}

package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// A client is updated after half an hour, and its secret expires after three.
const (
	givenUpdate = 30 * time.Minute
	givenExpiry = 3 * time.Hour
)

var expires = secretExpires(givenUpdate, givenExpiry)

var updateFails = failing(StepUpdateRegistration, v1alpha1.ReasonRegistrationFailing, givenUpdate+time.Minute)

func newClient(offer *credential.Offer) { offer.Binding.Client.ClientID = "client-2" }

func wornOutStates() map[string]state {
	return map[string]state{
		"the client secret will expire and is renewed": {o: given(granted(expires, isManaged), published), ready: succeeded,
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"renewing the client secret fails": {at: givenUpdate, o: given(granted(expires, isManaged), published, updateFails),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the client secret will expire and nobody renews it": {at: givenUpdate,
			o:     given(granted(expires), published, offered(newClient)),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"the client secret will expire and the link is of the same client": {at: givenUpdate,
			o:     given(granted(expires), published, offered()),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired"},
		"the server refused to renew the client secret": {at: givenUpdate,
			o:     given(granted(expires, isManaged, updateRefused), published, offered(newClient)),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"a client that nobody needs is left": {o: given(granted(), published, retired("client-0"),
			failing(StepUnregister, v1alpha1.ReasonRegistrationFailing, time.Minute)),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
	}
}

func TestAClientWhoseSecretWillExpireIsUpdatedOrReplaced(t *testing.T) {
	testDecisions(t, map[string]decision{
		"not before its time": {at: givenUpdate - 1, o: given(granted(expires, isManaged), published), want: StepNone},
		"at its time": {at: givenUpdate, o: given(granted(expires, isManaged), published),
			want: StepUpdateRegistration},
		"before a refresh": {at: givenRefresh, o: given(granted(expires, isManaged), published),
			want: StepUpdateRegistration},
		"also once it has expired": {at: 2 * givenExpiry, o: given(granted(expires, isManaged), published),
			want: StepUpdateRegistration},
		"not before its retry": {at: givenUpdate, o: given(granted(expires, isManaged), published,
			updateFails), want: StepNone},
		"while that fails, a refresh goes on": {at: givenRefresh, o: given(granted(expires, isManaged), published,
			failing(StepUpdateRegistration, "RegistrationFailing", time.Hour)), want: StepRefresh},
		"on time with its retry": {at: givenUpdate + time.Minute,
			o: given(granted(expires, isManaged), published, updateFails), want: StepUpdateRegistration},
		"the token is published first": {at: givenUpdate, o: given(granted(expires, isManaged)), want: StepPublish},
		"not without a refresh token": {at: givenUpdate,
			o: given(granted(expires, isManaged, withoutRefreshToken), published), want: StepNone},
		"not for a grant that is set aside": {at: givenUpdate, o: given(granted(expires, isManaged, isSetAside),
			published, offered()), want: StepNone},
		"not for a secret that does not expire": {at: 1000 * time.Hour,
			o: given(granted(isManaged, withoutExpiry, func(g *credential.Grant) { g.RefreshAt = epoch.Add(2000 * time.Hour) }),
				published), want: StepNone},
		"replaced without management":  {at: givenUpdate, o: given(granted(expires), published), want: StepDiscover},
		"not replaced before its time": {at: givenUpdate - 1, o: given(granted(expires), published), want: StepNone},
		"replaced after a refusal": {at: givenUpdate, o: given(granted(expires, isManaged, updateRefused),
			published), want: StepDiscover},
		"not by a link of the same client": {at: givenUpdate, o: given(granted(expires), published, offered()),
			want: StepDiscover},
		"by a link of another": {at: givenUpdate, o: given(granted(expires), published, offered(newClient)), want: StepNone},
		"and the link ends once it was followed": {o: given(granted(expires, isManaged), published, offered(newClient)),
			want: StepEndAuthorization},
		"a client that nobody needs is deleted": {o: given(granted(), published, retired("client-0")), want: StepUnregister},
		"one that a grant needs is not":         {o: given(granted(), published, retired("client-1")), want: StepNone},
		"nor before its retry": {o: given(granted(), published, retired("client-0"),
			failing(StepUnregister, "RegistrationFailing", time.Minute)), want: StepNone},
		"a failure of that hinders no consent": {o: given(retired("client-0"),
			failing(StepUnregister, "RegistrationFailing", time.Minute)), want: StepDiscover},
		"nothing is deleted while it is suspended": {o: given(granted(), published, retired("client-0"), isSuspended),
			want: StepNone},
		"a secret stored without a time is due a day": {at: givenExpiry - 25*time.Hour,
			o: given(granted(secretExpires(0, givenExpiry), isManaged, noUpdateTime), published), want: StepNone},
		"before its end": {at: givenExpiry - 24*time.Hour,
			o: given(granted(secretExpires(0, givenExpiry), isManaged, noUpdateTime), published), want: StepUpdateRegistration},
	})
}

func noUpdateTime(g *credential.Grant) {
	g.Client.UpdateAt, g.IssuedAt = time.Time{}, g.IssuedAt.Add(-25*time.Hour) // no clock was set back
}

func TestTheTimeOfAnUpdate(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		lifetime         time.Duration
		earliest, latest time.Duration
	}{
		"two thirds of a long life":         {90 * day, 54 * day, 60 * day},
		"a day before the end of a shorter": {60 * time.Hour, 32 * time.Hour, 36 * time.Hour},
		"half of a short one":               {day, 10 * time.Hour, 12 * time.Hour},
		"not at once":                       {time.Second, time.Minute, time.Minute},
		"nor after it has expired":          {-day, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[time.Duration]bool{}
			for i := range 100 {
				at := UpdateTime(types.UID(fmt.Sprint(i)), epoch, epoch.Add(test.lifetime)).Sub(epoch)
				if at < test.earliest || at > test.latest || at%time.Second != 0 {
					t.Fatalf("after %s, want %s to %s", at, test.earliest, test.latest)
				}
				seen[at] = true
			}
			if len(seen) < 50 && test.earliest != test.latest {
				t.Errorf("only %d different times", len(seen))
			}
		})
	}
	if at := UpdateTime("uid", epoch, time.Time{}); !at.IsZero() {
		t.Errorf("a secret that does not expire is renewed at %s", at)
	}
}

func TestStatusTellsTheTimeOfAnUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		want time.Duration // 0: none
	}{
		"of a managed client":           {o: given(granted(expires, isManaged), published), want: givenUpdate},
		"of one that is to be replaced": {o: given(granted(expires), published), want: givenUpdate},
		"also while it fails": {at: givenUpdate, o: given(granted(expires, isManaged), published, updateFails),
			want: givenUpdate},
		"not once a consent is wanted": {at: givenUpdate, o: given(granted(expires), published, offered(newClient))},
		"not without an expiry":        {o: given(granted(isManaged), published)},
		"not for a link that was not opened": {o: given(
			offered(func(o *credential.Offer) { o.Binding.Client.UpdateAt = epoch.Add(time.Minute) }))},
		"of the grant, not of a link beside": {o: given(granted(expires, isManaged), published, offered(newClient)),
			want: givenUpdate},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(test.at)
			status := Report(now, test.o)
			switch got := status.Client.UpdateAt; {
			case test.want == 0 && got != nil, test.want != 0 && (got == nil || !got.Time.Equal(epoch.Add(test.want))):
				t.Errorf("updateAt is %v", got)
			}
		})
	}
}

func TestARestEndsWithTheTimeOfAnUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		want time.Duration // negative: no rest
	}{
		"at that time":                 {o: given(granted(expires, isManaged), published), want: givenUpdate},
		"at the time of a replacement": {o: given(granted(expires), published), want: givenUpdate},
		"at the retry": {at: givenUpdate, o: given(granted(expires, isManaged), published,
			updateFails), want: time.Minute},
		"no rest while no slot is free":   {at: givenUpdate, o: given(granted(expires, isManaged), published), want: -1},
		"nor with a client to be deleted": {o: given(granted(), published, retired("client-0")), want: -1},
		"but at the retry of that": {o: given(granted(), published, retired("client-0"),
			failing(StepUnregister, "RegistrationFailing", time.Minute)), want: time.Minute},
		"and with one that is needed all day": {o: given(granted(), published, retired("client-1")),
			want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)},
		"with a link for the replacement": {at: givenUpdate, o: given(granted(expires), published, offered(newClient)),
			want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch) - givenUpdate},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(test.at)
			test.o.Conn = reported(now, test.o)
			got, idle := resting(now, test.o)
			if idle != (test.want >= 0) || (idle && got != test.want) {
				t.Errorf("it rests %s (%t), want %s", got, idle, test.want)
			}
			if after := pause(now, test.o); idle && after != test.want {
				t.Errorf("it is scheduled after %s, want %s", after, test.want)
			}
		})
	}
}

func TestACrowdWaitsForTheRegistrationEndpoint(t *testing.T) {
	o := given(granted(expires, isManaged, func(g *credential.Grant) {
		g.RegistrationEndpoint = givenIssuer + "/register"
	}), published)
	conn, seen := reported(epoch, o), cachedOf(o)
	if url := expectedFirst(epoch.Add(givenUpdate), conn, seen); url != givenIssuer+"/register" {
		t.Errorf("the first call is expected at %q", url)
	}
	if url := expectedFirst(epoch.Add(givenUpdate-time.Second), conn, seen); url != "" {
		t.Errorf("before that time a call is expected at %q", url)
	}
}

func TestAWornOutClientIsNotUsedForALink(t *testing.T) {
	known := &credential.Registration{Client: mcpoauth.ClientRegistration{Method: mcpoauth.Dynamic,
		SecretExpiresAt: epoch.Add(90 * 24 * time.Hour), UpdateAt: epoch.Add(time.Hour)}}
	if !UsableRegistration(known, nil, epoch) || UsableRegistration(known, nil, epoch.Add(time.Hour)) {
		t.Error("a client is usable until it is to be updated")
	}
}

func TestTheReasonForANewClientIsSaid(t *testing.T) {
	o := given(granted(expires), published, offered(newClient))
	message := meta.FindStatusCondition(Report(epoch.Add(givenUpdate), o).Conditions, authorized).Message
	for _, word := range []string{"client secret expires at 2026-03-01T15:00:00Z", "registered anew",
		"status.authorizationURL", "old token keeps working"} {
		if !strings.Contains(message, word) {
			t.Errorf("the message lacks %q: %s", word, message)
		}
	}
	o = given(granted(expires, isManaged), published, updateFails)
	if message := meta.FindStatusCondition(Report(epoch.Add(givenUpdate), o).Conditions,
		registered).Message; !strings.Contains(message, "the step updateRegistration failed") {
		t.Errorf("Registered does not say what fails: %s", message)
	}
}

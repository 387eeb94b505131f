package lifecycle

import (
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// resting asks for how long a connection rests whose Secrets are as caches know them.
func resting(now time.Time, o *State) (time.Duration, bool) {
	until, rests := RestsUntil(now, o.Conn, cachedOf(o).Basis)
	return until.Sub(now), rests
}

func TestASettledConnectionRestsUntilTheNextInstant(t *testing.T) {
	for name, test := range map[string]struct {
		o  *State
		at time.Duration
		// want is 0 if nothing comes by itself: then only a live look tells.
		want time.Duration
	}{
		"ready, until the refresh": {o: given(granted(), published),
			want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)},
		"ready without an expiry":                 {o: given(granted(withoutExpiry, withoutRefreshToken), published)},
		"public, until something changes":         {o: given(granted(isPublic), published)},
		"waiting for a consent, until it expires": {o: given(offered()), want: credential.TicketLifetime},
		"after a refusal, until the link expires": {o: given(offered(), concluded(v1alpha1.ReasonAccessDenied)),
			want: credential.TicketLifetime},
		"failing to discover, until the retry": {
			o: given(failing(StepDiscover, "ServerUnreachable", time.Minute)), want: time.Minute},
		"failing to register, until the retry": {
			o: given(failing(StepRegister, "RegistrationRefused", time.Minute)), want: time.Minute},
		"failing to refresh, until the retry": {o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", givenRefresh+time.Minute)), at: givenRefresh, want: time.Minute},
		"failing to refresh, until the expiry": {o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)), at: givenRefresh, want: givenLifetime - givenRefresh},
		"expired, until the retry": {o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)), at: givenLifetime, want: time.Hour},
		"set aside, until the expiry": {o: given(granted(isSetAside), published, offered()), want: givenLifetime},
		"set aside and expired, until the link is": {o: given(granted(isSetAside), published, offered()),
			at: givenLifetime, want: credential.TicketLifetime - givenLifetime},
		"without a refresh token, until the link": {o: given(granted(withoutRefreshToken), published),
			want: 40 * time.Minute},
		"with that link, until the expiry": {o: given(granted(withoutRefreshToken), published, offered()),
			at: 45 * time.Minute, want: 15 * time.Minute},
		"without that link, until the retry": {o: given(granted(withoutRefreshToken), published,
			failing(StepDiscover, "ServerUnreachable", 46*time.Minute)), at: 45 * time.Minute, want: time.Minute},
		"ready, until the next probe": {o: given(granted(), probes(10*time.Minute), published), want: 10 * time.Minute},
		"ready, until the refresh before a probe": {o: given(granted(), probes(time.Hour), published),
			want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)},
		"public, until the next probe": {o: given(granted(isPublic), probes(10*time.Minute), published),
			want: 10 * time.Minute},
		"refused, until the retry": {o: given(granted(refusesToken), published, offered(),
			refusedFor(time.Minute)), want: time.Minute},
		"refused and no link helps, until then": {o: given(granted(refusesToken, refusedBefore), published,
			refusedFor(time.Minute)), want: time.Minute},
		"refused, until the expiry": {
			o:  given(granted(refusesToken, refusedBefore, withoutRefreshToken), published, offered(), refusedFor(2*time.Hour)),
			at: 50 * time.Minute, want: 10 * time.Minute},
		"refused, until the refresh": {o: given(granted(refusesToken, refusedBefore), published,
			refusedFor(time.Hour)), want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)},
		"unreachable, until the retry": {o: given(granted(unprobed), published,
			unreachableFor(time.Minute)), want: time.Minute},
		"unreachable, not until the interval ends": {o: given(granted(), probes(time.Minute), published,
			unreachableFor(2*time.Minute)), at: time.Second, want: 2*time.Minute - time.Second},
		"suspended and not probed, until then": {o: given(granted(unprobed), published, isSuspended), want: givenLifetime},
		"of an unsupported type, until the refresh": {o: given(granted(isOf("DPoP"))),
			want: RefreshMoment(givenUID, epoch.Add(givenRefresh)).Sub(epoch)},
		"suspended, until the expiry":                    {o: given(granted(), published, isSuspended), want: givenLifetime},
		"suspended and expired, until something changes": {o: given(granted(), published, isSuspended), at: givenLifetime},
		"without a way to consent, until something changes": {
			o: given(noURL, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0))},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(test.at)
			test.o.Conn = reported(now, test.o)
			if got, rests := resting(now, test.o); rests != (test.want > 0) ||
				(rests && (got > test.want || got <= test.want-time.Second)) {
				t.Errorf("it rests %s (%t), want %s", got, rests, test.want)
			}
			if after := pause(now, test.o); after != test.want {
				t.Errorf("it is looked at after %s, want %s", after, test.want)
			}
		})
	}
}

func TestAConnectionDoesNotRestWhileSomethingMayBeDue(t *testing.T) {
	type parts struct {
		conn        *v1alpha1.MCPConnection
		seen        *Cached
		externalURL string
	}
	ready := given(granted(), published)
	waits := given(offered())
	for name, test := range map[string]struct {
		o      *State
		at     time.Duration
		change func(*parts)
	}{
		"it is deleted":          {o: ready, change: func(p *parts) { p.conn.DeletionTimestamp = &metav1.Time{Time: epoch} }},
		"the spec was edited":    {o: ready, change: func(p *parts) { p.conn.Generation++ }},
		"the finalizer went":     {o: ready, change: func(p *parts) { p.conn.Finalizers = nil }},
		"a refresh is asked for": {o: ready, change: func(p *parts) { p.conn.Annotations[v1alpha1.AnnotationRefresh] = "1" }},
		"a consent is asked for": {o: ready,
			change: func(p *parts) { p.conn.Annotations[v1alpha1.AnnotationReauthorize] = "1" }},
		"a revocation is asked for": {o: ready,
			change: func(p *parts) { p.conn.Annotations[v1alpha1.AnnotationRevoke] = "1" }},
		"a challenge is handed over": {o: ready,
			change: func(p *parts) { p.conn.Annotations[v1alpha1.AnnotationChallenge] = "Bearer" }},
		"a challenge was taken off": {o: given(granted(), published, challenged(),
			wants(credential.WantsNothing)), change: func(p *parts) {
			delete(p.conn.Annotations, v1alpha1.AnnotationChallenge)
		}},
		"a response was recorded": {o: waits,
			change: func(p *parts) { p.seen.Held.Annotations[credential.AnnotationRevision] = "1" }},
		"the Secret was edited":    {o: ready, change: func(p *parts) { p.seen.Token.ResourceVersion = "8" }},
		"status was never written": {o: ready, change: func(p *parts) { p.conn.Status = v1alpha1.MCPConnectionStatus{} }},
		"the credential was written after status": {o: waits,
			change: func(p *parts) { p.seen.Held.Annotations[credential.AnnotationWrites] = "1" }},
		"the credential Secret is another": {o: ready, change: func(p *parts) { p.seen.Held.UID = "another" }},
		"the token Secret is another":      {o: ready, change: func(p *parts) { p.seen.Token.UID = "another" }},
		"what was written is unreadable": {o: waits,
			change: func(p *parts) { p.seen.Held.Annotations[credential.AnnotationWrites] = "none" }},
		"the pages moved":    {o: waits, change: func(p *parts) { p.externalURL = "https://new.example.com" }},
		"the pages are gone": {o: waits, change: func(p *parts) { p.externalURL = "" }},
		"there are pages now": {o: given(noURL, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)),
			change: func(p *parts) { p.externalURL = givenExternal }},
		"status says it of the future": {o: ready,
			change: func(p *parts) { p.conn.Status.Next.ComputedAt = &metav1.Time{Time: epoch.Add(time.Hour)} }},
		"status says it for more than a day": {o: waits,
			change: func(p *parts) { p.conn.Status.Next.At = &metav1.Time{Time: epoch.Add(25 * time.Hour)} }},
		"status says it past the token's end": {o: ready,
			change: func(p *parts) { p.conn.Status.Next.At = &metav1.Time{Time: epoch.Add(2 * givenLifetime)} }},
		"status lost Ready":          {o: ready, change: func(p *parts) { p.conn.Status.Conditions = nil }},
		"status lost its generation": {o: ready, change: func(p *parts) { p.conn.Status.ObservedGeneration = -1 }},
		"status lost what was handled": {o: given(granted(), published, annotated(v1alpha1.AnnotationRefresh,
			"1"), func(o *State) { o.Handled.Refresh = "1" }), change: func(p *parts) { p.conn.Status.LastHandled = nil }},
		"status does not say when":             {o: ready, change: func(p *parts) { p.conn.Status.Next.At = nil }},
		"status does not say since when":       {o: ready, change: func(p *parts) { p.conn.Status.Next.ComputedAt = nil }},
		"the refresh is due":                   {o: ready, at: givenRefresh},
		"the token expired and Ready says not": {o: ready, at: givenLifetime},
		"the link expired":                     {o: waits, at: credential.TicketLifetime},
		"a retry is due": {o: given(failing(StepDiscover, "ServerUnreachable", time.Minute)),
			at: time.Minute},
		"a link is to be offered": {o: given(granted(withoutRefreshToken), published), at: 40 * time.Minute},
		"a failure's annotation was taken off": {o: given(annotated(v1alpha1.AnnotationReauthorize, "1"),
			func(o *State) { o.Handled.Reauthorize = "1" }, failing(StepDiscover, "ServerUnreachable", time.Hour)),
			change: func(p *parts) { delete(p.conn.Annotations, v1alpha1.AnnotationReauthorize) }},
		"no slot was free for the way to a link": {o: given(granted(isSetAside), published)},
		"no slot was free after a revocation":    {o: given(func(o *State) { o.stored() })},
		"no slot was free for another client": {o: given(granted(), published,
			func(o *State) { o.Client = &ReferencedClient{ID: "other"} })},
		"the credential Secret was unreadable": {o: given(func(o *State) { o.Unusable = credential.ErrNewerFormat }),
			change: func(p *parts) { p.seen.Held.UID = "another" }},
		"the token was not tried":            {o: given(granted(unprobed), published)},
		"a refused token is to be refreshed": {o: given(granted(refusesAndWants(credential.WantsRefresh)), published)},
		"a refused token is to be discovered": {o: given(granted(refusesAndWants(credential.WantsDiscovery)),
			published)},
		"a refused token has no time of its retry": {o: given(granted(refusesToken, refusedBefore), published)},
		"an ended grant's token is to be tried":    {o: given(granted(justEnded), published, offered())},
		"the next token is to be tried":            {o: given(granted(refusesToken, refreshedAnew), published)},
		"a probe is due":                           {o: given(granted(), probes(time.Minute), published), at: time.Minute},
		"a failed probe hides a step before it": {o: given(granted(), published, unreachableFor(time.Hour),
			func(o *State) { o.Client = &ReferencedClient{ID: "other"} })},
		"a foreign Secret may have gone": {o: given(granted(), isForeign, failing(StepPublish, v1alpha1.ReasonSecretConflict,
			time.Hour)), change: func(p *parts) { p.seen.Token = *credential.SecretMetadata() }},
		"the link was for another server": {o: given(offered(),
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com" }))},
	} {
		t.Run(name, func(t *testing.T) {
			p := &parts{conn: reported(epoch, test.o), seen: cachedOf(test.o), externalURL: test.o.ExternalURL}
			if test.change != nil {
				test.change(p)
			}
			basis := BasisOf(p.conn, p.externalURL, &p.seen.Token, credential.StampOf(&p.seen.Held))
			if until, rests := RestsUntil(epoch.Add(test.at), p.conn, basis); rests {
				t.Errorf("it rests until %s", until)
			}
		})
	}
}

// restIsSafe says what is wrong with the rest of a connection whose status was just reported: something is to be done
// before it ends, or status would change.
func restIsSafe(now time.Time, o *State) []string {
	next := *o // what the next reconcile would see: memory is gone, failures are those of status
	next.Conn = reported(now, o)
	next.Failures = failuresOf(next.Conn)
	next.Discovery, next.Registered, next.Rediscover, next.Busy = nil, nil, false, 0
	rest, rests := resting(now, &next)
	if !rests {
		return nil
	}
	var wrong []string
	for _, d := range []time.Duration{0, pause(now, &next) - 1, rest - 1} {
		if d < 0 || d >= rest {
			continue
		}
		at := now.Add(d)
		if s := Decide(at, &next); s != StepNone {
			wrong = append(wrong, "it rests for "+rest.String()+", but is to "+string(s)+" after "+d.String())
		}
		seen := next // what the reconcile knew when it told status
		seen.Discovery, seen.Registered, seen.Rediscover = o.Discovery, o.Registered, o.Rediscover
		later := Report(at, &seen)
		for _, c := range next.Conn.Status.Conditions {
			if next.suspended() && c.Type != ready { // only that one is told on time
				continue
			}
			if got := meta.FindStatusCondition(later.Conditions, c.Type); got == nil || got.Reason != c.Reason ||
				got.Status != c.Status {
				wrong = append(wrong, "it rests for "+rest.String()+", but "+c.Type+" is not "+c.Reason+" after "+d.String())
			}
		}
	}
	return wrong
}

func TestARestMissesNothing(t *testing.T) {
	rested := 0
	check := func(name string, now time.Time, o *State) {
		told := *o
		told.Conn = reported(now, o)
		if _, rests := resting(now, &told); rests {
			rested++
		}
		for _, wrong := range restIsSafe(now, o) {
			t.Errorf("%s at %s: %s", name, now.Sub(epoch), wrong)
		}
	}
	for name, s := range states() {
		for _, at := range []time.Duration{0, time.Minute, givenRefresh, givenRefresh + time.Minute, givenLifetime,
			3 * time.Hour, credential.TicketLifetime} {
			check(name, epoch.Add(at), s.o)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		bytes := make([]byte, 40)
		for i := range bytes {
			bytes[i] = byte(random.UintN(256))
		}
		now, o := arbitrary(bytes)
		if o.Conn == nil || t.Failed() {
			break
		}
		check("arbitrary", now, o)
	}
	if rested < 500 {
		t.Errorf("only %d of them rested", rested)
	}
}

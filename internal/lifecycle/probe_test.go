package lifecycle

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

var (
	refusesToken   = probeRefused(v1alpha1.ReasonProbeUnauthorized, credential.WantsNothing)
	wantsScopes    = probeRefused(v1alpha1.ReasonInsufficientScope, credential.WantsNothing)
	unreachableFor = func(wait time.Duration) func(*State) {
		return failing(StepProbe, v1alpha1.ReasonServerUnreachable, wait)
	}
	refusedFor = func(wait time.Duration) func(*State) {
		return failing(StepProbe, v1alpha1.ReasonProbeUnauthorized, wait)
	}
	refreshedAnew   = func(g *credential.Grant) { g.AccessToken = "the-next-token" }
	refusesAndWants = func(want credential.Want) func(*credential.Grant) {
		return probeRefused(v1alpha1.ReasonProbeUnauthorized, want)
	}
)

func TestAPublishedTokenIsProbedOnceAndAtTheInterval(t *testing.T) {
	testDecisions(t, map[string]decision{
		"after each authorization":   {o: given(granted(unprobed), published), want: StepProbe},
		"once":                       {at: givenRefresh - time.Minute, o: given(granted(), published), want: StepNone},
		"a public server too":        {o: given(granted(isPublic, unprobed), published), want: StepProbe},
		"not before it is published": {o: given(granted(unprobed)), want: StepPublish},
		"not while a foreign Secret is in the way": {o: given(granted(unprobed), isForeign,
			failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Minute)), want: StepNone},
		"not after it expired": {at: givenLifetime, o: given(granted(unprobed), published,
			failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)), want: StepNone},
		"not if it is to be revoked": {o: given(granted(unprobed, toBeRevoked),
			failing(StepRevoke, "TokenRequestFailing", time.Hour)), want: StepNone},
		"once more when the grant ended": {o: given(granted(justEnded), published, offered()), want: StepProbe},
		"and only once":                  {o: given(granted(isSetAside), published, offered()), want: StepNone},
		"again though, if there was no answer": {at: time.Minute, o: given(granted(justEnded), published, offered(),
			unreachableFor(time.Minute)), want: StepProbe},
		"not while suspended":         {o: given(granted(unprobed), published, isSuspended), want: StepNone},
		"after a refresh that is due": {at: givenRefresh, o: given(granted(unprobed), published), want: StepRefresh},
		"after the way to a link": {o: given(granted(unprobed), published,
			annotated(v1alpha1.AnnotationReauthorize, "1")), want: StepDiscover},
		"while a link is open": {o: given(granted(unprobed, withoutRefreshToken), published, offered()),
			at: 50 * time.Minute, want: StepProbe},
		"while a refresh waits for its retry": {at: givenRefresh, o: given(granted(unprobed), published,
			failing(StepRefresh, "TokenRequestFailing", givenRefresh+time.Minute)), want: StepProbe},
		"not again before the retry": {o: given(granted(unprobed), published, unreachableFor(time.Minute)), want: StepNone},
		"again at the retry": {at: time.Minute,
			o: given(granted(unprobed), published, unreachableFor(time.Minute)), want: StepProbe},
		"an outage of the server stops no refresh": {at: givenRefresh,
			o: given(granted(unprobed), published, unreachableFor(2*time.Hour)), want: StepRefresh},
		"not again before the interval ends": {at: 10*time.Minute - 1,
			o: given(granted(), probes(10*time.Minute), published), want: StepNone},
		"again when it ends": {at: 10 * time.Minute, o: given(granted(), probes(10*time.Minute), published), want: StepProbe},
		"a refused one not when it ends": {at: 10 * time.Minute,
			o:    given(granted(refusesToken), probes(10*time.Minute), published, offered(), refusedFor(time.Hour)),
			want: StepNone},
		"but at its retry, whatever the interval": {at: 5 * time.Minute,
			o:    given(granted(refusesToken), probes(10*time.Minute), published, offered(), refusedFor(5*time.Minute)),
			want: StepProbe},
		"a failed one at its retry": {at: 10 * time.Minute, o: given(granted(), probes(10*time.Minute), published,
			unreachableFor(11*time.Minute)), want: StepNone},
	})
}

func TestARefusedTokenIsRefreshedAndThenTheServerIsDiscovered(t *testing.T) {
	testDecisions(t, map[string]decision{
		"first it is refreshed": {o: given(granted(refusesAndWants(credential.WantsRefresh)), published), want: StepRefresh},
		"if it can be": {o: given(granted(refusesAndWants(credential.WantsRefresh),
			withoutRefreshToken), published), want: StepDiscover},
		"the new token is tried": {
			o: given(granted(refusesAndWants(credential.WantsDiscovery), refreshedAnew), published), want: StepProbe},
		"a refresh that failed is followed by": {o: given(granted(refusesAndWants(credential.WantsDiscovery)),
			published, failing(StepRefresh, "TokenRequestFailing", time.Minute)), want: StepDiscover},
		"then the server is discovered": {o: given(granted(refusesAndWants(credential.WantsDiscovery)),
			published), want: StepDiscover},
		"again, if that failed": {at: time.Minute, o: given(granted(refusesAndWants(credential.WantsDiscovery)), published,
			failing(StepDiscover, "ServerUnreachable", time.Minute)), want: StepDiscover},
		"but not at once": {o: given(granted(refusesAndWants(credential.WantsDiscovery)),
			published, failing(StepDiscover, "ServerUnreachable", time.Minute), refusedFor(time.Minute)), want: StepNone},
		"then a consent is asked for": {o: given(granted(refusesToken), published, refusedFor(time.Minute)),
			want: StepDiscover},
		"and the same token is tried again": {at: time.Minute,
			o: given(granted(refusesToken), published, offered(), refusedFor(time.Minute)), want: StepProbe},
		"but not at once either": {o: given(granted(refusesToken), published, offered(),
			refusedFor(time.Minute)), want: StepNone},
		"a link stays until the next token was tried": {o: given(granted(refusesToken, refreshedAnew), published, offered(),
			refusedFor(time.Minute)), want: StepProbe},
		"one consent in vain is enough": {o: given(granted(refusesToken, refusedBefore), published,
			refusedFor(time.Minute)), want: StepNone},
		"without a memory of when, it is tried": {o: given(granted(refusesToken), published, offered()), want: StepProbe},
		"until there is another token":          {o: given(granted(refusesToken, refreshedAnew), published), want: StepProbe},
		"missing scopes call for nothing":       {o: given(granted(wantsScopes), published), want: StepNone},
		"a public server that refuses is discovered": {o: given(granted(isPublic, refusesAndWants(credential.WantsRefresh)),
			published), want: StepDiscover},
		"an accepted token is not tried after refresh": {o: given(granted(refreshedAnew), published), want: StepNone},
	})
}

// probedStates are those that a probe leads to; see probedConditions for what Probed says.
func probedStates() map[string]state {
	return map[string]state{
		"the token was not tried": {o: given(granted(unprobed), published), ready: succeeded, discovered: succeeded,
			registered: succeeded, authorized: succeeded},
		"the server was unreachable": {o: given(granted(unprobed), published, unreachableFor(time.Minute)),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the server became unreachable": {o: given(granted(), published, unreachableFor(time.Minute)), ready: succeeded,
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the server refuses the token": {o: given(granted(refusesToken), published, offered(), refusedFor(time.Minute)),
			ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded,
			authorized: "False ConsentRequired", worker: reconciling, link: true},
		"the server refuses the token of another consent": {o: given(granted(refusesToken, refusedBefore), published,
			refusedFor(time.Minute)), ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded,
			authorized: succeeded, worker: reconciling},
		"the server refuses the token of an ended grant": {o: given(granted(refusesToken, isSetAside), published, offered(),
			refusedFor(time.Minute)), ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded,
			authorized: "False RefreshRejected", worker: reconciling, link: true},
		"the token of an ended grant was not tried": {o: given(granted(justEnded), published, offered()),
			ready: "True RefreshRejected", discovered: succeeded, registered: succeeded, authorized: "False RefreshRejected",
			link: true},
		"a refused token gets no answer": {o: given(granted(refusesToken, refusedBefore), published,
			unreachableFor(time.Minute)), ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded,
			authorized: succeeded, worker: reconciling},
		"a refused token meets a consumer's challenge": {o: given(annotated(v1alpha1.AnnotationChallenge, givenChallenge),
			granted(refusesToken, refusedBefore), challenged(), wants(credential.WantsNothing), published,
			refusedFor(time.Minute)),
			ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded, authorized: succeeded,
			worker: reconciling},
		"it is suspended with a refused token": {o: given(granted(refusesToken), published, isSuspended),
			ready: "False Suspended", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired"},
		"the server wants more scopes": {o: given(granted(wantsScopes), published), ready: "True InsufficientScope",
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the server refuses, being refreshed": {o: given(granted(refusesAndWants(credential.WantsRefresh)), published),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the server refuses, and cannot be discovered": {o: given(granted(refusesAndWants(credential.WantsDiscovery)),
			published, failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Minute)),
			ready: "False ProbeUnauthorized", discovered: "False ServerUnreachable", registered: succeeded,
			authorized: "False ConsentRequired", worker: reconciling},
		"the server refused the token before": {o: given(granted(refusesToken, refreshedAnew), published), ready: succeeded,
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the server refuses an expired token": {at: givenLifetime, o: given(granted(refusesToken), published),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling},
		"a public server refuses": {o: given(granted(isPublic, refusesToken), published),
			ready: "False ProbeUnauthorized", discovered: "True AuthorizationNotRequired",
			registered: "True AuthorizationNotRequired", authorized: "True AuthorizationNotRequired", worker: reconciling},
		"a refused token has no refresh token": {o: given(granted(refusesToken, withoutRefreshToken), published),
			ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			worker: reconciling},
		"a refused token fails to refresh": {at: givenRefresh,
			o:     given(granted(refusesToken), published, failing(StepRefresh, "TokenRequestFailing", time.Hour)),
			ready: "False ProbeUnauthorized", discovered: succeeded, registered: succeeded, authorized: "True RefreshFailing",
			worker: reconciling},
		"it is suspended before the probe": {o: given(granted(unprobed), published, isSuspended), ready: "True Suspended",
			discovered: succeeded, registered: succeeded, authorized: succeeded},
	}
}

var probedConditions = map[string]string{
	"all is well":                                  succeeded,
	"no authorization is needed":                   succeeded,
	"it is suspended before the probe":             "Unknown NotProbed",
	"the token was not tried":                      "Unknown NotProbed",
	"the server was unreachable":                   "False ServerUnreachable",
	"the server became unreachable":                "False ServerUnreachable",
	"the server refuses the token":                 "False ProbeUnauthorized",
	"the server refuses, being refreshed":          "Unknown NotProbed",
	"a refused token gets no answer":               "False ProbeUnauthorized",
	"a refused token meets a consumer's challenge": "False ProbeUnauthorized",
	"the token of an ended grant was not tried":    "Unknown NotProbed",
	"the server refuses, and cannot be discovered": "False ProbeUnauthorized",
	"the server refused the token before":          "Unknown NotProbed",
	"the server refuses an expired token":          "False ProbeUnauthorized",
	"the server wants more scopes":                 "False InsufficientScope",
	"a link is open":                               "",
	"the token is leaked":                          "",
}

func TestProbedSaysWhatTheServerMadeOfTheToken(t *testing.T) {
	all := states()
	all["the token is leaked"] = state{o: given(granted(toBeRevoked), published)}
	for name, want := range probedConditions {
		s, ok := all[name]
		if !ok {
			t.Errorf("there is no state %q", name)
			continue
		}
		conn := reported(epoch.Add(s.at), s.o)
		if got := shown(conn, v1alpha1.ConditionProbed); got != want {
			t.Errorf("%s: Probed is %q, want %q", name, got, want)
		}
	}
}

func TestStatusShowsWhatTheServerSaidOfItself(t *testing.T) {
	want := v1alpha1.ServerStatus{Name: "files", Version: "1.2.3", ProtocolVersion: "2025-11-25",
		ProbedAt: &metav1.Time{Time: epoch}}
	for name, o := range map[string]*State{
		"after a probe":                   given(granted(), published),
		"after a refresh":                 given(granted(refreshedAnew), published),
		"though it is unreachable now":    given(granted(), published, unreachableFor(time.Minute)),
		"though it refuses the token now": given(granted(refusesToken), published),
		"of a public server":              given(granted(isPublic), published),
		"also after the interval, as before": given(granted(), probes(time.Minute), published,
			func(o *State) { o.stored().ProbedAt = epoch.Add(time.Hour) }),
	} {
		got := Report(epoch, o).Server
		if got == nil || got.Tools == nil || *got.Tools != 7 {
			t.Fatalf("%s: the server is %+v", name, got)
		}
		got.Tools = nil
		if *got.ProbedAt != *want.ProbedAt || got.Name != want.Name || got.Version != want.Version ||
			got.ProtocolVersion != want.ProtocolVersion {
			t.Errorf("%s: the server is %+v", name, got)
		}
	}
	for name, o := range map[string]*State{
		"before a probe": given(granted(unprobed), published),
		"before it was accepted": given(granted(
			func(g *credential.Grant) { g.Probe = &credential.Probe{Reason: v1alpha1.ReasonProbeUnauthorized} }), published),
		"of a grant that is leaked": given(granted(toBeRevoked), published),
	} {
		if got := Report(epoch, o).Server; got != nil {
			t.Errorf("%s: the server is %+v", name, got)
		}
	}
}

func TestTheTimeOfAResultChangesOnlyWithTheResult(t *testing.T) {
	later := epoch.Add(time.Hour)
	info := mcpoauth.ServerInfo{Name: "files", Version: "1.2.3", ProtocolVersion: "2025-11-25", Tools: 7}
	more := info
	more.Tools++
	for name, test := range map[string]struct {
		change func(*credential.Grant)
		info   mcpoauth.ServerInfo
		want   time.Time
	}{
		"the same":                 {info: info, want: epoch},
		"one tool more":            {info: more, want: later},
		"the first":                {change: unprobed, info: info, want: later},
		"the same after a refusal": {change: refusesToken, info: info, want: epoch},
	} {
		g := given(granted(func(g *credential.Grant) {
			if test.change != nil {
				test.change(g)
			}
		})).Grant()
		if got := AcceptedProbe(g, &test.info, later); !got.At.Equal(test.want) || got.Reason != "" ||
			got.Tools != test.info.Tools {
			t.Errorf("%s: it is %+v, want %s", name, got, test.want)
		}
	}
}

func TestA401CallsForOneRefreshUntilTheTokenIsAcceptedAgain(t *testing.T) {
	e := &mcpoauth.Error{Code: mcpoauth.ProbeUnauthorized, Message: "POST x answered 401",
		Challenge: &mcpoauth.BearerChallenge{}}
	for name, test := range map[string]struct {
		change func(*credential.Grant)
		want   credential.Want
	}{
		"the first":               {change: unprobed, want: credential.WantsRefresh},
		"after it was accepted":   {change: func(*credential.Grant) {}, want: credential.WantsRefresh},
		"after missing scopes":    {change: wantsScopes, want: credential.WantsRefresh},
		"after the refresh":       {change: refusesAndWants(credential.WantsDiscovery), want: credential.WantsDiscovery},
		"after the discovery":     {change: refusesToken, want: credential.WantsNothing},
		"while the refresh waits": {change: refusesAndWants(credential.WantsRefresh), want: credential.WantsRefresh},
	} {
		g := given(granted(test.change, refreshedAnew)).Grant()
		got := RejectedProbe(g, e)
		if got.Wants != test.want || got.Token != tokenID(g) || got.Reason != v1alpha1.ReasonProbeUnauthorized {
			t.Errorf("%s: it is %+v", name, got)
		}
	}
}

func TestAProbeWaitsForItsServersSlot(t *testing.T) {
	endpoint := givenIssuer + "/token"
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		want string
	}{
		"nothing is due":       {o: given(granted(), published)},
		"a probe is due":       {o: given(granted(unprobed), published), want: givenServer},
		"a probe is due again": {o: given(granted(), probes(time.Minute), published), at: time.Minute, want: givenServer},
		"not yet":              {o: given(granted(), probes(time.Minute), published), at: time.Second},
		"a failed probe is to be tried again": {o: given(granted(), published, unreachableFor(time.Minute)), at: time.Minute,
			want: givenServer},
		"not before its time":         {o: given(granted(unprobed), published, unreachableFor(time.Minute))},
		"a refresh comes first":       {o: given(granted(unprobed), published), at: givenRefresh, want: endpoint},
		"without a refresh token too": {o: given(granted(unprobed, withoutRefreshToken), published), want: givenServer},
		"not with an expired token":   {o: given(granted(), probes(time.Minute), published), at: givenLifetime},
	} {
		if got := expectedFirst(epoch.Add(test.at), reported(epoch, test.o), cachedOf(test.o)); got != test.want {
			t.Errorf("%s: %q is expected to be asked, want %q", name, got, test.want)
		}
	}
}

func TestWhoseTokenHasExpiredWaitsForARefreshOnceStatusSaysSo(t *testing.T) {
	o, over := given(granted(), published), epoch.Add(givenLifetime)
	if url := expectedFirst(over, reported(epoch, o), cachedOf(o)); url != "" {
		t.Errorf("that Ready ends waits for %s", url)
	}
	if url := expectedFirst(over, reported(over, o), cachedOf(o)); url != givenIssuer+"/token" {
		t.Errorf("the first call is expected at %q", url)
	}
}

func TestAListThatWasNotReadToItsEndIsToldAsAtLeast(t *testing.T) {
	info := mcpoauth.ServerInfo{Name: "files", Version: "1.2.3", ProtocolVersion: "2025-11-25", Tools: 7}
	cut := info
	cut.ToolsAtLeast = true
	for name, test := range map[string]struct {
		change func(*credential.Grant)
		info   mcpoauth.ServerInfo
		want   string
	}{
		"all of it":                 {func(*credential.Grant) {}, info, "The server answers, and offers 7 tools."},
		"a part of it":              {func(*credential.Grant) {}, cut, "The server answers, and offers at least 7 tools."},
		"a part of it, at first":    {unprobed, cut, "The server answers, and offers at least 7 tools."},
		"a part after a refusal":    {refusesToken, cut, "The server answers, and offers at least 7 tools."},
		"all of it after a refusal": {refusesToken, info, "The server answers, and offers 7 tools."},
	} {
		o := given(granted(test.change), published)
		found := AcceptedProbe(o.Grant(), &test.info, epoch)
		o.Grant().Probe = &found
		status := Report(epoch, o)
		probed := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionProbed)
		if probed == nil || probed.Status != metav1.ConditionTrue || probed.Message != test.want ||
			*status.Server.Tools != 7 {
			t.Errorf("%s: %+v with %+v, want %q", name, probed, status.Server, test.want)
		}
	}
}

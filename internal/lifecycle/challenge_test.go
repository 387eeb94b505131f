package lifecycle

import (
	"slices"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const refusedToken = `Bearer error="invalid_token", resource_metadata="https://mcp.example.com/m"`

// challenged hands givenChallenge over, which was acted on already.
func challenged() func(*State) {
	return all(annotated(v1alpha1.AnnotationChallenge, givenChallenge),
		func(o *State) { o.Handled.Challenge = credential.Hash(givenChallenge) })
}

// wants has the grant hold givenChallenge.
func wants(want credential.Want) func(*State) {
	return func(o *State) {
		o.stored().Grants[0].Challenge = &credential.Challenge{ID: credential.Hash(givenChallenge), Insufficient: true,
			Scopes: []string{"files:write"}, Wants: want}
	}
}

// refused hands a 401 over and has the grant hold it, not yet acted on.
func refused(want credential.Want) func(*State) {
	return all(annotated(v1alpha1.AnnotationChallenge, refusedToken), func(o *State) {
		o.stored().Grants[0].Challenge = &credential.Challenge{ID: credential.Hash(refusedToken), Wants: want}
	})
}

// migrated has the server name another issuer than before; pinned is the one that the spec pins.
func migrated(pinned string) func(*State) {
	return func(o *State) {
		o.stored().PutNamedIssuer(credential.NamedIssuer{ServerURL: givenServer, Issuer: otherIssuer, Pinned: pinned})
	}
}

var pins = specified(func(s *v1alpha1.MCPConnectionSpec) {
	s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer}
})

var asksToWrite = offered(func(o *credential.Offer) { o.Binding.Scopes = []string{"files:read", "files:write"} })

func challengedStates() map[string]state {
	wantsMore := specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = []v1alpha1.Scope{"files:write"} })
	return map[string]state{
		"a consumer needs more scopes": {o: given(granted(), published, challenged(), wants(credential.WantsConsent),
			asksToWrite),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"the link asks for fewer scopes than a consumer needs": {o: given(granted(), published, challenged(),
			wants(credential.WantsConsent), offered()),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired"},
		"more scopes were asked for in vain": {o: given(granted(), published, challenged(), wants(credential.WantsNothing)),
			ready: "True InsufficientScope", discovered: succeeded, registered: succeeded, authorized: succeeded},
		"more scopes were asked for in vain and there is no refresh token": {o: given(granted(withoutRefreshToken), published,
			challenged(), wants(credential.WantsNothing)),
			ready: "True InsufficientScope", discovered: succeeded, registered: succeeded, authorized: "True NoRefreshToken"},
		"more scopes were asked for in vain and the token expired": {at: givenLifetime,
			o:     given(granted(), published, challenged(), wants(credential.WantsNothing)),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling},
		"the challenge was taken off": {o: given(granted(), published, wants(credential.WantsNothing)),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the token was refused and cannot be refreshed": {o: given(granted(withoutRefreshToken), published,
			refused(credential.WantsConsent), offered()),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"spec.scopes grew": {o: given(wantsMore, granted(), published, asksToWrite),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"the server names another issuer than the spec": {o: given(pins, granted(), migrated(givenIssuer), published,
			foundServer, failing(StepStartAuthorization, v1alpha1.ReasonIssuerChanged, time.Minute)),
			ready: "False IssuerChanged", discovered: succeeded, authorized: "False IssuerChanged", worker: stalled},
		"the server names another issuer and a link is open": {o: given(granted(), migrated(""),
			offered(func(o *credential.Offer) { o.Binding.Issuer = otherIssuer })),
			ready: "False ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			worker: reconciling, link: true},
	}
}

func TestAChallengeIsActedOnOnce(t *testing.T) {
	fresh := annotated(v1alpha1.AnnotationChallenge, givenChallenge)
	testDecisions(t, map[string]decision{
		"a new one is taken":  {o: given(granted(), published, fresh), want: StepTakeChallenge},
		"without a grant too": {o: given(fresh), want: StepTakeChallenge},
		"a leak comes first": {o: given(granted(), published, fresh,
			annotated(v1alpha1.AnnotationRevoke, "1")), want: StepWithdrawToken},
		"not while suspended":   {o: given(granted(), published, fresh, isSuspended), want: StepNone},
		"a handled one is over": {o: given(granted(), published, challenged()), want: StepNone},
		"one that was written down is not taken again": {o: given(granted(), published, fresh,
			wants(credential.WantsNothing)), want: StepNone},
		"missing scopes want a consent": {o: given(granted(), published, challenged(),
			wants(credential.WantsConsent)), want: StepDiscover},
		"also after the annotation was taken off": {o: given(granted(), published, wants(credential.WantsConsent)),
			want: StepDiscover},
		"a link for them is waited for": {o: given(granted(), published, challenged(),
			wants(credential.WantsConsent), asksToWrite), want: StepNone},
		"a link for fewer is replaced": {o: given(granted(), published, challenged(),
			wants(credential.WantsConsent), offered()), want: StepDiscover},
		"what another consent would not bring is left": {o: given(granted(), published, challenged(),
			wants(credential.WantsNothing)), want: StepNone},
		"a refused token is refreshed": {o: given(granted(), published, refused(credential.WantsRefresh)), want: StepRefresh},
		"then the server is discovered": {o: given(granted(), published,
			refused(credential.WantsDiscovery)), want: StepDiscover},
		"at once if it cannot be refreshed": {o: given(granted(isSetAside), published, offered(),
			refused(credential.WantsRefresh)), want: StepDiscover},
		"though a refresh waits for its retry, not yet": {o: given(granted(), published, refused(credential.WantsRefresh),
			failing(StepRefresh, "TokenRequestFailing", time.Minute)), want: StepNone},
		"a discovery that fails is retried": {at: time.Minute,
			o: given(granted(), published, refused(credential.WantsDiscovery),
				failing(StepDiscover, "ServerUnreachable", time.Minute)), want: StepDiscover},
		"but not before its time": {o: given(granted(), published, refused(credential.WantsDiscovery),
			failing(StepDiscover, "ServerUnreachable", time.Minute)), want: StepNone},
		"a challenge taken off before is dropped": {o: given(granted(), published, refused(credential.WantsRefresh),
			func(o *State) { o.Conn.Annotations = nil }), want: StepNone},
		"a failed refresh that was asked for is retried": {at: time.Minute,
			o: given(granted(), published, failing(StepRefresh, "TokenRequestFailing", time.Minute)), want: StepRefresh},
		"a public server that refuses is discovered": {o: given(granted(isPublic), published,
			refused(credential.WantsDiscovery)), want: StepDiscover},
		"another issuer withdraws the token": {o: given(granted(), published, migrated("")), want: StepPublish},
		"another issuer ends the link at the old one": {o: given(granted(isSetAside), offered(), migrated("")),
			want: StepEndAuthorization},
		"another issuer than the spec's stops": {o: given(pins, granted(), migrated(givenIssuer), foundServer),
			want: StepStartAuthorization},
		"the spec's issuer pinned after the change is ok": {o: given(pins, granted(), published, migrated("")),
			want: StepNone},
	})
}

func TestAChallengeSaysWhatItCallsFor(t *testing.T) {
	for name, test := range map[string]struct {
		value   string
		change  func(*credential.Grant)
		want    credential.Want
		missing []string
	}{
		"a scope that was not granted": {value: givenChallenge, want: credential.WantsConsent,
			missing: []string{"files:write"}},
		"a scope that was granted": {value: `Bearer error="insufficient_scope", scope="files:read"`},
		"no scope at all":          {value: `Bearer error="insufficient_scope"`},
		"what is no scope":         {value: "Bearer error=\"insufficient_scope\", scope=\"\u00e9\""},
		"a scope asked for in vain": {value: givenChallenge,
			change: func(g *credential.Grant) { g.Scopes = []string{"files:write"} }},
		"a fourth consent in a row":    {value: givenChallenge, change: func(g *credential.Grant) { g.StepUps = MaxStepUps }},
		"a refused token":              {value: refusedToken, want: credential.WantsRefresh},
		"a 401 without an error":       {value: `Bearer scope="files:write"`, want: credential.WantsRefresh},
		"what cannot be read":          {value: `"`, want: credential.WantsRefresh},
		"one that cannot be refreshed": {value: refusedToken, change: withoutRefreshToken, want: credential.WantsDiscovery},
		"a grant that was set aside":   {value: refusedToken, change: isSetAside, want: credential.WantsDiscovery},
		"a public server":              {value: givenChallenge, change: isPublic, want: credential.WantsDiscovery},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(func(g *credential.Grant) {
				if test.change != nil {
					test.change(g)
				}
			}))
			got := NewChallenge(test.value, o.Grant())
			if got.Wants != test.want || got.ID != credential.Hash(test.value) ||
				(test.missing != nil && !slices.Equal(got.Scopes, test.missing)) {
				t.Errorf("it is %+v", got)
			}
		})
	}
}

func TestMoreScopesAreAskedForBesidesThoseGranted(t *testing.T) {
	found := func(o *State) {
		foundServer(o)
		o.Discovery.ResourceScopes = []string{"everything"}
		o.Discovery.AuthorizationServer.ScopesSupported = []string{"offline_access"}
	}
	scoped := func(scopes ...v1alpha1.Scope) func(*State) {
		return specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = scopes })
	}
	for name, test := range map[string]struct {
		o    *State
		want []string
	}{
		"automatic": {given(found), []string{"everything", "offline_access"}},
		"a challenge": {given(found, granted(), wants(credential.WantsConsent)),
			[]string{"files:read", "files:write", "offline_access"}},
		"a challenge and a spec": {given(found, scoped("a"), granted(), wants(credential.WantsConsent)),
			[]string{"files:read", "a", "files:write", "offline_access"}},
		"a spec that grew": {given(found, scoped("a"), granted()), []string{"files:read", "a", "offline_access"}},
		"a spec that was asked for": {given(found, scoped("a"),
			granted(func(g *credential.Grant) { g.Scopes = []string{"a"} })), []string{"a", "offline_access"}},
		"what an earlier challenge brought": {given(found, scoped("files:read"),
			granted(func(g *credential.Grant) { g.Challenged = []string{"w"} })), []string{"files:read", "offline_access", "w"}},
		"a consent in place of a refused": {given(found, granted(withoutRefreshToken), refused(credential.WantsConsent)),
			[]string{"everything", "offline_access"}},
		"a consent in place of one that end": {given(found, scoped("a"), granted(isSetAside)),
			[]string{"a", "offline_access"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := requestedScopes(test.o); !slices.Equal(got, test.want) {
				t.Errorf("asked for %q, want %q", got, test.want)
			}
		})
	}
}

func TestANewGrantAnswersTheChallenge(t *testing.T) {
	challenge := &credential.Challenge{ID: "x", Insufficient: true, Scopes: []string{"w"}, Wants: credential.WantsConsent}
	old := &credential.Grant{GrantedScopes: []string{"r"}, Challenge: challenge, StepUps: 1}
	for name, test := range map[string]struct {
		asked, granted []string
		want           *credential.Challenge
		challenged     []string
		stepUps        int
	}{
		"all that was asked for": {asked: []string{"r", "w"}, granted: []string{"r", "w"}, challenged: []string{"w"},
			stepUps: 2},
		"less than that": {asked: []string{"r", "w"}, granted: []string{"r"},
			want: &credential.Challenge{Wants: credential.WantsNothing}, stepUps: 2},
		"an older link that did not ask": {asked: []string{"r"}, granted: []string{"r"},
			want: &credential.Challenge{Wants: credential.WantsConsent}},
		"an older link that got it still": {asked: []string{"r"}, granted: []string{"r", "w"}, challenged: []string{"w"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := &credential.Grant{Binding: credential.Binding{Scopes: test.asked}, GrantedScopes: test.granted}
			Succeed(g, old)
			if (g.Challenge == nil) != (test.want == nil) || (g.Challenge != nil && g.Challenge.Wants != test.want.Wants) ||
				!slices.Equal(g.Challenged, test.challenged) || g.StepUps != test.stepUps ||
				challenge.Wants != credential.WantsConsent {
				t.Errorf("the grant is %+v with %+v", g, g.Challenge)
			}
		})
	}
}

func TestAnIssuerIsRememberedOnceItIsAnother(t *testing.T) {
	listed := func(unlisted string) *mcpoauth.Discovery {
		return &mcpoauth.Discovery{Unlisted: unlisted,
			AuthorizationServer: mcpoauth.AuthorizationServerMetadata{Issuer: givenIssuer}}
	}
	other := &mcpoauth.Discovery{AuthorizationServer: mcpoauth.AuthorizationServerMetadata{Issuer: otherIssuer}}
	neverListed := granted(func(g *credential.Grant) { g.Unlisted = true })
	for name, test := range map[string]struct {
		o              *State
		found          *mcpoauth.Discovery
		issuer, pinned string
	}{
		"not at first":          {o: given(offered()), found: other},
		"not if it is the same": {o: given(granted()), found: listed("")},
		"if it is another":      {o: given(granted()), found: other, issuer: otherIssuer},
		"if it flips back":      {o: given(granted(), migrated("")), found: listed(""), issuer: givenIssuer},
		"if the spec's is not named any more": {o: given(pins, granted()), found: listed(otherIssuer),
			issuer: otherIssuer, pinned: givenIssuer},
		"as long as the spec's is not named": {o: given(pins, granted(), migrated(givenIssuer)),
			found: listed(otherIssuer), issuer: otherIssuer, pinned: givenIssuer},
		"until the spec's is named again": {o: given(pins, granted(), migrated(givenIssuer)), found: listed(""),
			issuer: givenIssuer},
		"not if the spec's was never named":        {o: given(pins, neverListed), found: listed(otherIssuer)},
		"not if nothing was granted at the spec's": {o: given(pins), found: listed(otherIssuer)},
	} {
		t.Run(name, func(t *testing.T) {
			n := NamedIssuer(test.o, test.found)
			if n == nil {
				n = &credential.NamedIssuer{}
			}
			if n.Issuer != test.issuer || n.Pinned != test.pinned {
				t.Errorf("it remembers %+v", n)
			}
		})
	}
}

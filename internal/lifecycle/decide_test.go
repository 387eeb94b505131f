package lifecycle

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

type decision struct {
	at   time.Duration
	o    *State
	want Step
}

func testDecisions(t *testing.T, decisions map[string]decision) {
	t.Helper()
	for name, test := range decisions {
		t.Run(name, func(t *testing.T) {
			if got := Decide(epoch.Add(test.at), test.o); got != test.want {
				t.Errorf("the step is %q, want %q", got, test.want)
			}
		})
	}
}

// worst is a connection at which everything is due at once.
var worst = all(granted(toBeRevoked), answered, annotated(v1alpha1.AnnotationRevoke, "1"),
	annotated(v1alpha1.AnnotationRefresh, "1"))

func TestTheFirstThingDueIsDecided(t *testing.T) {
	testDecisions(t, map[string]decision{
		"a connection that was let go has no step": {o: &State{}, want: StepNone},
		"a busy server is not asked now": {
			o: given(worst, func(o *State) { o.Busy = UrgentSlotRetry }), want: StepNone},
		"a deleted connection is finalized before all": {o: given(worst, isDeleted, isSuspended,
			func(o *State) { o.Unusable = credential.ErrCorrupt }), want: StepFinalize},
		"a finalization waits for its retry": {
			o: given(isDeleted, failing(StepFinalize, "TokenRequestFailing", time.Minute)), want: StepNone},
		"a finalization is retried on time": {at: time.Minute,
			o: given(isDeleted, failing(StepFinalize, "TokenRequestFailing", time.Minute)), want: StepFinalize},
		"a deleted connection without our finalizer is left": {
			o: given(isDeleted, func(o *State) { o.Conn.Finalizers, o.Held = []string{"other"}, nil }), want: StepNone},
		"a suspended connection revokes": {o: given(worst, isSuspended), want: StepWithdrawToken},
		"a suspended connection empties the Secret first": {o: given(granted(), published, granted(toBeRevoked),
			isSuspended), want: StepPublish},
		"a suspended connection then revokes at the server": {o: given(granted(toBeRevoked), published,
			isSuspended), want: StepRevoke},
		"a suspended connection does nothing else": {at: givenRefresh,
			o: given(granted(), answered, annotated(v1alpha1.AnnotationReauthorize, "1"), isSuspended), want: StepNone},
		"a suspension holds up no deletion": {o: given(granted(), isSuspended, isDeleted), want: StepFinalize},
		"a stripped finalizer is put back while suspended": {o: given(granted(), isSuspended, stripped),
			want: StepAddFinalizer},
		"a stripped finalizer comes before a revocation": {o: given(worst, stripped), want: StepAddFinalizer},
		"a stripped finalizer that waits stops nothing": {at: givenRefresh,
			o:    given(granted(), published, stripped, failing(StepAddFinalizer, ReasonFinalizerRemoved, time.Hour)),
			want: StepRefresh},
		"what is stored is ended without our finalizer too": {o: given(granted(), isDeleted, stripped), want: StepFinalize},
		"another deletion policy is noted":                  {o: given(granted(), published, orphans), want: StepNotePolicy},
		"another deletion policy is noted while suspended": {o: given(granted(), published, orphans, isSuspended),
			want: StepNotePolicy},
		"suspension comes before the finalizer": {o: given(isSuspended,
			func(o *State) { o.Conn.Finalizers, o.Held = nil, nil }), want: StepNone},
		"an unusable credential Secret is not touched": {
			o: given(worst, func(o *State) { o.Unusable = credential.ErrNewerFormat }), want: StepNone},
		"the finalizer comes before the first write": {
			o: given(worst, func(o *State) { o.Conn.Finalizers = []string{"other"} }), want: StepAddFinalizer},
		"a leaked token is withdrawn before all requests": {o: given(worst), want: StepWithdrawToken},
		"a withdrawn token leaves the Secret first": {o: given(granted(), published, granted(toBeRevoked),
			answered), want: StepPublish},
		"a missing token Secret is published": {o: given(granted(), answered), want: StepPublish},
		"the withdrawn grant is revoked before a code brings another": {o: given(granted(toBeRevoked), answered),
			want: StepRevoke},
		"a code is exchanged while a revocation waits": {o: given(granted(toBeRevoked), answered,
			failing(StepRevoke, "TokenRequestFailing", time.Minute)), want: StepExchangeCode},
		"a code is exchanged before a refresh": {at: givenRefresh, o: given(granted(), published, answered),
			want: StepExchangeCode},
		"a code is exchanged before all consents": {o: given(answered), want: StepExchangeCode},
		"a refresh comes before a consent": {at: givenRefresh,
			o: given(granted(), published, annotated(v1alpha1.AnnotationReauthorize, "1")), want: StepRefresh},
		"a place to save comes before all requests": {o: given(func(o *State) { o.Held = nil }), want: StepCreateCredential},
		"a new connection begins with discovery":    {o: given(), want: StepDiscover},
		"a connection at rest has no step":          {o: given(granted(), published), want: StepNone},
	})
}

func TestAStepThatWaitsForItsRetryBlocksOnlyWhatNeedsIt(t *testing.T) {
	conflict := all(granted(), isForeign, failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Minute))
	unreachable := failing(StepDiscover, v1alpha1.ReasonServerUnreachable, 2*time.Hour)
	testDecisions(t, map[string]decision{
		"a conflict is not tried before its time": {o: given(conflict), want: StepNone},
		"a conflict is tried again on time":       {at: time.Minute, o: given(conflict), want: StepPublish},
		"a conflict stops no refresh": {at: givenRefresh,
			o: given(granted(), isForeign, failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Hour)), want: StepRefresh},
		"a conflict stops no exchange": {o: given(conflict, answered), want: StepExchangeCode},
		"a conflict stops no revocation": {o: given(granted(toBeRevoked), isForeign,
			failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Hour)), want: StepRevoke},
		"an outage of the MCP server stops no refresh": {at: givenRefresh,
			o: given(granted(), published, unreachable), want: StepRefresh},
		"an outage of the MCP server stops no exchange":    {o: given(answered, unreachable), want: StepExchangeCode},
		"an outage of the MCP server stops no publication": {o: given(granted(), unreachable), want: StepPublish},
		"an outage of the MCP server stops a consent":      {o: given(unreachable), want: StepNone},
		"a discovery is tried again on time":               {at: 2 * time.Hour, o: given(unreachable), want: StepDiscover},
		"a refresh waits for its retry": {at: givenRefresh,
			o:    given(granted(), published, failing(StepRefresh, "TokenRequestFailing", givenRefresh+time.Second)),
			want: StepNone},
		"a refresh is tried again on time": {at: givenRefresh,
			o: given(granted(), published, failing(StepRefresh, "TokenRequestFailing", givenRefresh)), want: StepRefresh},
		"an exchange waits for its retry and blocks new consents": {
			o: given(answered, failing(StepExchangeCode, "TokenRequestFailing", time.Minute)), want: StepNone},
		"an exchange that waits stops no refresh": {at: givenRefresh,
			o:    given(granted(), published, answered, failing(StepExchangeCode, "TokenRequestFailing", time.Hour)),
			want: StepRefresh},
		"a revocation waits for its retry and blocks new consents": {o: given(granted(toBeRevoked),
			failing(StepRevoke, "TokenRequestFailing", time.Minute)), want: StepNone},
		"a registration that waits stops discovery too": {
			o: given(failing(StepRegister, v1alpha1.ReasonRegistrationRefused, time.Minute)), want: StepNone},
		"a registration is tried again with a discovery": {at: time.Minute,
			o: given(failing(StepRegister, v1alpha1.ReasonRegistrationRefused, time.Minute)), want: StepDiscover},
		"a consent that nobody can give waits for an edit for ever": {at: 1000 * time.Hour,
			o: given(failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)), want: StepNone},
	})
}

func TestTheRefreshIsDecidedByTheClockOrByRequest(t *testing.T) {
	asked := annotated(v1alpha1.AnnotationRefresh, "1")
	due := func(o *State) { o.Handled.Refresh = "1" }
	testDecisions(t, map[string]decision{
		"not before its time":     {at: givenRefresh - time.Second, o: given(granted(), published), want: StepNone},
		"at its time":             {at: givenRefresh, o: given(granted(), published), want: StepRefresh},
		"after the token expired": {at: 2 * givenLifetime, o: given(granted(), published), want: StepRefresh},
		"when asked for":          {o: given(granted(), published, asked), want: StepRefresh},
		"once per request":        {o: given(granted(), published, asked, due), want: StepNone},
		"again for another value": {o: given(granted(), published,
			annotated(v1alpha1.AnnotationRefresh, "2"), due), want: StepRefresh},
		"not for an empty value": {o: given(granted(), published, annotated(v1alpha1.AnnotationRefresh, "")), want: StepNone},
		"not without a refresh token": {at: givenRefresh - time.Minute,
			o: given(granted(withoutRefreshToken), published, asked), want: StepNone},
		"not for a grant that was set aside": {at: givenRefresh, o: given(granted(isSetAside), published, asked,
			offered()), want: StepNone},
		"not for a grant that is to be revoked": {at: givenRefresh,
			o: given(granted(toBeRevoked), asked, failing(StepRevoke, "TokenRequestFailing", time.Hour)), want: StepNone},
		"not for a public server": {at: givenRefresh, o: given(granted(isPublic), published, asked), want: StepNone},
		"once more after an unknown outcome": {at: givenRefresh, o: given(granted(unknownOutcomes(1)), published),
			want: StepRefresh},
		"not a third time while the token is valid": {at: givenLifetime - 1,
			o: given(granted(unknownOutcomes(2)), published), want: StepNone},
		"nor as the retry of one that failed": {at: givenLifetime - 1, o: given(granted(unknownOutcomes(2)),
			published, failing(StepRefresh, "TokenRequestFailing", givenRefresh)), want: StepNone},
		"a claim that was left behind is counted before": {at: givenLifetime - 1,
			o: given(granted(unknownOutcomes(1), isClaimed), published,
				failing(StepRefresh, "TokenRequestFailing", givenRefresh)), want: StepRefresh},
		"then at its expiry": {at: givenLifetime, o: given(granted(unknownOutcomes(1), isClaimed),
			published, failing(StepRefresh, "TokenRequestFailing", givenRefresh)), want: StepRefresh},
		"again once nothing can be lost": {at: givenLifetime,
			o: given(granted(unknownOutcomes(2)), published), want: StepRefresh},
		"again if nobody knows when nothing can be lost": {at: givenRefresh,
			o: given(granted(unknownOutcomes(7), withoutExpiry), published), want: StepRefresh},
		"a third time if a person asks":     {o: given(granted(unknownOutcomes(2)), published, asked), want: StepRefresh},
		"with a claim that was left behind": {at: givenRefresh, o: given(granted(isClaimed), published), want: StepRefresh},
		"though the client was replaced, with its own client": {at: givenRefresh,
			o: given(granted(), published, offered(), specified(func(s *v1alpha1.MCPConnectionSpec) {
				s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationMetadataDocument}
			})), want: StepRefresh},
		"though the external URL changed": {at: givenRefresh,
			o: given(granted(), published, func(o *State) { o.ExternalURL = "https://new.example.com" }), want: StepRefresh},
		"not with the grant of another server": {at: givenRefresh, o: given(granted(),
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })),
			want: StepDiscover},
		"not with the grant of another issuer than the spec has": {at: givenRefresh,
			o: given(granted(), specified(func(s *v1alpha1.MCPConnectionSpec) {
				s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer + "/"}
			})), want: StepDiscover},
	})
}

func TestAConsentGoesFromDiscoveryToAnOpenLink(t *testing.T) {
	reauthorize := annotated(v1alpha1.AnnotationReauthorize, "1")
	answersReauthorize := func(o *credential.Offer) { o.Reauthorize = "1" }
	handledReauthorize := func(o *State) { o.Handled.Reauthorize = "1" }
	otherServer := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })
	testDecisions(t, map[string]decision{
		"discovery comes first": {o: given(), want: StepDiscover},
		"then registration":     {o: given(foundServer), want: StepRegister},
		"then the link":         {o: given(foundServer, foundClient), want: StepStartAuthorization},
		"nothing is registered where nobody can consent": {o: given(foundServer,
			func(o *State) { o.ExternalURL = "" }), want: StepStartAuthorization},
		"an open link is waited for":  {o: given(offered()), want: StepNone},
		"an expired link is replaced": {at: credential.TicketLifetime, o: given(offered()), want: StepDiscover},
		"an edited spec replaces the link": {o: given(offered(),
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = []v1alpha1.Scope{"a"} })), want: StepDiscover},
		"a suspension and its end leave the link": {o: given(offered(), orphans,
			func(o *State) { o.stored().Deletion.Policy = "Orphan" }), want: StepNone},
		"another external URL replaces the link": {
			o: given(offered(), func(o *State) { o.ExternalURL = "https://new.example.com" }), want: StepDiscover},
		"the same external URL with a slash leaves it": {
			o: given(offered(), func(o *State) { o.ExternalURL = givenExternal + "/" }), want: StepNone},
		"another server ends the link at once": {o: given(offered(), otherServer), want: StepEndAuthorization},
		"another server ends the link though it cannot be discovered": {o: given(offered(), otherServer,
			failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour)), want: StepEndAuthorization},
		"another issuer ends the link at once": {o: given(offered(), specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://other.example.com"}
		})), want: StepEndAuthorization},
		"a link that is no longer wanted ends": {o: given(granted(), published, offered()), want: StepEndAuthorization},
		"a refresh that healed ends the link": {at: 2 * time.Minute,
			o:    given(granted(), published, offered(), failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour)),
			want: StepEndAuthorization},
		"a request of a person begins another consent": {o: given(granted(), published, reauthorize), want: StepDiscover},
		"a request replaces a link that answers another": {o: given(granted(), published, offered(), reauthorize),
			want: StepDiscover},
		"a link that answers the request is waited for": {o: given(granted(), published, offered(answersReauthorize),
			reauthorize), want: StepNone},
		"it is waited for after the request is handled": {o: given(granted(), published, offered(answersReauthorize),
			reauthorize, handledReauthorize), want: StepNone},
		"a handled request without a link is over": {o: given(granted(), published, reauthorize,
			handledReauthorize), want: StepNone},
		"a request is for the server of its time": {o: given(offered(answersReauthorize), otherServer, granted(),
			published), want: StepEndAuthorization},
		"a moved token endpoint asks for discovery": {o: given(granted(), published,
			func(o *State) { o.Rediscover = true }), want: StepDiscover},
		"a moved token endpoint asks in spite of an open link": {o: given(granted(isSetAside), published, offered(),
			func(o *State) { o.Rediscover = true }), want: StepDiscover},
		"a discovery that answered is enough": {o: given(granted(), published, foundServer,
			func(o *State) { o.Rediscover = true }), want: StepNone},
		"a response ends the search for a link": {o: given(answered, failing(StepExchangeCode, "TokenRequestFailing",
			time.Minute), foundServer), want: StepNone},
	})
}

func TestAConsentIsWantedWhereItHelps(t *testing.T) {
	client := func(c v1alpha1.ClientSpec) func(*State) {
		return specified(func(s *v1alpha1.MCPConnectionSpec) { s.Client = &c })
	}
	used := func(method mcpoauth.RegistrationMethod, id string) func(*State) {
		return all(granted(func(g *credential.Grant) { g.Client.Method, g.Client.ClientID = method, id }), published)
	}
	document := "https://me.example.com/client.json"
	testDecisions(t, map[string]decision{
		"after the grant was set aside": {o: given(granted(isSetAside), published), want: StepDiscover},
		"after an unknown outcome once the token expired": {at: givenLifetime,
			o:    given(granted(unknownOutcomes(1)), published, failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)),
			want: StepDiscover},
		"not after an unknown outcome while it is valid": {at: givenRefresh,
			o:    given(granted(unknownOutcomes(1)), published, failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)),
			want: StepNone},
		"at two thirds of the life of a token that cannot be refreshed": {at: 40 * time.Minute,
			o: given(granted(withoutRefreshToken), published), want: StepDiscover},
		"not before two thirds of it": {at: 40*time.Minute - 1,
			o: given(granted(withoutRefreshToken), published), want: StepNone},
		"after a token that cannot be refreshed expired": {at: givenLifetime,
			o: given(granted(withoutRefreshToken), published), want: StepDiscover},
		"never for a token that does not expire": {at: 10000 * time.Hour,
			o: given(granted(withoutRefreshToken, withoutExpiry), published), want: StepNone},
		"not for a public server": {at: 10000 * time.Hour, o: given(granted(isPublic), published), want: StepNone},
		"for a public server once the spec asks for scopes": {o: given(granted(isPublic), published,
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.Scopes = []v1alpha1.Scope{"a"} })), want: StepDiscover},
		"for a public server once the spec names a client": {o: given(granted(isPublic), published,
			client(v1alpha1.ClientSpec{Name: "me"})), want: StepDiscover},
		"not while the old grant is to be revoked": {o: given(granted(toBeRevoked),
			failing(StepRevoke, "TokenRequestFailing", time.Hour)), want: StepNone},
		"for another method of registration": {o: given(used(mcpoauth.Dynamic, "x"),
			client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationMetadataDocument})), want: StepDiscover},
		"not for the same method": {o: given(used(mcpoauth.Dynamic, "x"),
			client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationDynamic})), want: StepNone},
		"not for any method": {o: given(used(mcpoauth.Dynamic, "x"),
			client(v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationAuto})), want: StepNone},
		"for another client metadata document": {o: given(used(mcpoauth.MetadataDocument, "https://old.example.com/"),
			client(v1alpha1.ClientSpec{MetadataDocumentURL: document})), want: StepDiscover},
		"not for the same client metadata document": {o: given(used(mcpoauth.MetadataDocument, document),
			client(v1alpha1.ClientSpec{MetadataDocumentURL: document})), want: StepNone},
		"not if the server made a dynamic client in place of a document": {o: given(used(mcpoauth.Dynamic, "x"),
			client(v1alpha1.ClientSpec{MetadataDocumentURL: document, Registration: v1alpha1.RegistrationAuto})),
			want: StepNone},
		"if a document is insisted on": {o: given(used(mcpoauth.Dynamic, "x"),
			client(v1alpha1.ClientSpec{MetadataDocumentURL: document, Registration: v1alpha1.RegistrationMetadataDocument})),
			want: StepDiscover},
		"for other credentials": {o: given(used(mcpoauth.Preregistered, "x"),
			func(o *State) { o.Client = &ReferencedClient{ID: "y"} }), want: StepDiscover},
		"not for the same credentials": {o: given(used(mcpoauth.Preregistered, "x"),
			func(o *State) { o.Client = &ReferencedClient{ID: "x"} }), want: StepNone},
		"not while the credentials are missing": {o: given(used(mcpoauth.Preregistered, "x"),
			func(o *State) { o.Client = &ReferencedClient{Missing: "Gone."} }), want: StepNone},
		"when the spec names no credentials any more": {o: given(used(mcpoauth.Preregistered, "x")), want: StepDiscover},
	})
}

func TestRevocationIsActedOnOncePerRequest(t *testing.T) {
	testDecisions(t, map[string]decision{
		"a new value withdraws the token": {o: given(granted(), published,
			annotated(v1alpha1.AnnotationRevoke, "1")), want: StepWithdrawToken},
		"a value without a grant is handled too": {o: given(annotated(v1alpha1.AnnotationRevoke, "1")),
			want: StepWithdrawToken},
		"a handled value is over": {o: given(granted(), published, annotated(v1alpha1.AnnotationRevoke, "1"),
			func(o *State) { o.Handled.Revoke = "1" }), want: StepNone},
		"an emptied Secret leads to revocation":    {o: given(granted(toBeRevoked), published), want: StepRevoke},
		"a Secret that is not there needs nothing": {o: given(granted(toBeRevoked)), want: StepRevoke},
		"a renamed Secret is emptied first": {o: given(granted(), published, granted(toBeRevoked), specified(rename)),
			want: StepPublish},
	})
}

func rename(s *v1alpha1.MCPConnectionSpec) {
	s.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"}
}

func TestWhoeverAsksForALinkGetsOneThatIsUsable(t *testing.T) {
	for name, change := range map[string]func(*State){
		"automatic registration": func(*State) {},
		"a metadata document is only offered": specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationAuto,
				MetadataDocumentURL: "https://me.example.com/c.json"}
		}),
		"dynamic registration": specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Registration: v1alpha1.RegistrationDynamic}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			o := given(change, foundServer, foundClient)
			if got := Decide(epoch, o); got != StepStartAuthorization {
				t.Fatalf("the step is %q", got)
			}
			offered(func(offer *credential.Offer) { offer.Binding.Client = *o.Registered })(o)
			if got := Decide(epoch, o); got != StepNone {
				t.Errorf("with the link just offered the step is %q", got)
			}
		})
	}
}

package lifecycle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/reasons"
)

// state is a connection and what its status must say. Conditions are written as "True Succeeded"; empty means absent.
type state struct {
	at                                                time.Duration
	o                                                 *State
	ready, discovered, registered, authorized, worker string
	link                                              bool
}

func shown(conn *v1alpha1.MCPConnection, name string) string {
	c := meta.FindStatusCondition(conn.Status.Conditions, name)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

const (
	succeeded   = "True Succeeded"
	reconciling = "Reconciling"
	stalled     = "Stalled"
)

var noURL = func(o *State) { o.ExternalURL = "" }

// states are every reason that can be reached, by a sentence.
func states() map[string]state {
	out := map[string]state{
		"nothing was tried yet": {o: given(), ready: "False Progressing", worker: reconciling},
		"the server was found": {o: given(foundServer), ready: "False Progressing", discovered: succeeded,
			worker: reconciling},
		"a link is open": {o: given(offered()), ready: "False ConsentRequired", discovered: succeeded, registered: succeeded,
			authorized: "False ConsentRequired", worker: reconciling, link: true},
		"a link has expired": {at: credential.TicketLifetime, o: given(offered()), ready: "False ConsentRequired",
			discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired", worker: reconciling},
		"no request for consent can be built": {o: given(foundServer,
			failing(StepStartAuthorization, v1alpha1.ReasonInvalidMetadata, time.Minute)),
			ready: "False InvalidMetadata", discovered: succeeded, authorized: "False InvalidMetadata", worker: stalled},
		"a quota refuses the token Secret": {o: given(granted(), failing(StepPublish, v1alpha1.ReasonSecretWriteFailing,
			time.Minute)),
			ready: "False SecretWriteFailing", discovered: succeeded, registered: succeeded, authorized: succeeded,
			worker: reconciling},
		"a policy refuses the next token while the published one is valid": {o: given(granted(), published,
			granted(func(g *credential.Grant) { g.AccessToken = "the-next" }),
			failing(StepPublish, v1alpha1.ReasonSecretWriteFailing, time.Minute)),
			ready: "True SecretWriteFailing", discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the finalizer cannot be set": {o: given(func(o *State) { o.Conn.Finalizers, o.Held = nil, nil },
			failing(StepAddFinalizer, v1alpha1.ReasonAPIServerFailing, time.Minute)),
			ready: "False APIServerFailing", worker: reconciling},
		"nobody can consent": {o: given(noURL, foundServer, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable,
			0)),
			ready: "False ConsentUnavailable", discovered: succeeded, authorized: "False ConsentUnavailable", worker: stalled},
		"all is well": {o: given(granted(), published), ready: succeeded, discovered: succeeded, registered: succeeded,
			authorized: succeeded},
		"no expiry is known": {at: 999 * time.Hour, o: given(granted(withoutExpiry), published), ready: succeeded,
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"no authorization is needed": {o: given(granted(isPublic), published), ready: "True AuthorizationNotRequired",
			discovered: "True AuthorizationNotRequired",
			registered: "True AuthorizationNotRequired", authorized: "True AuthorizationNotRequired"},
		"no authorization is needed, but the Secret is foreign": {o: given(granted(isPublic), isForeign,
			func(o *State) { o.Secret.Data["server_url"] = []byte(givenServer) },
			failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Minute)),
			ready: "False SecretConflict", discovered: "True AuthorizationNotRequired",
			registered: "True AuthorizationNotRequired", authorized: "True AuthorizationNotRequired", worker: stalled},
		"there is no refresh token": {o: given(granted(withoutRefreshToken), published), ready: "True NoRefreshToken",
			discovered: succeeded, registered: succeeded, authorized: "True NoRefreshToken"},
		"there is no refresh token and a link is open": {at: 50 * time.Minute,
			o:     given(granted(withoutRefreshToken), published, offered()),
			ready: "True NoRefreshToken", discovered: succeeded, registered: succeeded, authorized: "True NoRefreshToken",
			link: true},
		"there is neither refresh token nor expiry": {o: given(granted(withoutRefreshToken, withoutExpiry), published),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"the token expired without a refresh token": {at: givenLifetime, o: given(granted(withoutRefreshToken), published,
			offered()),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling, link: true},
		"the token expired and nobody can consent": {at: givenLifetime, o: given(granted(withoutRefreshToken), published,
			noURL, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)),
			ready: "False ConsentUnavailable", discovered: succeeded, registered: succeeded,
			authorized: "False ConsentUnavailable", worker: stalled},
		"refreshing fails": {at: givenRefresh, o: given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", time.Hour)),
			ready: "True RefreshFailing", discovered: succeeded, registered: succeeded, authorized: "True RefreshFailing"},
		"refreshing failed until the token expired": {at: givenLifetime,
			o:     given(granted(), published, failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling},
		"the token expired while the operator was away": {at: givenLifetime, o: given(granted(), published),
			ready: "False TokenExpired", discovered: succeeded,
			registered: succeeded, authorized: "False TokenExpired", worker: reconciling},
		"a refresh had no answer": {at: givenLifetime, o: given(granted(unknownOutcomes(1)), published, offered(),
			failing(StepRefresh, "TokenRequestFailing", 2*time.Hour)),
			ready: "False RefreshOutcomeUnknown", discovered: succeeded, registered: succeeded,
			authorized: "False RefreshOutcomeUnknown", worker: reconciling, link: true},
		"the server ended the grant": {at: givenRefresh, o: given(granted(isSetAside), published, offered()),
			ready: "True RefreshRejected", discovered: succeeded, registered: succeeded, authorized: "False RefreshRejected",
			link: true},
		"the server ended the grant and the token expired": {at: givenLifetime,
			o:     given(granted(isSetAside), published, offered()),
			ready: "False RefreshRejected", discovered: succeeded, registered: succeeded, authorized: "False RefreshRejected",
			worker: reconciling, link: true},
		"the server ended the grant and nobody can consent": {at: givenLifetime, o: given(granted(isSetAside), published,
			noURL, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)),
			ready: "False ConsentUnavailable", discovered: succeeded, registered: succeeded,
			authorized: "False ConsentUnavailable", worker: stalled},
		"the server issued another type of token": {o: given(granted(isOf("DPoP"))), ready: "False UnsupportedTokenType",
			discovered: succeeded, registered: succeeded,
			authorized: "False UnsupportedTokenType", worker: stalled},
		"the server issued a token that cannot be sent": {o: given(granted(isOf("Bearer (not printable ASCII)"))),
			ready: "False UnsupportedTokenType", discovered: succeeded, registered: succeeded,
			authorized: "False UnsupportedTokenType", worker: stalled},
		"the server issued a type that is cut": {o: given(granted(isOf("Bearer                                             " +
			"             …"))), ready: "False UnsupportedTokenType", discovered: succeeded, registered: succeeded,
			authorized: "False UnsupportedTokenType", worker: stalled},
		"a person asked for another consent": {o: given(granted(), published,
			offered(func(o *credential.Offer) { o.Reauthorize = "1" })),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"a person asked for another consent for a token that never changes": {
			o: given(granted(withoutRefreshToken, withoutExpiry), published,
				offered(func(o *credential.Offer) { o.Reauthorize = "1" })),
			ready: "True ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			link: true},
		"the code waits for the token endpoint": {o: given(offered(), answered,
			failing(StepExchangeCode, v1alpha1.ReasonTokenRequestFailing, time.Minute)),
			ready: "False TokenRequestFailing", discovered: succeeded, registered: succeeded,
			authorized: "False TokenRequestFailing", worker: reconciling, link: true},
		"the revocation waits for the server": {o: given(granted(toBeRevoked),
			failing(StepRevoke, v1alpha1.ReasonTokenRequestFailing, time.Minute)),
			ready: "False TokenRequestFailing", discovered: succeeded, registered: succeeded,
			authorized: "False TokenRequestFailing", worker: reconciling},
		"the Secret is foreign": {o: given(granted(), isForeign, failing(StepPublish, v1alpha1.ReasonSecretConflict,
			time.Minute)),
			ready: "False SecretConflict", discovered: succeeded, registered: succeeded, authorized: succeeded, worker: stalled},
		"the foreign Secret went before there was a token": {
			o:     given(offered(), failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Minute)),
			ready: "False ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			worker: reconciling, link: true},
		"the credential Secret is unusable": {o: given(func(o *State) { o.Unusable = credential.ErrNewerFormat }),
			ready: "False CredentialUnreadable", authorized: "False CredentialUnreadable", worker: stalled},
		"the credential Secret is unusable and a token is valid": {o: given(granted(), published,
			func(o *State) { o.Held, o.Unusable = nil, credential.ErrCorrupt }),
			ready: "True CredentialUnreadable", authorized: "False CredentialUnreadable"},
		"a template cannot be rendered": {o: given(specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.TokenSecret = &v1alpha1.TokenSecretSpec{Data: map[string]v1alpha1.Template{"x": "{{"}}
		}), granted(), published),
			ready: "True InvalidTemplate", discovered: succeeded, registered: succeeded, authorized: succeeded},
		"a template reads an unknown key, and there is no refresh token": {o: given(templated("{{ .nothing }}"),
			granted(withoutRefreshToken), published),
			ready: "True InvalidTemplate", discovered: succeeded, registered: succeeded, authorized: "True NoRefreshToken"},
		"it is suspended with a token": {o: given(granted(), published, isSuspended), ready: "True Suspended",
			discovered: succeeded, registered: succeeded, authorized: succeeded},
		"it is suspended and the token expired": {at: givenLifetime, o: given(granted(), published, isSuspended),
			ready: "False Suspended", discovered: succeeded,
			registered: succeeded, authorized: "False TokenExpired"},
		"it is suspended with a link": {o: given(offered(), isSuspended), ready: "False Suspended", discovered: succeeded,
			registered: succeeded, authorized: "False ConsentRequired"},
		"it is suspended from the start": {o: given(isSuspended), ready: "False Suspended"},
		"it is deleted with a link": {o: given(offered(), isDeleted), ready: "False ConsentRequired", discovered: succeeded,
			registered: succeeded, authorized: "False ConsentRequired", worker: reconciling},
		"the link was for another server": {o: given(offered(),
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = "https://other.example.com/mcp" })),
			ready: "False ConsentRequired", authorized: "False ConsentRequired", worker: reconciling},
		"the link was for another address of the pages": {
			o:     given(offered(), func(o *State) { o.ExternalURL = "https://new.example.com" }),
			ready: "False ConsentRequired", discovered: succeeded, registered: succeeded, authorized: "False ConsentRequired",
			worker: reconciling},
	}
	maps.Copy(out, failedStates())
	maps.Copy(out, challengedStates())
	maps.Copy(out, probedStates())
	maps.Copy(out, wornOutStates())
	return out
}

// reasonsWith are the reasons that have a trait.
func reasonsWith(trait reasons.Trait) []string {
	var out []string
	for _, row := range reasons.All() {
		if row.Traits&trait != 0 {
			out = append(out, row.Reason)
		}
	}
	return out
}

// failedStates are those of steps that only pass on the reason of their failure.
func failedStates() map[string]state {
	out := map[string]state{}
	works := func(reason string) string {
		if reasons.Is(reason, reasons.Stalls) {
			return stalled
		}
		return reconciling
	}
	for _, reason := range reasons.At(v1alpha1.ConditionDiscovered, metav1.ConditionFalse) {
		out["discovery ends with "+reason] = state{o: given(failing(StepDiscover, reason, time.Minute)), ready: "False " +
			reason, discovered: "False " + reason, worker: works(reason)}
		out["another discovery ends with "+reason] = state{o: given(granted(isSetAside), published,
			failing(StepDiscover, reason, time.Minute)),
			ready: "True RefreshRejected", discovered: "False " + reason, registered: succeeded,
			authorized: "False RefreshRejected"}
	}
	for _, reason := range reasons.At(v1alpha1.ConditionRegistered, metav1.ConditionFalse) {
		out["registration ends with "+reason] = state{o: given(foundServer, failing(StepRegister, reason, time.Minute)),
			ready: "False " + reason, discovered: succeeded, registered: "False " + reason, worker: works(reason)}
	}
	for _, reason := range reasonsWith(reasons.OfClient) {
		out["a refresh ends with "+reason] = state{at: givenRefresh,
			o:     given(granted(), published, failing(StepRefresh, reason, time.Hour)),
			ready: "True RefreshFailing", discovered: succeeded, registered: "False " + reason,
			authorized: "True RefreshFailing"}
		out["a code ends with "+reason] = state{o: given(offered(), concluded(reason)),
			ready: "False " + reason, discovered: succeeded, registered: "False " + reason, authorized: "False ConsentRequired",
			worker: works(reason), link: true}
	}
	for _, reason := range []string{v1alpha1.ReasonAccessDenied, v1alpha1.ReasonIssuerParameterMismatch,
		v1alpha1.ReasonCodeRejected,
		v1alpha1.ReasonTokenRequestRejected, v1alpha1.ReasonTokenRequestFailing, v1alpha1.ReasonConsentRequired,
		v1alpha1.ReasonAuthorizationRequestRejected, v1alpha1.ReasonAuthorizationServerFailing} {
		out["a consent ends with "+reason] = state{o: given(offered(), concluded(reason)),
			ready: "False " + reason, discovered: succeeded, registered: succeeded, authorized: "False " + reason,
			worker: works(reason), link: true}
	}
	maps.Copy(out, nonInteractiveStates(works))
	return out
}

func TestEveryStateHasItsConditions(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(s.at)
			conn := reported(now, s.o)
			for condition, want := range map[string]string{v1alpha1.ConditionReady: s.ready,
				v1alpha1.ConditionDiscovered: s.discovered,
				v1alpha1.ConditionRegistered: s.registered, v1alpha1.ConditionAuthorized: s.authorized} {
				if got := shown(conn, condition); got != want {
					t.Errorf("%s is %q, want %q", condition, got, want)
				}
			}
			for _, condition := range []string{reconciling, stalled} {
				if got := meta.FindStatusCondition(conn.Status.Conditions, condition); (got != nil) != (condition == s.worker) {
					t.Errorf("%s is %v, want %q", condition, got, s.worker)
				}
			}
			if got := conn.Status.AuthorizationURL; (got != "") != s.link {
				t.Errorf("the link is %q", got)
			}
			for _, broken := range CheckStatusLaws(conn, now) {
				t.Error(broken)
			}
		})
	}
}

func TestEveryReasonOfTheContractIsReached(t *testing.T) {
	reached := map[string]bool{}
	for _, s := range states() {
		for _, c := range Report(epoch.Add(s.at), s.o).Conditions {
			reached[fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason)] = true
		}
	}
	for _, row := range reasons.All() {
		for _, at := range row.Places {
			if at.Condition != ready && !reached[fmt.Sprintf("%s %s %s", at.Condition, at.Status, row.Reason)] {
				t.Errorf("no state leads to %s with %s", at, row.Reason)
			}
		}
	}
}

func TestReportingAgainChangesNothing(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(s.at)
			conn := s.o.Conn
			first := Report(now, s.o)
			again := *s.o
			again.Conn = conn.DeepCopy()
			again.Conn.Status = *first.DeepCopy()
			if second := Report(now.Add(time.Second/2), &again); !equality.Semantic.DeepEqual(first, second) {
				t.Errorf("first %+v\nthen %+v", first, second)
			}
			if n := EventOf(first.Conditions, first.Conditions); n != nil {
				t.Errorf("a status that stays leads to the event %+v", n)
			}
		})
	}
}

func TestNoTextHoldsTheLinkOrASecret(t *testing.T) {
	for name, s := range states() {
		status := Report(epoch.Add(s.at), s.o)
		texts := []string{}
		for _, c := range status.Conditions {
			texts = append(texts, c.Message, c.Reason)
		}
		if n := EventOf(nil, status.Conditions); n != nil {
			texts = append(texts, n.Message)
		}
		if f := status.Failure; f != nil {
			texts = append(texts, f.Message)
		}
		for _, text := range texts {
			for _, secret := range []string{givenTicket, "/connect/", givenToken, "the-refresh-token"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: %q holds %q", name, text, secret)
				}
			}
		}
	}
}

func TestTheTransitionTimeMovesOnlyWithTheStatus(t *testing.T) {
	o := given(offered())
	o.Conn.Status = Report(epoch, o)
	later := epoch.Add(time.Hour)
	concluded(v1alpha1.ReasonAccessDenied)(o)
	same := Report(later, o)
	if c := meta.FindStatusCondition(same.Conditions, v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonAccessDenied ||
		!c.LastTransitionTime.Time.Equal(epoch) {
		t.Errorf("another reason moved the time: %+v", c)
	}
	o.Conn.Status = same
	all(granted(func(g *credential.Grant) { g.ExpiresAt = later.Add(time.Hour) }), published)(o)
	o.stored().Authorization = credential.Authorization{}
	changed := Report(later, o)
	for name, want := range map[string]time.Time{v1alpha1.ConditionReady: later, v1alpha1.ConditionAuthorized: later,
		v1alpha1.ConditionDiscovered: epoch} {
		if c := meta.FindStatusCondition(changed.Conditions, name); c.Status != metav1.ConditionTrue ||
			!c.LastTransitionTime.Time.Equal(want) {
			t.Errorf("%s is %+v, want a change at %s", name, c, want)
		}
	}
}

func TestReadyIsTrueExactlyWhileTheSecretHoldsAValidToken(t *testing.T) {
	edit := func(key, value string) func(*State) {
		return func(o *State) { o.Secret.Data[key] = []byte(value) }
	}
	for name, test := range map[string]struct {
		o     *State
		at    time.Duration
		ready bool
	}{
		"a valid token":          {o: given(granted(), published), ready: true},
		"to the last moment":     {o: given(granted(), published), at: givenLifetime - 1, ready: true},
		"and no longer":          {o: given(granted(), published), at: givenLifetime},
		"a token without expiry": {o: given(granted(withoutExpiry), published), at: 99 * givenLifetime, ready: true},
		"no Secret":              {o: given(granted())},
		"a foreign Secret": {o: given(granted(), published,
			func(o *State) { o.Secret.Labels, o.Secret.OwnerReferences = nil, nil })},
		"a Secret of another connection": {o: given(granted(), published,
			func(o *State) { o.Secret.OwnerReferences[0].UID = "other" })},
		"an emptied Secret":        {o: given(granted(), published, granted(toBeRevoked), published)},
		"a Secret without a token": {o: given(granted(), published, edit(v1alpha1.KeyAccessToken, ""))},
		"a token for another server": {o: given(granted(), published,
			edit(v1alpha1.KeyServerURL, "https://other.example.com"))},
		"a token whose expiry is unreadable": {o: given(granted(), published, edit(v1alpha1.KeyExpiresAt, "soon"))},
		"a token that expired earlier": {o: given(granted(), published,
			edit(v1alpha1.KeyExpiresAt, epoch.Format(time.RFC3339)))},
		"a suspended connection keeps it":     {o: given(granted(), published, isSuspended), ready: true},
		"a suspended connection loses it too": {o: given(granted(), published, isSuspended), at: givenLifetime},
		"an unknown grant in the credential":  {o: given(granted(), published, func(o *State) { o.Held = nil }), ready: true},
		"a token that outlives a later grant": {o: given(granted(), published, granted(isOf("DPoP"), withoutExpiry)),
			ready: true},
		"the older token expires all the same": {o: given(granted(), published, granted(isOf("DPoP"), withoutExpiry)),
			at: givenLifetime},
		"a renamed Secret that is not yet made": {o: given(granted(), published, specified(rename),
			func(o *State) { o.Secret = nil })},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(test.at)
			conn := reported(now, test.o)
			got := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady).Status
			if (got == metav1.ConditionTrue) != test.ready {
				t.Errorf("Ready is %s", got)
			}
			for _, broken := range CheckStatusLaws(conn, now) {
				t.Error(broken)
			}
		})
	}
}

func TestARefreshLeavesConditionsAsTheyAre(t *testing.T) {
	o := given(granted(), published)
	before := Report(epoch, o)
	o.Conn.Status = before
	later := epoch.Add(givenRefresh)
	all(granted(func(g *credential.Grant) {
		g.AccessToken, g.IssuedAt, g.ExpiresAt, g.RefreshAt = "the-next-token", later, later.Add(givenLifetime),
			later.Add(givenRefresh)
	}), published)(o)
	after := Report(later, o)
	if !equality.Semantic.DeepEqual(before.Conditions, after.Conditions) ||
		EventOf(before.Conditions, after.Conditions) != nil {
		t.Errorf("before %+v\nafter %+v", before.Conditions, after.Conditions)
	}
	if !after.Token.RefreshAt.Time.Equal(later.Add(givenRefresh)) ||
		!after.Token.ExpiresAt.Time.Equal(later.Add(givenLifetime)) {
		t.Errorf("the token is %+v", after.Token)
	}
}

func TestStatusShowsWhatWasFoundAndGranted(t *testing.T) {
	o := given(granted(), published)
	o.Handled = v1alpha1.LastHandled{Refresh: "1"}
	status := Report(epoch, o)
	if status.AuthorizationServer.Issuer != givenIssuer || status.Resource != givenServer ||
		status.Client.ID != "client-1" ||
		status.Client.Registration != v1alpha1.RegistrationDynamic || status.Client.ExpiresAt != nil ||
		!slices.Equal(status.Scopes, []string{"files:read"}) {
		t.Errorf("the binding is %+v %+v %s", status.AuthorizationServer, status.Client, status.Resource)
	}
	want := &v1alpha1.TokenStatus{SecretName: "files-token", SecretResourceVersion: "7", IssuedAt: TimeOf(epoch),
		ExpiresAt: TimeOf(epoch.Add(givenLifetime)), RefreshAt: TimeOf(epoch.Add(givenRefresh))}
	if !equality.Semantic.DeepEqual(status.Token, want) || status.LastHandled.Refresh != "1" || status.Failure != nil {
		t.Errorf("the status is %+v with the token %+v", status, status.Token)
	}
	if status := Report(epoch, given(granted(isPublic), published)); status.AuthorizationServer != nil ||
		status.Client != nil || status.Token.IssuedAt != nil {
		t.Errorf("a public server has %+v", status)
	}
	if status := Report(epoch, given(foundServer, failing(StepRegister, "RegistrationRefused",
		time.Minute))); status.AuthorizationServer == nil || status.Resource == "" {
		t.Error("what discovery found is not shown")
	}
}

func TestWhatWasDiscoveredStaysInStatusWhileRegistrationFails(t *testing.T) {
	o := given(foundServer, failing(StepRegister, "RegistrationRefused", time.Hour))
	o.Conn.Status = Report(epoch, o)
	o.Discovery = nil
	if status := Report(epoch.Add(time.Minute), o); status.AuthorizationServer == nil || status.Resource != givenServer {
		t.Errorf("the next reconcile forgot it: %+v", status)
	}
}

func TestTheSecretOfAnEarlierNameIsNotForgotten(t *testing.T) {
	for name, change := range map[string]func(*State){
		"while the new name is taken":  all(isForeign, failing(StepPublish, v1alpha1.ReasonSecretConflict, time.Minute)),
		"while nothing can be written": all(func(o *State) { o.Secret = nil }, isSuspended),
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(), published)
			o.Conn.Status = Report(epoch, o)
			all(specified(rename), change)(o)
			if token := Report(epoch, o).Token; token == nil || token.SecretName != "files-token" || token.ExpiresAt != nil {
				t.Errorf("the token is %+v", token)
			}
		})
	}
}

func TestAnUnreadableCredentialSaysWhatToDo(t *testing.T) {
	o := given(func(o *State) { o.Unusable = errors.New("why") })
	message := meta.FindStatusCondition(Report(epoch, o).Conditions, v1alpha1.ConditionReady).Message
	if !strings.Contains(message, credential.SecretName(givenUID)) || !strings.Contains(message, "why") {
		t.Error(message)
	}
}

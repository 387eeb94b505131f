package controller

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

const openLink = "A person with an account at the server must open the link in status.authorizationURL."

func discoveredVerdict(o *observed) *verdict {
	g := o.grant()
	if failure := o.failures.find(stepDiscover); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	switch {
	case g != nil && g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "The server answers without authorization and names no authorization server.")
	case g != nil:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+g.Issuer+".")
	case o.offer() != nil && o.offer().Binding.ServerURL == o.conn.Spec.ServerURL:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+o.offer().Binding.Issuer+".")
	case o.discovery != nil:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+o.discovery.AuthorizationServer.Issuer+".")
	case o.failures.has(stepRegister), o.failures.has(stepStartAuthorization), o.failures.has(stepRequestToken), o.failures.has(stepImportGrant):
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is known.")
	}
	return nil
}

func registeredVerdict(o *observed) *verdict {
	g, offer, outcome := o.grant(), o.offer(), o.outcome()
	if failure := o.failures.find(stepRegister); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	for _, s := range []step{stepRefresh, stepRequestToken, stepImportGrant} {
		if failure := o.failures.find(s); failure != nil && is(failure.Reason, ofClient) {
			return no(failure.Reason, failure.Message)
		}
	}
	switch {
	case g != nil && g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "No client is needed.")
	case outcome != nil && is(outcome.Reason, ofClient):
		return no(outcome.Reason, outcome.Message)
	case offer != nil && offer.Binding.ServerURL == o.conn.Spec.ServerURL:
		return yes(v1alpha1.ReasonSucceeded, o.clientText(&offer.Binding.Client))
	case g != nil && g.Client.ClientID == "", g == nil && o.registered != nil && o.registered.ClientID == "":
		return yes(v1alpha1.ReasonSucceeded, "No client is named: the assertion says who asks.")
	case g != nil:
		return yes(v1alpha1.ReasonSucceeded, o.clientText(&g.Client))
	case o.failures.has(stepRequestToken):
		return yes(v1alpha1.ReasonSucceeded, "The client is known.")
	}
	return nil
}

func authorizedVerdict(now time.Time, o *observed) *verdict {
	g := o.grant()
	switch {
	case o.unusable != nil:
		return no(v1alpha1.ReasonCredentialUnreadable, "The Secret "+credential.SecretName(o.conn.UID)+
			" in the operator's namespace cannot be used: "+o.unusable.Error()+". Delete it to start over with a new consent.")
	case o.unattended() && (g == nil || g.Revoke != ""):
		return requestVerdict(o)
	case g == nil || g.Revoke != "":
		return consentVerdict(now, o)
	case g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "No authorization is needed.")
	case g.SetAside != nil:
		if failure := o.failures.find(stepStartAuthorization); failure != nil { // the link that the message speaks of is not to be had
			return no(failure.Reason, failure.Message)
		}
		return no(g.SetAside.Reason, g.SetAside.Message)
	case g.AccessToken == "":
		return tokenlessVerdict(o)
	case !publishable(g):
		return no(v1alpha1.ReasonUnsupportedTokenType, fmt.Sprintf(
			"The server issued a token of type %q, which consumers cannot send. Ask its owner for bearer tokens, then set the annotation %s.",
			g.TokenType, v1alpha1.AnnotationReauthorize))
	case expired(g, now):
		return expiredVerdict(o)
	}
	return validVerdict(now, o)
}

// validVerdict speaks of a grant whose token is still valid.
func validVerdict(now time.Time, o *observed) *verdict {
	g := o.grant()
	failure := o.renewalFailure()
	switch {
	case failure != nil:
		return yes(v1alpha1.ReasonRefreshFailing, failure.Message)
	case o.tokenWanted():
		return yes(v1alpha1.ReasonProgressing, "A new token is being requested; the old one stays until then.")
	case !o.unattended() && o.consentMissing(now):
		return consentVerdict(now, o)
	case !o.unattended() && g.RefreshToken == "" && !g.ExpiresAt.IsZero():
		message := "The server issued no refresh token. A link for a new consent will be offered before the token expires at " +
			g.ExpiresAt.UTC().Format(time.RFC3339) + "; if the server supports it, ask for offline access with spec.compatibility.offlineAccess."
		if o.offer() != nil {
			message = "The server issued no refresh token. " + openLink + " The token expires at " + g.ExpiresAt.UTC().Format(time.RFC3339) + "."
		} else if failure := o.failures.find(stepStartAuthorization); failure != nil {
			message = "The server issued no refresh token, and the token expires at " + g.ExpiresAt.UTC().Format(time.RFC3339) + ". " + failure.Message
		}
		return yes(v1alpha1.ReasonNoRefreshToken, message)
	}
	return yes(v1alpha1.ReasonSucceeded, "The grant is valid"+scopesText(g.GrantedScopes)+".")
}

// renewalFailure is why the token is not renewed; nil if nothing is known to stand in the way.
func (o *observed) renewalFailure() *v1alpha1.Failure {
	if f := o.failures.find(stepRequestToken); f != nil {
		return f
	}
	return o.failures.find(stepRefresh)
}

// expiredVerdict speaks of a grant whose token has expired.
func expiredVerdict(o *observed) *verdict {
	g := o.grant()
	at := g.ExpiresAt.UTC().Format(time.RFC3339)
	failure := o.renewalFailure()
	switch {
	case o.unattended() && failure == nil:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+"; a new one is being requested.")
	case o.unattended():
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and requesting a new one fails; retries go on. "+failure.Message)
	case g.UnknownOutcomes > 0:
		return no(v1alpha1.ReasonRefreshOutcomeUnknown, "The token expired at "+at+", and a refresh was sent without an answer. Refreshing goes on; if it does not recover: "+openLink)
	case g.RefreshToken == "" && o.failures.has(stepStartAuthorization):
		failure := o.failures.find(stepStartAuthorization)
		return no(failure.Reason, "The token expired at "+at+" and there is no refresh token. "+failure.Message)
	case g.RefreshToken == "":
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and there is no refresh token. "+openLink)
	case failure != nil && g.Refusals >= minRefusals:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and the token endpoint refuses to refresh it without saying why; retries go on. "+failure.Message+" If it does not recover: "+openLink)
	case failure != nil:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and refreshing it fails; retries go on. "+failure.Message)
	}
	return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+"; it is being refreshed.")
}

// linkAwaited says that a link is on its way, or what stands in its way.
func linkAwaited(o *observed) *verdict {
	for _, s := range []step{stepDiscover, stepRegister} {
		if failure := o.failures.find(s); failure != nil {
			return no(v1alpha1.ReasonConsentRequired, "A person's consent is needed, and the link for it cannot be made yet. "+failure.Message)
		}
	}
	return no(v1alpha1.ReasonConsentRequired, "A person's consent is needed; the link for it is being prepared.")
}

// consentVerdict speaks of a missing or asked-for consent; nil if an earlier step stands in the way.
func consentVerdict(now time.Time, o *observed) *verdict {
	if failure := o.failures.find(stepStartAuthorization); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	if failure := o.failures.find(stepImportGrant); failure != nil {
		return importVerdict(failure)
	}
	if failure := o.failures.find(stepExchangeCode); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	if failure := o.failures.find(stepRevoke); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	outcome, offer := o.outcome(), o.offer()
	switch {
	case offer == nil && (o.grant() == nil || o.grant().Revoke != ""):
		return nil
	case !o.offerFits(now):
		return linkAwaited(o)
	case outcome != nil && !outcome.Succeeded && outcome.Ticket == offer.Ticket && !is(outcome.Reason, ofClient):
		return no(outcome.Reason, outcomeText(outcome))
	case o.grant() != nil && wantsConsent(o.grant()):
		return no(v1alpha1.ReasonConsentRequired, challengeText(o.grant().Challenge)+openLink+" The old token stays until then.")
	case o.scopesGrown():
		return no(v1alpha1.ReasonConsentRequired, "spec.scopes names scopes that were not granted. "+openLink+" The old token keeps working until then.")
	case o.grant() != nil && o.grantRunsOut(now):
		return no(v1alpha1.ReasonConsentRequired, "The grant ends at "+o.grant().EndsAt.UTC().Format(time.RFC3339)+" and refreshing does not prolong it. "+openLink+" The old token keeps working until it expires.")
	case o.clientWornOut(now):
		return no(v1alpha1.ReasonConsentRequired, wornOutText(&o.grant().Client)+openLink+" The old token keeps working until then.")
	case o.grant() != nil && o.refusalWantsConsent():
		return no(v1alpha1.ReasonConsentRequired, "The server refuses the published token. "+openLink)
	case offer.Reauthorize != "" && o.grant() != nil:
		return no(v1alpha1.ReasonConsentRequired, openLink+" The old token keeps working until then.")
	}
	return no(v1alpha1.ReasonConsentRequired, openLink)
}

// outcomeText says why a consent led to nothing, and that the link can be opened again where the message does not say what
// comes before that.
func outcomeText(outcome *credential.Outcome) string {
	if outcome.Reason == v1alpha1.ReasonAuthorizationRequestRejected || outcome.Reason == v1alpha1.ReasonConsentRequired {
		return outcome.Message
	}
	return strings.TrimSuffix(outcome.Message, ".") + ". The link in status.authorizationURL can be opened again."
}

func scopesText(scopes []string) string {
	if len(scopes) == 0 {
		return ""
	}
	return " for " + strings.Join(scopes, " ")
}

// sentence ends a text with a full stop: the errors of mcpoauth have none. A value or a command to paste stands last, quoted or
// on lines of its own, and gets none: whoever pastes it would paste the stop too.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsRune(".`\"", rune(text[len(text)-1])) || strings.Contains(text, "\n") {
		return text
	}
	return text + "."
}

// eventOf is the event for a change of state: of Ready if it changed, else of the first other condition that did.
func eventOf(before, after []metav1.Condition) *note {
	for _, name := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed, v1alpha1.ConditionRegistered, v1alpha1.ConditionDiscovered} {
		old, now := meta.FindStatusCondition(before, name), meta.FindStatusCondition(after, name)
		if now == nil || (old != nil && old.Status == now.Status && old.Reason == now.Reason) {
			continue
		}
		if old == nil && name != v1alpha1.ConditionReady {
			continue
		}
		return &note{warning: !is(now.Reason, isNews), reason: now.Reason, message: now.Message}
	}
	return nil
}

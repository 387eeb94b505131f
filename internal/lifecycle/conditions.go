package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/reasons"
)

const openLink = "A person with an account at the server must open the link in status.authorizationURL."

func discoveredVerdict(s *State) *verdict {
	g := s.Grant()
	if failure := s.Failures.Find(StepDiscover); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	switch {
	case g != nil && g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "The server answers without authorization and names no "+
			"authorization server.")
	case g != nil:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+g.Issuer+".")
	case s.Offer() != nil && s.Offer().Binding.ServerURL == s.Conn.Spec.ServerURL:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+s.Offer().Binding.Issuer+".")
	case s.Discovery != nil:
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is "+s.Discovery.AuthorizationServer.Issuer+".")
	case s.Failures.Has(StepRegister), s.Failures.Has(StepStartAuthorization), s.Failures.Has(StepRequestToken),
		s.Failures.Has(StepImportGrant):
		return yes(v1alpha1.ReasonSucceeded, "The authorization server is known.")
	}
	return nil
}

func registeredVerdict(s *State) *verdict {
	g, offer, outcome := s.Grant(), s.Offer(), s.outcome()
	if failure := s.Failures.Find(StepRegister); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	for _, step := range []Step{StepRefresh, StepRequestToken, StepImportGrant} {
		if failure := s.Failures.Find(step); failure != nil && reasons.Is(failure.Reason, reasons.OfClient) {
			return no(failure.Reason, failure.Message)
		}
	}
	switch {
	case g != nil && g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "No client is needed.")
	case outcome != nil && reasons.Is(outcome.Reason, reasons.OfClient):
		return no(outcome.Reason, outcome.Message)
	case offer != nil && offer.Binding.ServerURL == s.Conn.Spec.ServerURL:
		return yes(v1alpha1.ReasonSucceeded, s.clientText(&offer.Binding.Client))
	case g != nil && g.Client.ClientID == "", g == nil && s.Registered != nil && s.Registered.ClientID == "":
		return yes(v1alpha1.ReasonSucceeded, "No client_id is sent; the assertion identifies the client.")
	case g != nil:
		return yes(v1alpha1.ReasonSucceeded, s.clientText(&g.Client))
	case s.Failures.Has(StepRequestToken):
		return yes(v1alpha1.ReasonSucceeded, "The client is known.")
	}
	return nil
}

func authorizedVerdict(now time.Time, s *State) *verdict {
	g := s.Grant()
	switch {
	case s.Unusable != nil:
		return no(v1alpha1.ReasonCredentialUnreadable, "The Secret "+credential.SecretName(s.Conn.UID)+
			" in the operator's namespace cannot be used: "+s.Unusable.Error()+". Delete it to start over with a new consent.")
	case s.NonInteractive() && (g == nil || g.Revoke != ""):
		return requestVerdict(s)
	case g == nil || g.Revoke != "":
		return consentVerdict(now, s)
	case g.Public:
		return yes(v1alpha1.ReasonAuthorizationNotRequired, "No authorization is needed.")
	case g.SetAside != nil:
		// The link that the message speaks of may not be had.
		if failure := s.Failures.Find(StepStartAuthorization); failure != nil {
			return no(failure.Reason, failure.Message)
		}
		return no(g.SetAside.Reason, g.SetAside.Message)
	case g.AccessToken == "":
		return tokenlessVerdict(s)
	case !publishable(g):
		return no(v1alpha1.ReasonUnsupportedTokenType, fmt.Sprintf(
			"The server issued a token of type %q, which consumers cannot send. Ask its owner for bearer tokens, then set the "+
				"annotation %s.",
			g.TokenType, v1alpha1.AnnotationReauthorize))
	case expired(g, now):
		return expiredVerdict(s)
	}
	return validVerdict(now, s)
}

// validVerdict speaks of a grant whose token is still valid.
func validVerdict(now time.Time, s *State) *verdict {
	g := s.Grant()
	failure := s.renewalFailure()
	switch {
	case failure != nil:
		return yes(v1alpha1.ReasonRefreshFailing, failure.Message)
	case s.tokenWanted():
		return yes(v1alpha1.ReasonProgressing, "A new token is being requested; the old one stays until then.")
	case !s.NonInteractive() && s.consentMissing(now):
		return consentVerdict(now, s)
	case !s.NonInteractive() && g.RefreshToken == "" && !g.ExpiresAt.IsZero():
		message := "The server issued no refresh token. A link for a new consent will be offered before the " +
			"token expires at " +
			g.ExpiresAt.UTC().Format(time.RFC3339) + "; if the server supports it, ask for offline access with " +
			"spec.compatibility.offlineAccess."
		if s.Offer() != nil {
			message = "The server issued no refresh token. " + openLink + " The token expires at " +
				g.ExpiresAt.UTC().Format(time.RFC3339) + "."
		} else if failure := s.Failures.Find(StepStartAuthorization); failure != nil {
			message = "The server issued no refresh token, and the token expires at " + g.ExpiresAt.UTC().Format(time.RFC3339) +
				". " + failure.Message
		}
		return yes(v1alpha1.ReasonNoRefreshToken, message)
	}
	return yes(v1alpha1.ReasonSucceeded, "The grant is valid"+scopesText(g.GrantedScopes)+".")
}

// renewalFailure is why the token is not renewed; nil if nothing is known to stand in the way.
func (s *State) renewalFailure() *v1alpha1.Failure {
	if f := s.Failures.Find(StepRequestToken); f != nil {
		return f
	}
	return s.Failures.Find(StepRefresh)
}

// expiredVerdict speaks of a grant whose token has expired.
func expiredVerdict(s *State) *verdict {
	g := s.Grant()
	at := g.ExpiresAt.UTC().Format(time.RFC3339)
	failure := s.renewalFailure()
	switch {
	case s.NonInteractive() && failure == nil:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+"; a new one is being requested.")
	case s.NonInteractive():
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and requesting a new one fails; retries go on. "+
			failure.Message)
	case g.UnknownOutcomes > 0:
		return no(v1alpha1.ReasonRefreshOutcomeUnknown, "The token expired at "+at+", and a refresh was sent without an "+
			"answer. Refreshing goes on; if it does not recover: "+openLink)
	case g.RefreshToken == "" && s.Failures.Has(StepStartAuthorization):
		failure := s.Failures.Find(StepStartAuthorization)
		return no(failure.Reason, "The token expired at "+at+" and there is no refresh token. "+failure.Message)
	case g.RefreshToken == "":
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and there is no refresh token. "+openLink)
	case failure != nil && g.Refusals >= minRefusals:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and the token endpoint refuses to refresh it "+
			"without saying why; retries go on. "+failure.Message+" If it does not recover: "+openLink)
	case failure != nil:
		return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+" and refreshing it fails; retries go on. "+
			failure.Message)
	}
	return no(v1alpha1.ReasonTokenExpired, "The token expired at "+at+"; it is being refreshed.")
}

// linkAwaited says that a link is on its way, or what stands in its way.
func linkAwaited(s *State) *verdict {
	for _, step := range []Step{StepDiscover, StepRegister} {
		if failure := s.Failures.Find(step); failure != nil {
			return no(v1alpha1.ReasonConsentRequired, "A person's consent is needed, and the link for it cannot "+
				"be made yet. "+failure.Message)
		}
	}
	return no(v1alpha1.ReasonConsentRequired, "A person's consent is needed; the link for it is being prepared.")
}

// consentVerdict speaks of a missing or asked-for consent; nil if an earlier step stands in the way.
func consentVerdict(now time.Time, s *State) *verdict {
	if failure := s.Failures.Find(StepStartAuthorization); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	if failure := s.Failures.Find(StepImportGrant); failure != nil {
		return importVerdict(failure)
	}
	if failure := s.Failures.Find(StepExchangeCode); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	if failure := s.Failures.Find(StepRevoke); failure != nil {
		return no(failure.Reason, failure.Message)
	}
	outcome, offer := s.outcome(), s.Offer()
	switch {
	case offer == nil && (s.Grant() == nil || s.Grant().Revoke != ""):
		return nil
	case !s.offerFits(now):
		return linkAwaited(s)
	case outcome != nil && !outcome.Succeeded && outcome.Ticket == offer.Ticket &&
		!reasons.Is(outcome.Reason, reasons.OfClient):
		return no(outcome.Reason, outcomeText(outcome))
	case s.Grant() != nil && WantsConsent(s.Grant()):
		return no(v1alpha1.ReasonConsentRequired, challengeText(s.Grant().Challenge)+openLink+
			" The old token stays until then.")
	case s.scopesGrown():
		return no(v1alpha1.ReasonConsentRequired, "spec.scopes names scopes that were not granted. "+openLink+
			" The old token keeps working until then.")
	case s.Grant() != nil && s.grantRunsOut(now):
		return no(v1alpha1.ReasonConsentRequired, "The grant ends at "+s.Grant().EndsAt.UTC().Format(time.RFC3339)+
			" and refreshing does not prolong it. "+openLink+" The old token keeps working until it expires.")
	case s.clientSecretRunsOut(now):
		return no(v1alpha1.ReasonConsentRequired, secretRunsOutText(&s.Grant().Client)+openLink+
			" The old token keeps working until then.")
	case s.Grant() != nil && s.refusalWantsConsent():
		return no(v1alpha1.ReasonConsentRequired, "The server refuses the published token. "+openLink)
	case offer.Reauthorize != "" && s.Grant() != nil:
		return no(v1alpha1.ReasonConsentRequired, openLink+" The old token keeps working until then.")
	}
	return no(v1alpha1.ReasonConsentRequired, openLink)
}

// outcomeText says why a consent led to nothing, and that the link can be opened again where the message does not say
// what comes before that.
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

// Sentence ends a text with a full stop: the errors of mcpoauth have none. A value or a command to paste stands last,
// quoted or on lines of its own, and gets none: whoever pastes it would paste the stop too.
func Sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsRune(".`\"", rune(text[len(text)-1])) || strings.Contains(text, "\n") {
		return text
	}
	return text + "."
}

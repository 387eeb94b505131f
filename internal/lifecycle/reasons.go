package lifecycle

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// trait is what follows from a reason.
type trait uint8

const (
	// isNews is of reasons whose events are no warnings.
	isNews trait = 1 << iota
	// yields is of reasons of Ready that say less than that the server demands more scopes, or that a template is broken.
	yields
	// stalls is of reasons that want an edit of the spec, or a change that the operator cannot wait for.
	stalls
	// ofInputs is of failures that another content of a referenced Secret may mend.
	ofInputs
	// ofClient is of failures of other steps that are about the client.
	ofClient
	// ofAPIServer is of failures of the API server. Only Ready tells of them: they say nothing of a server or a person.
	ofAPIServer
)

// reasonRow is all that is known of a reason.
type reasonRow struct {
	reason string
	// at are the conditions that tell it, by their status; Ready also tells the reasons of conditions that it follows from.
	at     []place
	traits trait
}

// place is a condition with a status, such as Authorized=False.
type place string

const (
	discoveredTrue  place = v1alpha1.ConditionDiscovered + "=True"
	discoveredFalse place = v1alpha1.ConditionDiscovered + "=False"
	registeredTrue  place = v1alpha1.ConditionRegistered + "=True"
	registeredFalse place = v1alpha1.ConditionRegistered + "=False"
	authorizedTrue  place = v1alpha1.ConditionAuthorized + "=True"
	authorizedFalse place = v1alpha1.ConditionAuthorized + "=False"
	probedTrue      place = v1alpha1.ConditionProbed + "=True"
	probedFalse     place = v1alpha1.ConditionProbed + "=False"
	probedUnknown   place = v1alpha1.ConditionProbed + "=Unknown"
	readyTrue       place = v1alpha1.ConditionReady + "=True"
	readyFalse      place = v1alpha1.ConditionReady + "=False"
)

// reasons is the one place that says what a reason is. The README says what to do about it.
var reasons = []reasonRow{
	{v1alpha1.ReasonSucceeded, []place{discoveredTrue, registeredTrue, authorizedTrue, probedTrue}, isNews | yields},
	{v1alpha1.ReasonAuthorizationNotRequired, []place{discoveredTrue, registeredTrue, authorizedTrue}, isNews | yields},
	{v1alpha1.ReasonProgressing, []place{authorizedTrue, authorizedFalse, readyFalse}, isNews},
	{v1alpha1.ReasonSuspended, []place{readyTrue, readyFalse}, isNews},

	{v1alpha1.ReasonMetadataNotFound, []place{discoveredFalse}, stalls},
	{v1alpha1.ReasonServerUnreachable, []place{discoveredFalse, probedFalse}, 0},
	// The two guards of every outgoing request speak up wherever the request is made.
	{v1alpha1.ReasonInsecureURL, []place{discoveredFalse, registeredFalse, authorizedFalse}, stalls},
	{v1alpha1.ReasonEgressDenied, []place{discoveredFalse, registeredFalse, authorizedFalse}, stalls},
	// At Authorized: no link to the authorization endpoint works with this client.
	{v1alpha1.ReasonInvalidMetadata, []place{discoveredFalse, authorizedFalse}, stalls},
	{v1alpha1.ReasonResourceMismatch, []place{discoveredFalse}, stalls},
	{v1alpha1.ReasonIssuerMismatch, []place{discoveredFalse}, stalls},
	{v1alpha1.ReasonPKCEUnsupported, []place{discoveredFalse}, stalls},

	{v1alpha1.ReasonNoRegistrationMethod, []place{registeredFalse}, stalls},
	{v1alpha1.ReasonRegistrationRefused, []place{registeredFalse}, stalls | ofInputs | ofClient},
	{v1alpha1.ReasonRegistrationFailing, []place{registeredFalse}, 0},
	{v1alpha1.ReasonCredentialsMissing, []place{registeredFalse}, ofInputs | ofClient},
	{v1alpha1.ReasonCredentialsRejected, []place{registeredFalse}, stalls | ofInputs | ofClient},

	{v1alpha1.ReasonConsentRequired, []place{authorizedFalse}, isNews},
	{v1alpha1.ReasonConsentUnavailable, []place{authorizedFalse}, stalls},
	{v1alpha1.ReasonAccessDenied, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonAuthorizationRequestRejected, []place{authorizedFalse}, stalls},
	{v1alpha1.ReasonAuthorizationServerFailing, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonIssuerParameterMismatch, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonCodeRejected, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonTokenRequestRejected, []place{authorizedFalse}, ofInputs}, // without a person it stalls: see progressVerdicts
	{v1alpha1.ReasonTokenRequestFailing, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonRefreshFailing, []place{authorizedTrue}, 0},
	{v1alpha1.ReasonRefreshRejected, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonRefreshOutcomeUnknown, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonNoRefreshToken, []place{authorizedTrue}, isNews | yields},
	{v1alpha1.ReasonTokenExpired, []place{authorizedFalse}, 0},
	{v1alpha1.ReasonIssuerChanged, []place{authorizedFalse}, stalls},
	{v1alpha1.ReasonUnsupportedTokenType, []place{authorizedFalse, readyFalse}, stalls},
	{v1alpha1.ReasonCredentialUnreadable, []place{authorizedFalse}, stalls},

	{v1alpha1.ReasonNotProbed, []place{probedUnknown}, isNews},
	{v1alpha1.ReasonProbeUnauthorized, []place{probedFalse}, 0},
	{v1alpha1.ReasonInsufficientScope, []place{probedFalse}, 0},

	{v1alpha1.ReasonSecretConflict, []place{readyTrue, readyFalse}, stalls},
	{v1alpha1.ReasonInvalidTemplate, []place{readyTrue}, 0},
	{v1alpha1.ReasonSecretWriteFailing, []place{readyTrue, readyFalse}, ofAPIServer},
	{v1alpha1.ReasonAPIServerFailing, []place{readyTrue, readyFalse}, ofAPIServer},
}

var traits = func() map[string]trait {
	all := map[string]trait{}
	for _, row := range reasons {
		all[row.reason] = row.traits
	}
	return all
}()

// is reports whether a reason has a trait. One that is unknown has none.
func is(reason string, t trait) bool { return traits[reason]&t != 0 }

// reasonsAt are the reasons that a condition may have at a status.
func reasonsAt(condition string, status metav1.ConditionStatus) []string {
	var out []string
	for _, row := range reasons {
		if slices.Contains(row.at, place(condition+"="+string(status))) {
			out = append(out, row.reason)
		}
	}
	return out
}

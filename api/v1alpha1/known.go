package v1alpha1

import "slices"

// conditionTypes and reasons are all that the operator writes.
var (
	conditionTypes = []string{
		ConditionDiscovered, ConditionRegistered, ConditionAuthorized, ConditionProbed, ConditionReady, ConditionReconciling,
		ConditionStalled,
	}
	reasons = []string{
		ReasonSucceeded, ReasonAuthorizationNotRequired, ReasonProgressing, ReasonMetadataNotFound, ReasonServerUnreachable,
		ReasonInsecureURL, ReasonEgressDenied, ReasonInvalidMetadata, ReasonResourceMismatch, ReasonIssuerMismatch,
		ReasonPKCEUnsupported, ReasonNoRegistrationMethod, ReasonRegistrationRefused, ReasonRegistrationFailing,
		ReasonCredentialsMissing, ReasonCredentialsRejected, ReasonRefreshFailing, ReasonNoRefreshToken, ReasonConsentRequired,
		ReasonConsentUnavailable, ReasonAccessDenied, ReasonAuthorizationRequestRejected, ReasonAuthorizationServerFailing,
		ReasonIssuerParameterMismatch, ReasonCodeRejected, ReasonTokenRequestRejected, ReasonTokenRequestFailing, ReasonRefreshRejected,
		ReasonRefreshOutcomeUnknown, ReasonTokenExpired, ReasonIssuerChanged, ReasonUnsupportedTokenType, ReasonNotProbed,
		ReasonProbeUnauthorized, ReasonInsufficientScope, ReasonSecretConflict, ReasonSecretWriteFailing, ReasonAPIServerFailing,
		ReasonSuspended, ReasonCredentialUnreadable, ReasonInvalidTemplate,
	}
)

// IsConditionType reports whether the operator writes conditions of this type.
func IsConditionType(name string) bool { return slices.Contains(conditionTypes, name) }

// IsReason reports whether the operator writes this reason, into a condition or a failure.
func IsReason(reason string) bool { return slices.Contains(reasons, reason) }

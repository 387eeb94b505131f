package reasons

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

var (
	discoveredTrue  = Place{v1alpha1.ConditionDiscovered, metav1.ConditionTrue}
	discoveredFalse = Place{v1alpha1.ConditionDiscovered, metav1.ConditionFalse}
	registeredTrue  = Place{v1alpha1.ConditionRegistered, metav1.ConditionTrue}
	registeredFalse = Place{v1alpha1.ConditionRegistered, metav1.ConditionFalse}
	authorizedTrue  = Place{v1alpha1.ConditionAuthorized, metav1.ConditionTrue}
	authorizedFalse = Place{v1alpha1.ConditionAuthorized, metav1.ConditionFalse}
	probedTrue      = Place{v1alpha1.ConditionProbed, metav1.ConditionTrue}
	probedFalse     = Place{v1alpha1.ConditionProbed, metav1.ConditionFalse}
	probedUnknown   = Place{v1alpha1.ConditionProbed, metav1.ConditionUnknown}
	readyTrue       = Place{v1alpha1.ConditionReady, metav1.ConditionTrue}
	readyFalse      = Place{v1alpha1.ConditionReady, metav1.ConditionFalse}
)

// Texts of neighbours, which the README tells of in one row.
const (
	brokenMetadata = "a metadata document breaks its RFC"
	ownerMends     = "the server's owner must mend it"
	noToken        = "the token endpoint refused, or could not be asked"
	tryAgain       = "after a consent, open the link again; without a person, see the page of the [grant](#grants). The " +
		"message says why"
	atWork = "the operator is at work, or has not tried the token at the server yet"
)

// table has a row for each reason, in the order of the README.
var table = []Row{
	{
		Reason: v1alpha1.ReasonConsentRequired, Places: []Place{authorizedFalse}, Traits: Normal,
		Meaning: "a person is needed",
		Action:  "open `status.authorizationURL`",
		Page:    "No access was given, and your consent is still needed.",
	},
	{
		Reason: v1alpha1.ReasonConsentUnavailable, Places: []Place{authorizedFalse}, Traits: Stalls,
		Meaning: "the operator has no address for the callback",
		Action:  "start it with `--external-url=https://…` ([install](#install))",
	},
	{
		Reason: v1alpha1.ReasonAccessDenied, Places: []Place{authorizedFalse},
		Meaning: "the person or the server declined",
		Action:  "open the link again; the message holds the server's error code",
		Page:    "You or the authorization server declined, so no access was given.",
	},
	{
		Reason: v1alpha1.ReasonAuthorizationRequestRejected, Places: []Place{authorizedFalse}, Traits: Stalls | FailsConsent,
		Meaning: "the authorization server refused what was asked (`invalid_scope`, `unauthorized_client`, " +
			"`invalid_target` and their like)",
		Action: "correct the field that the message names, or the client in the server's console; an edit brings a new " +
			"link, else open the same one again",
		Page: "The authorization server refused the request itself, by no fault of yours. Trying again helps only once " +
			"whoever manages the connection has corrected what the details say.",
	},
	{
		Reason: v1alpha1.ReasonAuthorizationServerFailing, Places: []Place{authorizedFalse}, Traits: FailsConsent,
		Meaning: "the authorization server failed while a person consented",
		Action:  "open the link again in a few minutes",
		Page:    "The authorization server failed, so no access was given. Try again in a few minutes.",
	},
	{
		Reason: v1alpha1.ReasonServerUnreachable, Places: []Place{discoveredFalse, probedFalse},
		Meaning: "network, TLS or a 5xx answer",
		Action:  "nothing, it is retried; check the URL if it lasts",
	},
	{
		Reason: v1alpha1.ReasonMetadataNotFound, Places: []Place{discoveredFalse}, Traits: Stalls,
		Meaning: "the server names no authorization server",
		Action: "check `serverURL`; for servers of the 2025-03-26 specification `compatibility.legacyEndpoints`, for " +
			"others `authorizationServer`",
	},
	// At Authorized: no link to the authorization endpoint works with this client.
	{
		Reason: v1alpha1.ReasonInvalidMetadata, Places: []Place{discoveredFalse, authorizedFalse}, Traits: Stalls,
		Meaning: brokenMetadata,
		Action:  ownerMends,
	},
	{
		Reason: v1alpha1.ReasonResourceMismatch, Places: []Place{discoveredFalse}, Traits: Stalls,
		Meaning: brokenMetadata,
		Action:  ownerMends,
	},
	{
		Reason: v1alpha1.ReasonIssuerMismatch, Places: []Place{discoveredFalse}, Traits: Stalls,
		Meaning: "the documents disagree about the issuer",
		Action:  "if you trust it, set the value that the message ends with, between the backquotes",
	},
	{
		Reason: v1alpha1.ReasonPKCEUnsupported, Places: []Place{discoveredFalse}, Traits: Stalls,
		Meaning: "S256 is not advertised",
		Action:  "`compatibility.assumePKCES256` if the server supports it all the same",
	},
	// The two guards of every outgoing request speak up wherever the request is made.
	{
		Reason: v1alpha1.ReasonInsecureURL, Places: []Place{discoveredFalse, registeredFalse, authorizedFalse},
		Traits:  Stalls,
		Meaning: "a URL is http",
		Action:  "use https, or start the operator with `--allow-insecure-http`",
	},
	{
		Reason: v1alpha1.ReasonEgressDenied, Places: []Place{discoveredFalse, registeredFalse, authorizedFalse},
		Traits:  Stalls,
		Meaning: "a host has an address that may not be called",
		Action:  "`--egress-allow-cidrs`",
	},
	{
		Reason: v1alpha1.ReasonNoRegistrationMethod, Places: []Place{registeredFalse}, Traits: Stalls,
		Meaning: "the server offers no way in that fits",
		Action: "register a client by hand, with the redirect URI that the message ends with " +
			"(`status.client.redirectURI`), and name it in `client.credentialsSecretRef`",
	},
	{
		Reason: v1alpha1.ReasonRegistrationRefused, Places: []Place{registeredFalse}, Traits: Stalls | OfInputs | OfClient,
		Meaning: "the server refused the client",
		Action:  "the message ends with the redirect URI that it must allow",
		Page:    "The authorization server does not know this operator any more.",
	},
	{
		Reason: v1alpha1.ReasonRegistrationFailing, Places: []Place{registeredFalse},
		Meaning: "registration failed in a way that may heal",
		Action:  "nothing, it is retried",
	},
	{
		Reason: v1alpha1.ReasonCredentialsMissing, Places: []Place{registeredFalse}, Traits: OfInputs | OfClient,
		Meaning: "a Secret that the spec names, or a key in it, is missing; or a ServiceAccount, or the right to its tokens",
		Action:  "do as the message says; it is found within a minute",
	},
	{
		Reason: v1alpha1.ReasonCredentialsRejected, Places: []Place{registeredFalse}, Traits: Stalls | OfInputs | OfClient,
		Meaning: "the server does not accept the client credentials",
		Action:  "correct the Secret",
		Page:    "The authorization server does not accept this operator's client credentials.",
	},
	{
		Reason: v1alpha1.ReasonRefreshFailing, Places: []Place{authorizedTrue},
		Meaning: "the token is valid, refreshing it fails",
		Action:  "nothing yet, it is retried until and after expiry",
	},
	{
		Reason: v1alpha1.ReasonTokenExpired, Places: []Place{authorizedFalse},
		Meaning: "the token expired before a refresh succeeded",
		Action:  "retries go on; `status.failure` says why they fail",
	},
	{
		Reason: v1alpha1.ReasonRefreshOutcomeUnknown, Places: []Place{authorizedFalse},
		Meaning: "a refresh was sent and no answer came",
		Action:  "retries go on; consent again if they do not help",
	},
	{
		Reason: v1alpha1.ReasonRefreshRejected, Places: []Place{authorizedFalse},
		Meaning: "the authorization server ended the grant",
		Action:  "open `status.authorizationURL`",
	},
	{
		Reason: v1alpha1.ReasonNoRefreshToken, Places: []Place{authorizedTrue}, Traits: Normal | Yields,
		Meaning: "the server gave no refresh token",
		Action: "a link is offered before expiry; try `compatibility.offlineAccess: Always` or `authorizationParameters: " +
			"{prompt: consent}`",
	},
	{
		Reason: v1alpha1.ReasonCodeRejected, Places: []Place{authorizedFalse}, Traits: FailsConsent,
		Meaning: noToken,
		Action:  tryAgain,
		Page:    "The authorization server did not accept its own answer; it may have taken too long.",
	},
	// Without a person it stalls too: see progressVerdicts in internal/lifecycle.
	{
		Reason: v1alpha1.ReasonTokenRequestRejected, Places: []Place{authorizedFalse}, Traits: OfInputs | FailsConsent,
		Meaning: noToken,
		Action:  tryAgain,
		Page:    "The authorization server refused to issue a token.",
	},
	{
		Reason: v1alpha1.ReasonTokenRequestFailing, Places: []Place{authorizedFalse},
		Meaning: noToken,
		Action:  tryAgain,
		Page:    "The authorization server could not be asked for the token.",
	},
	{
		Reason: v1alpha1.ReasonIssuerParameterMismatch, Places: []Place{authorizedFalse}, Traits: FailsConsent,
		Meaning: "the answer came from another issuer than was asked",
		Action:  "open the link again; if it repeats, something is between you and the server",
		Page:    "The answer did not come from the authorization server that was asked, so it was not used.",
	},
	{
		Reason: v1alpha1.ReasonInsufficientScope, Places: []Place{probedFalse},
		Meaning: "a server demands scopes that are granted already, that a consent did not bring, or (when the operator " +
			"lists its tools) that nobody asked for",
		Action: "add them to `spec.scopes`, or have the account's rights checked at the server; then take the annotation " +
			"`mcp-connection.dev/challenge` off, if it is set",
	},
	{
		Reason: v1alpha1.ReasonProbeUnauthorized, Places: []Place{probedFalse},
		Meaning: "the server answers 401 to the published token, also after a refresh and a new look at its metadata; it " +
			"is tried again after a minute, then at intervals of up to an hour",
		Action: "open `status.authorizationURL`; if one more consent did not help, have the account checked at the server",
	},
	{
		Reason: v1alpha1.ReasonIssuerChanged, Places: []Place{authorizedFalse}, Traits: Stalls,
		Meaning: "the server no longer names the authorization server that the spec pins",
		Action:  "set `client.issuer`, with credentials of a client registered there, or `authorizationServer.issuer`",
	},
	{
		Reason: v1alpha1.ReasonUnsupportedTokenType, Places: []Place{authorizedFalse, readyFalse},
		Traits:  Stalls | HoldsPublication | FailsConsent,
		Meaning: "the token is of another type than `Bearer` or `DPoP`",
		Action:  ownerMends,
		Page:    "The authorization server issued a kind of token that cannot be used here.",
	},
	{
		Reason: v1alpha1.ReasonSecretConflict, Places: []Place{readyTrue, readyFalse}, Traits: Stalls | HoldsPublication,
		Meaning: "a Secret of that name is not this connection's",
		Action:  "delete it, or set `tokenSecret.name`",
	},
	{
		Reason: v1alpha1.ReasonInvalidTemplate, Places: []Place{readyTrue},
		Meaning: "templates of `tokenSecret.data` fail, for instance by a key that there is not; what they last made goes " +
			"with the next token",
		Action: "correct those that the message names",
	},
	{
		Reason: v1alpha1.ReasonSecretWriteFailing, Places: []Place{readyTrue, readyFalse},
		Traits: OfAPIServer | HoldsPublication,
		Meaning: "the API server refuses to write a Secret (a quota, a policy, a role, `immutable`), or something else " +
			"keeps changing it; `Ready` stays True while the published token is valid",
		Action: "do as the message says; it is tried again within a minute, later every five minutes, and at once when the " +
			"Secret changes",
	},
	{
		Reason: v1alpha1.ReasonAPIServerFailing, Places: []Place{readyTrue, readyFalse}, Traits: OfAPIServer,
		Meaning: "the API server refuses or fails what the operator asks besides writing Secrets: a read, the finalizer, a " +
			"review of a token",
		Action: "mend what the message names; it is tried again by itself",
	},
	{
		Reason: v1alpha1.ReasonCredentialUnreadable, Places: []Place{authorizedFalse}, Traits: Stalls,
		Meaning: "the operator's own Secret was damaged, or written by a newer version",
		Action:  "delete it for a new consent, or upgrade",
	},
	{
		Reason: v1alpha1.ReasonSucceeded, Places: []Place{discoveredTrue, registeredTrue, authorizedTrue, probedTrue},
		Traits:  Normal | Yields | Succeeds,
		Meaning: "the condition holds, and nothing wants attention",
		Action:  "nothing",
	},
	{
		Reason: v1alpha1.ReasonAuthorizationNotRequired, Places: []Place{discoveredTrue, registeredTrue, authorizedTrue},
		Traits:  Normal | Yields | Succeeds,
		Meaning: "the server needs no token",
		Action:  "nothing",
	},
	{
		Reason: v1alpha1.ReasonProgressing, Places: []Place{authorizedTrue, authorizedFalse, readyFalse}, Traits: Normal,
		Meaning: atWork,
		Action:  "nothing",
	},
	{
		Reason: v1alpha1.ReasonNotProbed, Places: []Place{probedUnknown}, Traits: Normal,
		Meaning: atWork,
		Action:  "nothing",
	},
	{
		Reason: v1alpha1.ReasonSuspended, Places: []Place{readyTrue, readyFalse}, Traits: Normal,
		Meaning: "`spec.suspend` is true",
		Action:  "set it to false",
	},
}

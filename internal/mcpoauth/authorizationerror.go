package mcpoauth

import (
	"slices"
	"strings"
)

// Codes of authorization responses besides AccessDenied and IssuerParameterMismatch.
const (
	// AuthorizationRequestRejected is a request for consent that the authorization server refused: something is to be
	// corrected.
	AuthorizationRequestRejected Code = "AuthorizationRequestRejected"
	// AuthorizationServerFailing is an authorization server that failed while it was asked for consent.
	AuthorizationServerFailing Code = "AuthorizationServerFailing"
	// ConsentRequired is an authorization server that did not come to ask the person.
	ConsentRequired Code = "ConsentRequired"
)

// MaxAuthorizationErrorText bounds what AfterAuthorizationError returns, in characters.
const MaxAuthorizationErrorText = 1000

// maxListed bounds a list of scopes in a message.
const maxListed = 200

// authorizationErrors are the error codes of authorization responses that are known, by what they call for: RFC 6749
// section 4.1.2.1, RFC 8707 section 2, OpenID Connect Core 1.0 section 3.1.2.6, and what large servers send beside
// them.
var authorizationErrors = map[string]Code{
	"access_denied":            AccessDenied,
	"user_cancelled_login":     AccessDenied,
	"user_cancelled_authorize": AccessDenied,

	"invalid_request":            AuthorizationRequestRejected,
	"invalid_scope":              AuthorizationRequestRejected,
	"unauthorized_client":        AuthorizationRequestRejected,
	"invalid_client":             AuthorizationRequestRejected,
	"application_suspended":      AuthorizationRequestRejected,
	"invalid_redirect_uri":       AuthorizationRequestRejected,
	"redirect_uri_mismatch":      AuthorizationRequestRejected,
	"invalid_target":             AuthorizationRequestRejected,
	"invalid_resource":           AuthorizationRequestRejected,
	"unsupported_response_type":  AuthorizationRequestRejected,
	"request_not_supported":      AuthorizationRequestRejected,
	"request_uri_not_supported":  AuthorizationRequestRejected,
	"invalid_request_object":     AuthorizationRequestRejected,
	"invalid_request_uri":        AuthorizationRequestRejected,
	"registration_not_supported": AuthorizationRequestRejected,

	"server_error":            AuthorizationServerFailing,
	"temporarily_unavailable": AuthorizationServerFailing,

	"login_required":             ConsentRequired,
	"interaction_required":       ConsentRequired,
	"consent_required":           ConsentRequired,
	"account_selection_required": ConsentRequired,
}

// KnownAuthorizationError reports whether an error code of an authorization response is one that servers are known to
// send.
func KnownAuthorizationError(code string) bool { return authorizationErrors[code] != "" }

// authorizationError is an authorization response without a code. A code that nobody registered is a refusal of the
// request.
func authorizationError(said oauthError) *Error {
	code, known := authorizationErrors[said.code]
	text := "the authorization server refused the request for consent"
	switch {
	case code == AccessDenied:
		text = "the person, or the authorization server, declined"
	case code == AuthorizationServerFailing:
		text = "the authorization server failed while it was asked for consent"
	case code == ConsentRequired:
		text = "the authorization server did not come to ask the person"
	case !known:
		code, text = AuthorizationRequestRejected, text+" with an error that is no registered code"
	}
	e := rejected(code, "%s (%s)", text, said.show())
	e.OAuthError = said.code
	return e
}

// AfterAuthorizationError is the message of an error of CheckAuthorizationResponse with what can be done about it:
// which field of the spec to correct, or what to write at the authorization server. A value to copy stands last.
func AfterAuthorizationError(e *Error, r AuthorizationRequest, method RegistrationMethod) string {
	advice := ""
	switch e.Code {
	case AuthorizationRequestRejected:
		advice = afterRefusal(e.OAuthError, r, method)
	case ConsentRequired:
		advice = afterSilence(e.OAuthError, r)
	}
	if advice == "" {
		return e.Message
	}
	return e.Message + "; " + advice
}

func afterRefusal(code string, r AuthorizationRequest, method RegistrationMethod) string {
	switch code {
	case "invalid_scope":
		return afterScopes(r, method)
	case "unauthorized_client", "invalid_client", "application_suspended":
		return afterClient(r, method)
	case "invalid_redirect_uri", "redirect_uri_mismatch":
		return afterRedirectURI(r, method)
	case "invalid_target", "invalid_resource":
		if r.Resource == "" {
			return "no resource was sent: set spec.compatibility.resource to mode Explicit, with the value that the " +
				"server expects"
		}
		return "set spec.compatibility.resource to mode Omit, or to mode Explicit with the value that the server expects; " +
			"it was sent: " + showRaw(r.Resource)
	case "unsupported_response_type":
		if method == Preregistered {
			return "allow the client the authorization code flow (response type code) in the server's console, or set " +
				"spec.grantType to a grant without a person"
		}
		return "set spec.grantType to a grant without a person, or register a client by hand that may use the " +
			"authorization code flow (response type code) and set spec.client.credentialsSecretRef"
	}
	advice := "correct what it names in spec.scopes, spec.compatibility.resource or " +
		"spec.compatibility.authorizationParameters"
	if method == Preregistered {
		advice += ", or at the client in the server's console, where the redirect URI must be: " + r.RedirectURI
	}
	return advice
}

func afterScopes(r AuthorizationRequest, method RegistrationMethod) string {
	if len(r.Scopes) == 0 {
		return "set spec.scopes: none were asked for"
	}
	advice := "set spec.scopes to scopes that the server offers"
	if method == Preregistered {
		advice += " and its console allows the client"
	}
	if slices.Contains(r.Scopes, offlineAccess) {
		advice += ", or spec.compatibility.offlineAccess to Never"
	}
	return advice + "; it was asked for: " + Sanitize(strings.Join(r.Scopes, " "), maxListed)
}

func afterClient(r AuthorizationRequest, method RegistrationMethod) string {
	switch method {
	case Preregistered:
		return "allow the client " + Sanitize(r.ClientID, 64) + " the authorization code flow in the server's console, or " +
			"name another client in the Secret of spec.client.credentialsSecretRef, with this redirect URI: " + r.RedirectURI
	case MetadataDocument:
		return "the server must be able to fetch the client metadata document, and allow its host; if it does not, set " +
			"spec.client.registration or spec.client.credentialsSecretRef. The document is at: " + showRaw(r.ClientID)
	}
	return byHand(r)
}

func afterRedirectURI(r AuthorizationRequest, method RegistrationMethod) string {
	switch method {
	case Preregistered:
		return "add this redirect URI to the client in the server's console: " + r.RedirectURI
	case MetadataDocument:
		return "the client metadata document, as the server fetches it, must list this redirect URI: " + r.RedirectURI
	}
	return byHand(r)
}

// byHand is for a client that the operator registered and that the server then refuses.
func byHand(r AuthorizationRequest) string {
	return "register a client by hand and set spec.client.credentialsSecretRef; its redirect URI is: " + r.RedirectURI
}

// afterSilence is for a server that wants to ask a person and was told, or thought, that it must not.
func afterSilence(code string, r AuthorizationRequest) string {
	const field = "spec.compatibility.authorizationParameters"
	if slices.Contains(strings.Fields(r.Parameters["prompt"]), "none") {
		return "take prompt out of " + field + ": with the value none nobody is asked"
	}
	do, prompt := "answer what it asks", "login"
	switch code {
	case "login_required":
		do = "sign in there first"
	case "consent_required":
		do, prompt = "agree to what it asks", "consent"
	case "account_selection_required":
		do, prompt = "choose an account there first", "select_account"
	}
	return do + " and open the authorization link again, or have it ask by setting " + field + " to: {prompt: " + prompt +
		"}"
}

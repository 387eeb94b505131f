package mcpoauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

const (
	invalidGrant  = "invalid_grant"
	invalidClient = "invalid_client"
)

// tokenErrors are the registered codes that token and revocation endpoints use: RFC 6749 (section 5.2), RFC 7009, RFC
// 8628, RFC 8693, RFC 8707, RFC 9396, RFC 9449, RFC 9470, and those of RFC 6750 and OpenID Connect that servers answer
// here too.
var tokenErrors = []string{
	"invalid_request", invalidClient, invalidGrant, "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"unsupported_token_type", "access_denied", "expired_token", "invalid_target", "invalid_authorization_details",
	"invalid_dpop_proof", "insufficient_user_authentication", "invalid_token", "insufficient_scope",
	"interaction_required", "login_required", "consent_required", "account_selection_required",
	"unmet_authentication_requirements",
}

// passingErrors say nothing about the grant.
var passingErrors = []string{"temporarily_unavailable", "server_error", "slow_down", "authorization_pending",
	useDPoPNonce}

// canonical is the registered code for one of GitHub's own.
func canonical(code, grantType string) string {
	switch {
	case code == "bad_refresh_token", code == "bad_verification_code" && grantType == GrantTypeAuthorizationCode:
		return invalidGrant
	case code == "incorrect_client_credentials":
		return invalidClient
	}
	return code
}

// definite reports whether a status and a code together are the authorization server's no. A gateway before it has
// error bodies of its own, and may use the names of statuses as codes.
func definite(status int, code string) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized:
		return slices.Contains(tokenErrors, code)
	case http.StatusForbidden:
		return code == invalidGrant
	}
	return false
}

// isMoved is true for statuses that speak of the endpoint and not of the request.
func isMoved(status int) bool {
	return (status >= 300 && status <= 399) || status == http.StatusNotFound || status == http.StatusMethodNotAllowed ||
		status == http.StatusGone
}

// tokenError classifies an answer that is not 2xx: a registered code is definite if its status agrees.
func tokenError(a *answer, u *url.URL, grantType string, secrets ...string) *Error {
	e := &Error{
		Kind: Transient, Code: TokenRequestFailing, Status: a.status, RetryAfter: a.retryAfter, Outcome: Answered,
		Message: fmt.Sprintf("POST %s answered %s", showURL(u), showStatus(a.status)),
	}
	switch a.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		// Refused before anything was spent.
		e.Outcome = NotSent
		return e
	case http.StatusBadGateway, http.StatusGatewayTimeout, 520, 524:
		// A proxy lost the answer (520 and 524 are Cloudflare's).
		e.Outcome = Unknown
		return e
	}
	if a.status >= 300 && a.status <= 399 {
		e.Message += "; redirects of token requests are not followed"
	}
	if a.status < 400 || a.status > 499 {
		return e
	}
	said := parseOAuthError(a.body, secrets...)
	if said != nil && !isMoved(a.status) {
		code := canonical(said.raw, grantType)
		if definite(a.status, code) || slices.Contains(passingErrors, code) {
			return refusal(a, u, said, grantType)
		}
	}
	e.ForeignJSON = json.Valid(a.body)
	if said != nil {
		e.Message += ", which is no OAuth error: " + said.show()
	} else {
		e.Message += endpointHint(a)
	}
	return e
}

// refusal is an OAuth error answer, of a status that agrees with it.
func refusal(a *answer, u *url.URL, said *oauthError, grantType string) *Error {
	e := &Error{
		Kind: Rejected, Code: TokenRequestRejected, OAuthError: said.code, Status: a.status, RetryAfter: a.retryAfter,
		Outcome: Answered,
		Message: fmt.Sprintf("POST %s was refused with %s", showURL(u), said.show()),
	}
	code := canonical(said.raw, grantType)
	if slices.Contains(tokenErrors, code) {
		e.OAuthError = code // a short secret may be a part of its name
	}
	if slices.Contains(passingErrors, code) {
		e.Kind, e.Code, e.OAuthError = Transient, TokenRequestFailing, code
	}
	return e
}

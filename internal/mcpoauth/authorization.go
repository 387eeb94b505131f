package mcpoauth

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// NewState returns prefix + "-" + 256 random bits in base64url without padding. With a prefix of letters and digits,
// such as a UID in hex, the result is of [A-Za-z0-9_-] only and StatePrefix finds the prefix again. It serves as state
// (RFC 6749, section 10.12) and as ticket of a start page.
func NewState(prefix string) string {
	random := make([]byte, 32)
	// crypto/rand never fails: it ends the program instead.
	_, _ = rand.Read(random)
	return prefix + "-" + base64.RawURLEncoding.EncodeToString(random)
}

// StatePrefix returns what stands before the first "-" of a state made by NewState. False means that s cannot be one;
// the random part is not judged here.
func StatePrefix(s string) (string, bool) {
	prefix, random, ok := strings.Cut(s, "-")
	if !ok || prefix == "" || random == "" || strings.ContainsFunc(s, notStateChar) {
		return "", false
	}
	return prefix, true
}

// stateChars are those of base64url, which no server and no proxy changes.
const stateChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func notStateChar(r rune) bool {
	return !strings.ContainsRune(stateChars, r)
}

// NewCodeVerifier returns a fresh PKCE code verifier of 256 random bits (RFC 7636, section 4.1).
func NewCodeVerifier() string { return oauth2.GenerateVerifier() }

// AuthorizationURL returns where to send the person (RFC 6749, section 4.1.1), with S256 PKCE (RFC 7636, section 4.3)
// and resource (RFC 8707, section 2.1). A query that the endpoint has already stays as it is, and what it says is not
// said again.
//
// The error is InvalidMetadata (Misconfigured): the endpoint is no URL that a browser may be sent to, or gives a
// parameter of the request another value. Whether http is permitted was decided by Discover.
func AuthorizationURL(r AuthorizationRequest) (string, error) {
	u, e := checkURL(r.Endpoint, "the authorization endpoint", InvalidMetadata, true)
	if e != nil {
		return "", e
	}
	q := url.Values{
		"response_type":         {"code"},
		"state":                 {r.State},
		"code_challenge":        {oauth2.S256ChallengeFromVerifier(r.CodeVerifier)},
		"code_challenge_method": {"S256"},
	}
	setIf(q, "client_id", r.ClientID)
	setIf(q, "redirect_uri", r.RedirectURI)
	setIf(q, "scope", strings.Join(r.Scopes, " "))
	setIf(q, "resource", r.Resource)
	if e := addParameters(q, r.Parameters, "spec.compatibility.authorizationParameters", "scope"); e != nil {
		return "", e
	}
	if e := dropRepeated(q, u, r.Parameters); e != nil {
		return "", e
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	return u.String(), nil
}

// CheckAuthorizationEndpoint reports whether AuthorizationURL will make a link of r, whatever State and CodeVerifier
// will be. A ClientID or RedirectURI that is not known yet may be empty. Errors are those of AuthorizationURL.
func CheckAuthorizationEndpoint(r AuthorizationRequest) error {
	r.State, r.CodeVerifier = NewState("0"), NewCodeVerifier()
	_, err := AuthorizationURL(r)
	return err
}

// dropRepeated takes out of q what the endpoint's own query says already: no parameter may be there twice (RFC 6749,
// section 3.1), and which of two values counts would be the server's guess.
func dropRepeated(q url.Values, u *url.URL, extra map[string]string) *Error {
	said := u.Query()
	for _, name := range slices.Sorted(maps.Keys(said)) {
		switch {
		case !q.Has(name):
		case len(said[name]) == 1 && said[name][0] == q.Get(name):
			q.Del(name)
		default:
			_, own := extra[name]
			return misconfigured(InvalidMetadata, "the authorization endpoint %s holds the parameter %s in its query, with "+
				"another value than is to be sent; %s",
				showURL(u), Sanitize(name, 64), agreeing(name, own))
		}
	}
	return nil
}

// agreeing is what to do about a parameter that the authorization endpoint and the request have with different values.
func agreeing(name string, fromSpec bool) string {
	const leaveOut = "have the authorization server leave it out of the endpoint"
	switch {
	case fromSpec:
		return "remove it from spec.compatibility.authorizationParameters"
	case name == "resource":
		return leaveOut + `, or send none: spec.compatibility.resource.mode: "Omit"`
	case name == "scope":
		return leaveOut + ", or name the same scopes in spec.scopes"
	}
	return leaveOut
}

func setIf(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// addParameters adds those of the spec. The API server refuses protocol parameters already; checked here again because
// one of them could send a code elsewhere.
func addParameters(q url.Values, extra map[string]string, field string, protected ...string) *Error {
	for name, value := range extra {
		if isProtocolParameter(name) || slices.Contains(protected, name) {
			return misconfigured(InvalidMetadata, "%s may not set %s; remove it", field, Sanitize(name, 64))
		}
		q.Set(name, value)
	}
	return nil
}

func isProtocolParameter(name string) bool {
	switch name {
	case "redirect_uri", "response_type", "state", "resource", "grant_type", "refresh_token", "assertion",
		"requested_token_type":
		return true
	}
	return strings.HasPrefix(name, "client_") || strings.HasPrefix(name, "code") ||
		strings.HasPrefix(name, "subject_token") || strings.HasPrefix(name, "actor_token")
}

// CheckAuthorizationResponse returns the code of an authorization response (RFC 6749, section 4.1.2). issuer is the one
// that the request was made for, issParameterSupported its authorization_response_iss_parameter_supported.
//
// iss comes first, for error answers too (RFC 9207, section 2.4): if present it must be issuer byte for byte; if absent
// the server must not have promised it. Otherwise the error is IssuerParameterMismatch, and nothing the server wrote is
// repeated. An error of the server has the Code that it calls for; repeated parameters and a missing code are
// AuthorizationServerFailing. All are Rejected.
func CheckAuthorizationResponse(q url.Values, issuer string, issParameterSupported bool) (code string, err error) {
	iss, present := q["iss"]
	switch {
	case len(iss) > 1, present && (issuer == "" || iss[0] != issuer):
		return "", rejected(IssuerParameterMismatch, "the authorization response does not come from the issuer %s that was "+
			"asked; open the authorization link again, and if this happens again ask whoever runs the authorization server",
			showRaw(issuer))
	case !present && issParameterSupported:
		return "", rejected(IssuerParameterMismatch, "the authorization response lacks the iss parameter that %s promises "+
			"in its metadata; open the authorization link again, and if this happens again ask whoever runs the "+
			"authorization server", showRaw(issuer))
	}
	for _, name := range []string{"state", "code", "error", "error_description", "error_uri"} {
		if len(q[name]) > 1 {
			return "", rejected(AuthorizationServerFailing, "the authorization response has the parameter %s more than once",
				name)
		}
	}
	if q.Get("error") != "" {
		secrets := []string{q.Get("state"), q.Get("code")}
		word := harmlessWord(Sanitize(q.Get("error"), len(q.Get("error"))), secrets...)
		return "", authorizationError(oauthError{code: Sanitize(word, 64), description: retell(q.Get("error_description"),
			200, secrets)})
	}
	if q.Get("code") == "" {
		return "", rejected(AuthorizationServerFailing, "the authorization response has neither code nor error")
	}
	return q.Get("code"), nil
}

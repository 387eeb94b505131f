package mcpoauth

import (
	"errors"
	"time"
)

// Kind says who can mend an error.
type Kind int

const (
	// Transient errors may heal: network, 5xx, 429, anything that is not a definite OAuth error.
	Transient Kind = iota
	// Rejected errors want a person: the authorization server said no.
	Rejected
	// Misconfigured errors want a new spec, or a change at the server.
	Misconfigured
)

// Code names what went wrong; the words are those of the condition reasons where both exist.
type Code string

// Codes of discovery, registration, authorization responses and token requests.
const (
	MetadataNotFound        Code = "MetadataNotFound"
	ServerUnreachable       Code = "ServerUnreachable"
	InsecureURL             Code = "InsecureURL"
	EgressDenied            Code = "EgressDenied"
	InvalidMetadata         Code = "InvalidMetadata"
	ResourceMismatch        Code = "ResourceMismatch"
	IssuerMismatch          Code = "IssuerMismatch"
	PKCEUnsupported         Code = "PKCEUnsupported"
	NoRegistrationMethod    Code = "NoRegistrationMethod"
	RegistrationRefused     Code = "RegistrationRefused"
	RegistrationFailing     Code = "RegistrationFailing"
	AccessDenied            Code = "AccessDenied"
	IssuerParameterMismatch Code = "IssuerParameterMismatch"
	// TokenRequestRejected is a definite OAuth error: a registered code with 400 or 401, invalid_grant with 403 too, or an
	// error without an access token in a 2xx answer. OAuthError holds the code.
	TokenRequestRejected Code = "TokenRequestRejected"
	// TokenRequestFailing is a token request without a usable answer.
	TokenRequestFailing Code = "TokenRequestFailing"
	// CredentialsMissing is a private key that is missing or of no use, or an assertion that is no JWT.
	CredentialsMissing Code = "CredentialsMissing"
	// UnsupportedTokenType is a token of another type than was asked for.
	UnsupportedTokenType Code = "UnsupportedTokenType"
	// ProbeUnauthorized is an MCP server that refuses the token.
	ProbeUnauthorized Code = "ProbeUnauthorized"
	// InsufficientScope is an MCP server that demands more scopes than the token has.
	InsufficientScope Code = "InsufficientScope"
	// Busy is a request that WithAdmission kept back. It is no reason for a condition: it says nothing of the server.
	Busy Code = "Busy"
)

// Outcome says what a failed token request may have done at the server.
type Outcome int

const (
	// Answered means that the server answered, so nothing was spent unless it said so.
	Answered Outcome = iota
	// NotSent means that the request never reached the socket (DNS, dial, TLS, SendBy passed, 429, 503).
	NotSent
	// Unknown means sent without an answer, 502 or 504: the server may have acted.
	Unknown
)

// Error is every error of this package. Its text is one sentence for a person and never holds a body, a token or a
// query string.
type Error struct {
	Kind Kind
	Code Code
	// OAuthError is the code of an OAuth error answer, such as invalid_grant, by its registered name; empty if an answer
	// is none, which that of a gateway is not.
	OAuthError string
	// ForeignJSON is true for a 4xx answer of a token endpoint in JSON that is no OAuth error: of a gateway, or of a
	// server that says no in its own words. Nobody can tell which.
	ForeignJSON bool
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is what the server asked for, at most an hour; 0 if it did not.
	RetryAfter time.Duration
	// Outcome matters for token requests.
	Outcome Outcome
	// Challenge is what an MCP server said of the token that it refused; nil in all other errors.
	Challenge *BearerChallenge
	// Message says what went wrong and, where that helps, what to do.
	Message string
}

// Error returns the sentence for a person.
func (e *Error) Error() string { return e.Message }

// Moved reports whether a token endpoint is probably not where the request went: its answer was 404, 405, 410 or 3xx,
// whatever the body.
func (e *Error) Moved() bool { return e.Code == TokenRequestFailing && isMoved(e.Status) }

// AsError finds the Error in a chain; nil if there is none.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

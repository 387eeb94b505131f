package mcpoauth

import (
	"bytes"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxLifetime in seconds; a longer one is cut, since it would not fit into a time.Duration.
const maxLifetime = 1e9

const (
	// maxType and maxIssuedType in bytes are kept of the two types that an answer names; registered ones are shorter.
	maxType, maxIssuedType = 64, 256
	// unsendable is added to the type of an access token that no Authorization header may hold, so that it is no known
	// one.
	unsendable = " (not printable ASCII)"
)

// isSendable is true for what an Authorization header may hold after its scheme: %x21-7E.
func isSendable(token string) bool { return isVisible(token) && !strings.Contains(token, " ") }

// bounded cuts a word that is too long, and marks it so that it equals no other.
func bounded(word string, size int) string {
	if len(word) <= size {
		return word
	}
	return strings.ToValidUTF8(word[:size], "") + "…"
}

// maxToken is longer than any header that a server accepts, and short enough for several tokens in one Secret.
const maxToken = 64 << 10

// parseTokenResponse reads a 2xx answer as far as it goes: a refresh token may have been spent for it. JSON under any
// media type and form-encoded answers are read, and expires_in in any form. Only its size refuses an answer, or that
// there is no access token in it: then the error comes with what is left of it, if there is a refresh token. A refresh
// token is kept as it came; an access token that fits into no header is kept too, with a type that nobody takes for
// another.
//
// An error member without an access token is a refusal, whatever its code; beside an access token it is noise, for what
// the token was issued for is spent.
func parseTokenResponse(a *answer, u *url.URL, grantType string, secrets ...string) (*TokenResponse, *Error) {
	m := tokenMembers(a)
	if said := newOAuthError(m, secrets...); said != nil && m.text("access_token") == "" {
		return nil, refusal(a, u, said, grantType)
	}
	t := &TokenResponse{
		AccessToken:  m.text("access_token"),
		TokenType:    m.text("token_type"),
		RefreshToken: m.text("refresh_token"),
		ReceivedAt:   a.receivedAt,
		Scopes:       someScopes(slices.DeleteFunc(m.words("scope"), func(s string) bool { return !isScopeToken(s) })),

		IssuedTokenType: bounded(m.text("issued_token_type"), maxIssuedType),
	}
	t.RefreshExpiresAt, t.RefreshExpiryNamed = refreshExpiry(m, a.receivedAt)
	if what := t.unusable(); what != "" {
		return t.remains(), &Error{
			Kind: Transient, Code: TokenRequestFailing, Status: a.status, RetryAfter: a.retryAfter, Outcome: Unknown,
			Message: fmt.Sprintf("POST %s answered %s %s%s", showURL(u), showStatus(a.status), what, endpointHint(a)),
		}
	}
	secrets = append(secrets, t.AccessToken, t.RefreshToken)
	// Before it is cut: a part of a secret is not found any more.
	t.TokenType = bounded(canonicalTokenType(harmlessWord(t.TokenType, secrets...)), maxType)
	if !isSendable(t.AccessToken) {
		t.TokenType = strings.TrimSpace(t.TokenType + unsendable)
	}
	t.Scopes = harmless(t.Scopes, secrets...)
	t.ExpiresAt = expiryIn(m, "expires_in", a.receivedAt)
	return t, nil
}

// expiryIn is when a lifetime in seconds ends; zero if none is named, or none that can be read.
func expiryIn(m members, name string, receivedAt time.Time) time.Time {
	seconds, ok := m.number(name)
	if !ok || seconds <= 0 {
		return time.Time{}
	}
	return receivedAt.Add(time.Duration(min(seconds, maxLifetime) * float64(time.Second)))
}

// refreshExpiry is when the refresh token ends by itself, and whether the answer speaks of that. No RFC names these
// members; Keycloak says 0 of tokens for offline access.
func refreshExpiry(m members, receivedAt time.Time) (at time.Time, named bool) {
	for _, name := range []string{"refresh_expires_in", "refresh_token_expires_in"} {
		_, is := m[name]
		named = named || is
		if end := expiryIn(m, name, receivedAt); !end.IsZero() && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at, named
}

func (t *TokenResponse) unusable() string {
	switch {
	case t.AccessToken == "":
		return "without an access token"
	case max(len(t.AccessToken), len(t.RefreshToken)) > maxToken:
		return "with a token longer than 64 KiB"
	}
	return ""
}

// remains is the refresh token of an answer that is of no other use; nil if there is none.
func (t *TokenResponse) remains() *TokenResponse {
	if t.RefreshToken == "" || len(t.RefreshToken) > maxToken {
		return nil
	}
	return &TokenResponse{
		RefreshToken: t.RefreshToken, ReceivedAt: t.ReceivedAt, RefreshExpiresAt: t.RefreshExpiresAt,
		RefreshExpiryNamed: t.RefreshExpiryNamed,
	}
}

// tokenMembers returns nil for what is neither JSON nor a form.
func tokenMembers(a *answer) members {
	if bytes.HasPrefix(a.body, []byte("{")) {
		m, err := decodeMembers(a.body)
		if err != nil {
			return nil
		}
		return m
	}
	media, _, err := mime.ParseMediaType(a.contentType)
	isForm := err == nil && media == "application/x-www-form-urlencoded"
	if !isForm && !bytes.Contains(a.body, []byte("access_token=")) {
		return nil
	}
	m, err := formMembers(string(a.body))
	if err != nil {
		return nil
	}
	return m
}

func canonicalTokenType(t string) string {
	switch {
	case strings.EqualFold(t, "Bearer"):
		return "Bearer"
	case strings.EqualFold(t, "DPoP"):
		return "DPoP"
	}
	return t
}

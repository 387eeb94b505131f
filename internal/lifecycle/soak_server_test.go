package lifecycle

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// trouble is one kind of failure of a server.
type trouble int

// Kinds of trouble. All but noMetadata are of the token endpoint. The zero value is none.
const (
	// noMetadata: the MCP server is down, so nothing can be discovered or registered.
	noMetadata trouble = iota + 1
	// allDown: neither server is reached.
	allDown
	answers500
	answers429
	answersPage
	answers404
	answersTemporarily
	// losesAnswers: the server may have acted.
	losesAnswers
	// refusesRequests: invalid_request to whatever is sent.
	refusesRequests
	// forgetsClients: invalid_client.
	forgetsClients
)

// outage is when a server is in trouble.
type outage struct {
	kind     trouble
	from, to time.Time
	// retryAfter is what 429 asks for.
	retryAfter time.Duration
	// attempts counts token requests meanwhile, and edits the specs edited.
	attempts, edits int
}

// soakServer is a model of an authorization server.
type soakServer struct {
	random *rand.Rand
	clock  interface{ Now() time.Time }
	// lifetime of access tokens; 0: it says nothing. jwt tells in the token what it does not say.
	lifetime time.Duration
	jwt      bool
	// refreshes reports whether there are refresh tokens; rotates that each is good for one use, and grace that the last
	// one still works.
	refreshes, rotates, grace bool
	outages                   []outage

	issued            int
	current, previous string
	ended             bool
}

// inTrouble is what is wrong now with the token endpoint, or with metadata; nil if nothing is.
func (s *soakServer) inTrouble(metadata bool) *outage {
	now := s.clock.Now()
	for i := range s.outages {
		o := &s.outages[i]
		wrong := o.kind == allDown || (o.kind == noMetadata) == metadata
		if wrong && !now.Before(o.from) && now.Before(o.to) {
			return o
		}
	}
	return nil
}

// errorOf is what the client makes of an outage.
func (o *outage) errorOf() *mcpoauth.Error {
	e := &mcpoauth.Error{Kind: mcpoauth.Transient, Code: mcpoauth.TokenRequestFailing,
		Message: "POST https://login.example.com/token got no answer"}
	switch o.kind {
	case answers500:
		e.Status = http.StatusInternalServerError
	case answers429:
		e.Status, e.Outcome, e.RetryAfter = http.StatusTooManyRequests, mcpoauth.NotSent, o.retryAfter
	case answersPage:
		e.Status = http.StatusForbidden
	case answers404:
		e.Status = http.StatusNotFound
	case answersTemporarily:
		e.Status, e.OAuthError = http.StatusBadRequest, "temporarily_unavailable"
	case losesAnswers:
		e.Outcome = mcpoauth.Unknown
	case refusesRequests:
		e.Kind, e.Code, e.Status, e.OAuthError = mcpoauth.Rejected, mcpoauth.TokenRequestRejected, http.StatusBadRequest,
			"invalid_request"
	case forgetsClients:
		e.Kind, e.Code, e.Status, e.OAuthError = mcpoauth.Rejected, mcpoauth.TokenRequestRejected, http.StatusUnauthorized,
			"invalid_client"
	default:
		e.Outcome = mcpoauth.NotSent
	}
	return e
}

// metadata reports whether the server can be discovered, and a client registered.
func (s *soakServer) metadata() error {
	if s.inTrouble(true) != nil {
		return &mcpoauth.Error{Kind: mcpoauth.Transient, Code: mcpoauth.ServerUnreachable,
			Message: "GET https://mcp.example.com got no answer"}
	}
	return nil
}

// token answers a request for a token: with a refresh token, or a code or credentials if that is empty.
func (s *soakServer) token(refreshToken string) (*mcpoauth.TokenResponse, error) {
	if o := s.inTrouble(false); o != nil {
		if o.kind == losesAnswers && s.random.IntN(2) == 0 {
			_, _ = s.act(refreshToken)
		}
		return nil, o.errorOf()
	}
	return s.act(refreshToken)
}

// act does what is asked for. A refresh token that was used before ends its family (RFC 9700, section 4.14.2).
func (s *soakServer) act(refreshToken string) (*mcpoauth.TokenResponse, error) {
	again := s.grace && refreshToken == s.previous
	if refreshToken != "" && (s.ended || (refreshToken != s.current && !again)) {
		s.ended = true
		return nil, &mcpoauth.Error{Kind: mcpoauth.Rejected, Code: mcpoauth.TokenRequestRejected,
			Status:     http.StatusBadRequest,
			OAuthError: "invalid_grant", Message: "POST https://login.example.com/token was refused with invalid_grant"}
	}
	s.issued++
	answer := &mcpoauth.TokenResponse{AccessToken: fmt.Sprintf("access-%d", s.issued), TokenType: "Bearer",
		ReceivedAt: s.clock.Now()}
	expiresAt := answer.ReceivedAt.Add(s.lifetime)
	switch {
	case s.jwt:
		claims := fmt.Sprintf(`{"exp":%d,"n":%d}`, expiresAt.Unix(), s.issued)
		answer.AccessToken = "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	case s.lifetime > 0:
		answer.ExpiresAt = expiresAt
	}
	switch {
	case !s.refreshes:
	case refreshToken == "":
		s.current, s.previous, s.ended = fmt.Sprintf("refresh-%d", s.issued), "", false
		answer.RefreshToken = s.current
	case s.rotates && !again:
		s.current, s.previous = fmt.Sprintf("refresh-%d", s.issued), s.current
		fallthrough
	default:
		answer.RefreshToken = s.current
	}
	return answer, nil
}

// calmSince is the end of the last trouble with tokens before t; false if there is trouble at t.
func (s *soakServer) calmSince(t time.Time) (time.Time, bool) {
	var since time.Time
	for _, o := range s.outages {
		switch {
		case o.kind == noMetadata || o.from.After(t):
		case o.to.After(t):
			return time.Time{}, false
		case o.to.After(since):
			since = o.to
		}
	}
	return since, true
}

// troubled reports whether anything is wrong between two instants.
func (s *soakServer) troubled(from, to time.Time) bool {
	return slices.ContainsFunc(s.outages, func(o outage) bool { return o.from.Before(to) && o.to.After(from) })
}

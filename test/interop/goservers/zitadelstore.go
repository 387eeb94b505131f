package main

import (
	"context"
	"errors"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var errUnknown = errors.New("unknown")

// grant is what the person allowed. Its refresh token is replaced at each refresh.
type grant struct {
	clientID, subject string
	scopes, audience  []string
	at                time.Time
}

// The methods that a token request needs (op.RefreshTokenRequest).
func (g *grant) GetAMR() []string          { return nil }
func (g *grant) GetAudience() []string     { return g.audience }
func (g *grant) GetAuthTime() time.Time    { return g.at }
func (g *grant) GetClientID() string       { return g.clientID }
func (g *grant) GetScopes() []string       { return g.scopes }
func (g *grant) GetSubject() string        { return g.subject }
func (g *grant) SetCurrentScopes([]string) {}

// authRequest is an authorization request (op.AuthRequest).
type authRequest struct {
	grant
	id     string
	asked  *oidc.AuthRequest
	signed bool
}

func (a *authRequest) GetID() string                      { return a.id }
func (a *authRequest) GetACR() string                     { return "" }
func (a *authRequest) GetNonce() string                   { return a.asked.Nonce }
func (a *authRequest) GetRedirectURI() string             { return a.asked.RedirectURI }
func (a *authRequest) GetResponseType() oidc.ResponseType { return a.asked.ResponseType }
func (a *authRequest) GetResponseMode() oidc.ResponseMode { return a.asked.ResponseMode }
func (a *authRequest) GetState() string                   { return a.asked.State }
func (a *authRequest) Done() bool                         { return a.signed }

func (a *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: a.asked.CodeChallenge, Method: a.asked.CodeChallengeMethod}
}

type accessToken struct {
	grant   *grant
	expires time.Time
}

// zitadelStore keeps everything in memory (op.Storage).
type zitadelStore struct {
	settings
	key signingKey

	mu       sync.Mutex
	requests map[string]*authRequest // by id
	codes    map[string]string       // code to id of the request
	access   map[string]*accessToken // by id
	refresh  map[string]*grant       // by refresh token
}

func (s *zitadelStore) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked.CodeChallenge == "" || asked.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	}
	request := &authRequest{id: random(), asked: asked, grant: grant{clientID: asked.ClientID, scopes: asked.Scopes,
		audience: []string{s.resource}}}
	s.requests[request.id] = request
	return request, nil
}

// signIn is what the login page does.
func (s *zitadelStore) signIn(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.requests[id]
	if request == nil {
		return errUnknown
	}
	request.signed, request.subject, request.at = true, "alice", time.Now()
	return nil
}

func (s *zitadelStore) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.request(id)
}

func (s *zitadelStore) request(id string) (op.AuthRequest, error) {
	if request := s.requests[id]; request != nil {
		return request, nil
	}
	return nil, errUnknown
}

func (s *zitadelStore) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.request(s.codes[code])
}

func (s *zitadelStore) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

// DeleteAuthRequest spends the code.
func (s *zitadelStore) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

func (s *zitadelStore) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return "", time.Time{}, errors.New("every token here comes with a refresh token: ask for offline_access")
}

func (s *zitadelStore) CreateAccessAndRefreshTokens(_ context.Context, request op.TokenRequest,
	current string) (id, refreshToken string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var g *grant
	switch r := request.(type) {
	case *authRequest:
		g = &r.grant
	case *grant:
		if s.refresh[current] != r {
			return "", "", time.Time{}, op.ErrInvalidRefreshToken
		}
		delete(s.refresh, current)
		g = r
	default:
		return "", "", time.Time{}, errUnknown
	}
	id, refreshToken, expires = random(), random(), time.Now().Add(s.tokenLife)
	s.access[id], s.refresh[refreshToken] = &accessToken{grant: g, expires: expires}, g
	return id, refreshToken, expires, nil
}

func (s *zitadelStore) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.refresh[token]; g != nil {
		return g, nil
	}
	return nil, op.ErrInvalidRefreshToken
}

func (s *zitadelStore) GetRefreshTokenInfo(_ context.Context, _, token string) (subject, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.refresh[token]; g != nil {
		return g.subject, token, nil
	}
	return "", "", op.ErrInvalidRefreshToken
}

// RevokeToken ends the whole grant, whichever of its tokens is named.
func (s *zitadelStore) RevokeToken(_ context.Context, id, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.refresh[id]
	if token := s.access[id]; token != nil {
		g = token.grant
	}
	if g == nil || g.clientID != clientID {
		return nil
	}
	for token, of := range s.refresh {
		if of == g {
			delete(s.refresh, token)
		}
	}
	for token, of := range s.access {
		if of.grant == g {
			delete(s.access, token)
		}
	}
	report(event{"event": "revoked"})
	return nil
}

func (s *zitadelStore) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, id, subject,
	clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := s.access[id]
	if token == nil || clientID != mcpServer || !time.Now().Before(token.expires) {
		return errUnknown
	}
	answer.Subject, answer.ClientID, answer.Issuer = subject, token.grant.clientID, s.issuer
	answer.Scope, answer.Audience, answer.Expiration = token.grant.scopes, token.grant.audience,
		oidc.FromTime(token.expires)
	return nil
}

func (s *zitadelStore) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.clientID {
		return nil, errUnknown
	}
	return zitadelClient{s.settings}, nil
}

func (s *zitadelStore) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	want := map[string]string{s.clientID: s.clientSecret, mcpServer: s.introspectionSecret}
	if secret == "" || want[id] != secret {
		return errUnknown
	}
	return nil
}

func (s *zitadelStore) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *zitadelStore) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *zitadelStore) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{s.key}}, nil
}

// What op.Storage also wants and nobody asks for here.

func (s *zitadelStore) Health(context.Context) error                           { return nil }
func (s *zitadelStore) TerminateSession(context.Context, string, string) error { return nil }

func (s *zitadelStore) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (s *zitadelStore) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errUnknown
}

func (s *zitadelStore) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *zitadelStore) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errUnknown
}

func (s *zitadelStore) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errUnknown
}

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"
)

// Client authentication methods (RFC 7591, section 2).
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
)

// grant is one consent; a refresh token and its successors are its family.
type grant struct {
	client  *oauthClient
	scope   string
	revoked bool
}

type authorizationCode struct {
	request *authorizationRequest
	expires time.Time
	grant   *grant // set when the code is spent
}

type accessToken struct {
	grant   *grant
	expires time.Time
}

type refreshToken struct {
	grant *grant
	used  bool
}

// token answers the token endpoint.
func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.authenticate(r)
	if client == nil {
		writeError(w, http.StatusUnauthorized, "invalid_client", "authenticate as registered")
		return
	}
	if len(r.PostForm["resource"]) != 1 || r.PostForm.Get("resource") != s.resource {
		writeError(w, http.StatusBadRequest, "invalid_target", "resource must be "+s.resource)
		return
	}
	var g *grant
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		g = s.spendCode(client, r.PostForm)
	case "refresh_token":
		g = s.spendRefreshToken(client, r.PostForm)
	default:
		writeError(w, http.StatusBadRequest, "unsupported_grant_type", "")
		return
	}
	if g == nil {
		writeError(w, http.StatusBadRequest, "invalid_grant", "unknown, expired, used before, or not meant for this client and verifier")
		return
	}
	access, refresh := randomString(), randomString()
	s.access[access] = &accessToken{grant: g, expires: time.Now().Add(s.lifetime)}
	s.refresh[refresh] = &refreshToken{grant: g}
	s.remember("access token", access)
	s.remember("refresh token", refresh)
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(s.lifetime.Seconds()),
		"refresh_token": refresh, "scope": g.scope,
	})
}

// spendCode exchanges an authorization code once; a second use ends what the first one led to.
func (s *authServer) spendCode(client *oauthClient, form url.Values) *grant {
	code := s.codes[form.Get("code")]
	if code == nil || code.request.client != client {
		return nil
	}
	if code.grant != nil {
		s.counts.Reuses++
		code.grant.revoked = true
		return nil
	}
	code.grant = &grant{client: client, scope: code.request.scope}
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	if challenge != code.request.challenge || form.Get("redirect_uri") != code.request.redirectURI || time.Now().After(code.expires) {
		return nil
	}
	s.remember("code verifier", form.Get("code_verifier"))
	s.counts.Grants++
	return code.grant
}

// spendRefreshToken rotates a refresh token; a second use ends its whole family.
func (s *authServer) spendRefreshToken(client *oauthClient, form url.Values) *grant {
	token := s.refresh[form.Get("refresh_token")]
	if token == nil || token.grant.client != client || token.grant.revoked {
		return nil
	}
	if token.used {
		s.counts.Reuses++
		token.grant.revoked = true
		return nil
	}
	token.used = true
	s.counts.Refreshes++
	return token.grant
}

// revoke answers RFC 7009: a token of either kind ends the grant. Unknown tokens are no error.
func (s *authServer) revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.authenticate(r)
	if client == nil {
		writeError(w, http.StatusUnauthorized, "invalid_client", "authenticate as registered")
		return
	}
	var g *grant
	if t := s.refresh[r.PostFormValue("token")]; t != nil {
		g = t.grant
	} else if t := s.access[r.PostFormValue("token")]; t != nil {
		g = t.grant
	}
	if g != nil && g.client == client && !g.revoked {
		g.revoked = true
		s.counts.Revocations++
	}
	w.WriteHeader(http.StatusOK)
}

// authenticate finds the client of a request, which must use exactly the method that it registered.
func (s *authServer) authenticate(r *http.Request) *oauthClient {
	id, secret, method := r.PostFormValue("client_id"), r.PostFormValue("client_secret"), methodNone
	if secret != "" {
		method = methodPost
	}
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			return nil // two methods at once
		}
		var errID, errSecret error
		id, errID = url.QueryUnescape(user)
		secret, errSecret = url.QueryUnescape(password)
		if errID != nil || errSecret != nil {
			return nil
		}
		method = methodBasic
	}
	client := s.clients[id]
	if client == nil || client.Method != method || subtle.ConstantTimeCompare([]byte(client.Secret), []byte(secret)) != 1 {
		return nil
	}
	return client
}

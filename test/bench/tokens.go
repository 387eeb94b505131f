package main

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"
)

// authorize approves at once and sends the browser back.
func (s *authServer) authorize(w http.ResponseWriter, r *http.Request, issuer string) {
	q := r.URL.Query()
	i, ok := s.connectionOf(q.Get("resource"))
	back, err := url.Parse(q.Get("redirect_uri"))
	if !ok || err != nil || q.Get("code_challenge_method") != "S256" {
		writeError(w, "invalid_request")
		return
	}
	code := randomText(24)
	s.mu.Lock()
	s.codes[code] = pendingCode{connection: i, challenge: q.Get("code_challenge")}
	s.mu.Unlock()
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {issuer}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// connectionOf reads the number of a connection off its resource identifier.
func (s *authServer) connectionOf(resource string) (int, bool) {
	i, err := strconv.Atoi(path.Base(resource))
	return i, err == nil && i >= 0 && i < len(s.grants)
}

// token spends a code or a refresh token, each once, and issues a new pair.
func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	if err := r.ParseForm(); err != nil {
		writeError(w, "invalid_request")
		return
	}
	form := r.PostForm
	i, ok := s.connectionOf(form.Get("resource"))
	if !ok {
		writeError(w, "invalid_target")
		return
	}
	expires := (*s.expiry.Load())(i, arrived)
	access, refresh := secretPrefix+randomText(384), secretPrefix+randomText(48) // 512 characters, as a small JWT has
	s.mu.Lock()
	g := &s.grants[i]
	if !s.spend(i, form) {
		s.refused++
		s.mu.Unlock()
		writeError(w, "invalid_grant")
		return
	}
	g.access, g.refresh, g.asked = access, refresh, arrived
	s.issued.Add(1)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "refresh_token": refresh, "scope": "tools:call",
		"expires_in": expires.Unix() - arrived.Unix(),
	})
}

// spend says whether the code or refresh token is good; afterwards it is not any more. The caller holds the lock.
func (s *authServer) spend(i int, form url.Values) bool {
	if form.Get("grant_type") == "refresh_token" {
		return form.Get("refresh_token") == s.grants[i].refresh && s.grants[i].refresh != ""
	}
	code, ok := s.codes[form.Get("code")]
	delete(s.codes, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	return ok && code.connection == i && code.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

// snapshot is a copy of what is known of every connection.
func (s *authServer) snapshot() (grants []grantState, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.grants), s.refused
}

// tokenRequests is how many tokens were issued so far.
func (s *authServer) tokenRequests() int { return int(s.issued.Load()) }

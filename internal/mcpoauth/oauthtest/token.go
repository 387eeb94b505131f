package oauthtest

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// refusal is an error answer of the token endpoint (RFC 6749, section 5.2).
type refusal struct{ code, description string }

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	form, ok := readForm(w, r)
	if !ok {
		return
	}
	client, ok := s.tokenClient(w, r, form)
	if !ok {
		return
	}
	thumbprint, no := s.prove(w, r)
	if no != nil {
		writeError(w, http.StatusBadRequest, no.code, no.description)
		return
	}
	var answer map[string]any
	grantType := form.Get("grant_type")
	switch {
	case !slices.Contains(s.settings().GrantTypes, grantType):
		no = &refusal{"unsupported_grant_type", "grant_type is not supported"}
	case grantType == authorizationCode:
		answer, no = s.exchange(form, client, thumbprint)
	case grantType == refreshToken && s.settings().Refresh != nil:
		s.settings().Refresh(w, r, client, form)
		return
	case grantType == refreshToken:
		answer, no = s.refresh(form, client, thumbprint)
	case grantType == clientCredentials:
		answer, no = s.clientCredentials(form, client, thumbprint)
	case grantType == jwtBearer:
		answer, no = s.jwtBearer(form, client, thumbprint)
	case grantType == tokenExchange:
		answer, no = s.tokenExchange(form, client)
	}
	if no != nil {
		writeError(w, http.StatusBadRequest, no.code, no.description)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// prove returns the thumbprint of the key to bind tokens to; empty without DPoP.
func (s *Server) prove(w http.ResponseWriter, r *http.Request) (string, *refusal) {
	c := s.settings()
	if !c.DPoP {
		return "", nil
	}
	offerNonce(w, c)
	return s.checkProof(r, "")
}

// readForm wants a form in the body, each parameter once, and none in the URL.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if !allow(w, r, http.MethodPost) {
		return nil, false
	}
	body, err := io.ReadAll(r.Body)
	form, err2 := url.ParseQuery(string(body))
	switch {
	case err != nil || err2 != nil || r.Header.Get("Content-Type") != formType:
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not "+formType)
	case repeated(form) != "":
		writeError(w, http.StatusBadRequest, "invalid_request", "repeated parameter "+repeated(form))
	case r.URL.RawQuery != "":
		writeError(w, http.StatusBadRequest, "invalid_request", "parameters in the URL")
	default:
		return form, true
	}
	return nil, false
}

func (s *Server) exchange(form url.Values, client Client, thumbprint string) (map[string]any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	spent := s.codes[form.Get("code")]
	switch {
	case spent == nil || spent.clientID != client.ID:
		return nil, &refusal{"invalid_grant", "unknown code"}
	case spent.grant != nil:
		// RFC 6749 section 4.1.2: a code used twice ends what it gave.
		s.reused(spent.grant)
		return nil, &refusal{"invalid_grant", "the code was used before"}
	case s.config.Now().Sub(spent.issuedAt) > codeLifetime:
		return nil, &refusal{"invalid_grant", "the code has expired"}
	case form.Get("redirect_uri") != spent.redirectURI:
		return nil, &refusal{"invalid_grant", "redirect_uri is another"}
	case challengeOf(form.Get("code_verifier")) != spent.challenge:
		return nil, &refusal{"invalid_grant", "code_verifier is missing or wrong"}
	case !s.config.IgnoreResource && form.Get("resource") != spent.resource:
		return nil, &refusal{"invalid_target", "resource is missing or another"}
	}
	g := &grant{Grant: Grant{Type: authorizationCode, ClientID: client.ID, Scopes: spent.scopes, Resource: spent.resource,
		Thumbprint: thumbprint}}
	spent.grant = g
	s.grants = append(s.grants, g)
	return s.issue(g, spent.scopes), nil
}

func (s *Server) refresh(form url.Values, client Client, thumbprint string) (map[string]any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, current := s.findRefreshToken(form.Get("refresh_token"))
	scopes := strings.Fields(form.Get("scope"))
	switch {
	case g == nil || g.ClientID != client.ID:
		return nil, &refusal{"invalid_grant", "unknown refresh token"}
	case g.Revoked:
		return nil, &refusal{"invalid_grant", "the grant was revoked"}
	case !current:
		s.reused(g)
		return nil, &refusal{"invalid_grant", "the refresh token was used before"}
	case !s.config.IgnoreResource && form.Get("resource") != g.Resource:
		return nil, &refusal{"invalid_target", "resource is missing or another"}
	case client.AuthMethod == "none" && g.Thumbprint != "" && thumbprint != g.Thumbprint:
		// RFC 9449 section 5 binds the refresh tokens of public clients too. One from before DPoP is bound when it is used.
		return nil, &refusal{"invalid_grant", "the refresh token is bound to another key"}
	case !subset(scopes, g.Scopes):
		return nil, &refusal{"invalid_scope", "the scope was not granted"}
	}
	if len(scopes) == 0 {
		scopes = g.Scopes
	}
	g.Thumbprint = thumbprint
	g.Refreshes++
	return s.issue(g, scopes), nil
}

// reused ends a grant. The lock is held.
func (s *Server) reused(g *grant) {
	g.Revoked, g.Reused = true, true
	if s.config.Reused != nil {
		s.config.Reused(g.Grant)
	}
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// revoke is RFC 7009: unknown tokens are fine, a refresh token takes the whole grant with it.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	form, ok := readForm(w, r)
	if !ok {
		return
	}
	client, ok := s.authenticate(w, r, form)
	if !ok {
		return
	}
	if form.Get("token") == "" {
		writeError(w, http.StatusBadRequest, "invalid_request", "token is missing")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, _ := s.findRefreshToken(form.Get("token")); g != nil && g.ClientID == client.ID {
		g.Revoked = true
	}
	if t := s.access[form.Get("token")]; t != nil && t.grant.ClientID == client.ID {
		delete(s.access, form.Get("token"))
	}
	w.WriteHeader(http.StatusOK)
}

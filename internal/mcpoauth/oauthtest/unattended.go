package oauthtest

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Grant types (grant_type), and the token types of a token exchange.
const (
	authorizationCode = "authorization_code"
	refreshToken      = "refresh_token"
	clientCredentials = "client_credentials"
	jwtBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	tokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"

	tokenTypeIDJAG   = "urn:ietf:params:oauth:token-type:id-jag"
	tokenTypeRefresh = "urn:ietf:params:oauth:token-type:refresh_token"
	typIDJAG         = "oauth-id-jag+jwt"
)

const (
	// keyID of the server's own key.
	keyID = "oauthtest"
	// idJAGLifetime is what identity providers give an ID-JAG.
	idJAGLifetime = 5 * time.Minute
)

// PublicKey verifies what the server signs: for Config.AssertionKeys of another server.
func (s *Server) PublicKey() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: keyID, Algorithm: string(jose.ES256), Use: "sig"}
}

// tokenClient authenticates the client of a token request. An assertion grant needs none (RFC 7523, section 3.1).
func (s *Server) tokenClient(w http.ResponseWriter, r *http.Request, form url.Values) (Client, bool) {
	named := form.Has("client_id") || form.Has("client_secret") || form.Has("client_assertion") ||
		r.Header.Get("Authorization") != ""
	if form.Get("grant_type") == jwtBearer && !named {
		return Client{}, true
	}
	return s.authenticate(w, r, form)
}

// clientCredentials is RFC 6749, section 4.4.
func (s *Server) clientCredentials(form url.Values, client Client, thumbprint string) (map[string]any, *refusal) {
	// RFC 6749 section 4.4: confidential clients only.
	if client.AuthMethod == "none" {
		return nil, &refusal{"unauthorized_client", "the client has no credentials"}
	}
	return s.grantUnattended(form, Grant{ClientID: client.ID, Thumbprint: thumbprint})
}

// jwtBearer is RFC 7523, section 2.1.
func (s *Server) jwtBearer(form url.Values, client Client, thumbprint string) (map[string]any, *refusal) {
	c := s.settings()
	in, err := s.verify(form.Get("assertion"), c.AssertionKeys, cmp.Or(c.AssertionAudience, s.Issuer()))
	switch {
	case err != nil:
		return nil, &refusal{"invalid_grant", "assertion: " + err.Error()}
	case in.typ == typIDJAG && (client.ID == "" || in.ClientID != client.ID):
		return nil, &refusal{"invalid_grant", "assertion: client_id is not the client that authenticated"}
	case in.typ == typIDJAG && !s.guards(in.Resource):
		return nil, &refusal{"invalid_grant", "assertion: resource is another"}
	case c.SingleUseAssertions && (in.ID == "" || s.seen(in)):
		return nil, &refusal{"invalid_grant", "assertion: it has no jti, or was used before"}
	}
	if c.CheckAssertion != nil {
		if err := c.CheckAssertion(form.Get("assertion")); err != nil {
			return nil, &refusal{"invalid_grant", "assertion: " + err.Error()}
		}
	}
	return s.grantUnattended(form, Grant{ClientID: client.ID, Subject: in.Subject, Thumbprint: thumbprint})
}

// grantUnattended issues an access token without a refresh token.
func (s *Server) grantUnattended(form url.Values, to Grant) (map[string]any, *refusal) {
	guarded := s.guards(form.Get("resource"))
	s.mu.Lock()
	defer s.mu.Unlock()
	scopes := strings.Fields(form.Get("scope"))
	switch {
	case !guarded:
		return nil, &refusal{"invalid_target", "resource is missing or another"}
	case !subset(scopes, s.config.Scopes):
		return nil, &refusal{"invalid_scope", "a scope is not supported"}
	}
	if len(scopes) == 0 {
		scopes = s.config.Scopes
	}
	to.Type, to.Scopes, to.Resource = form.Get("grant_type"), scopes, form.Get("resource")
	g := &grant{Grant: to}
	s.grants = append(s.grants, g)
	return s.issue(g, scopes), nil
}

// tokenExchange makes an ID-JAG of a subject token (RFC 8693, section 2.1), as an identity provider does.
func (s *Server) tokenExchange(form url.Values, client Client) (map[string]any, *refusal) {
	switch {
	case form.Get("requested_token_type") != tokenTypeIDJAG:
		return nil, &refusal{"invalid_request", "requested_token_type is not id-jag"}
	case form.Get("audience") == "" || form.Get("resource") == "":
		return nil, &refusal{"invalid_target", "audience or resource is missing"}
	case form.Get("subject_token") == "" || form.Get("subject_token_type") == "":
		return nil, &refusal{"invalid_request", "subject_token or subject_token_type is missing"}
	}
	subject, no := s.subject(form, client)
	if no != nil {
		return nil, no
	}
	c := s.settings()
	now := c.Now()
	payload := map[string]any{
		"iss": s.Issuer(), "sub": subject, "aud": form.Get("audience"), "resource": form.Get("resource"),
		"client_id": client.ID,
		"jti":       Random(24), "iat": now.Unix(), "exp": now.Add(idJAGLifetime).Unix(),
	}
	if c.IDJAGClientID != "" {
		payload["client_id"] = c.IDJAGClientID
	}
	answer := map[string]any{
		"access_token": s.sign(typIDJAG, payload), "issued_token_type": tokenTypeIDJAG,
		"token_type": "N_A", "expires_in": int(idJAGLifetime / time.Second),
	}
	if scope := form.Get("scope"); scope != "" {
		answer["scope"] = scope
	}
	return answer, nil
}

// subject of a token exchange: of a refresh token of this server, else whom Config.SubjectOf names.
func (s *Server) subject(form url.Values, client Client) (string, *refusal) {
	if form.Get("subject_token_type") == tokenTypeRefresh {
		s.mu.Lock()
		defer s.mu.Unlock()
		if g, current := s.findRefreshToken(form.Get("subject_token")); !current || g.Revoked || g.ClientID != client.ID {
			return "", &refusal{"invalid_grant", "subject_token: unknown refresh token"}
		}
		return "user-of-" + client.ID, nil
	}
	subject, err := s.settings().SubjectOf(form.Get("subject_token"), form.Get("subject_token_type"))
	if err != nil {
		return "", &refusal{"invalid_grant", "subject_token: " + err.Error()}
	}
	return subject, nil
}

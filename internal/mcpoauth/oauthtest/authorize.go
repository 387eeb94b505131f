package oauthtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// codeLifetime is what RFC 6749 section 4.1.2 allows at most.
const codeLifetime = 10 * time.Minute

type code struct {
	clientID    string
	redirectURI string
	challenge   string
	scopes      []string
	resource    string
	issuedAt    time.Time
	// grant made from it; nil while it is unused.
	grant *grant
}

type denial struct{ code, description string }

// Deny makes authorization requests answer with an error, such as access_denied; empty approves again.
func (s *Server) Deny(oauthError, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denial = nil
	if oauthError != "" {
		s.denial = &denial{oauthError, description}
	}
}

// LastScopes asked for at the authorization endpoint; nil if none were.
func (s *Server) LastScopes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.last)
}

// authorize approves by redirect, at once or when a person has. What is wrong with client or redirect URI is told to
// the person, everything else to the client (RFC 6749, section 4.1.2.1).
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	c := s.settings()
	decides := c.ConsentPage != nil && r.Method == http.MethodPost
	if !decides && !allow(w, r, http.MethodGet) {
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || repeated(q) != "" {
		http.Error(w, "the query repeats a parameter, or is malformed: "+repeated(q), http.StatusBadRequest)
		return
	}
	client, ok := s.findClient(q.Get("client_id"))
	if !ok {
		http.Error(w, "unknown client_id", http.StatusBadRequest)
		return
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("redirect_uri") == "" ||
		(!client.anyRedirect && !slices.Contains(client.RedirectURIs, q.Get("redirect_uri"))) {
		http.Error(w, "redirect_uri is not registered", http.StatusBadRequest)
		return
	}
	answer := back.Query()
	code, description := s.checkAuthorization(q, c, decides && r.PostFormValue("decision") != "approve")
	if code == "" && c.ConsentPage != nil && !decides {
		c.ConsentPage(w, client, q)
		return
	}
	if code != "" {
		answer.Set("error", code)
		answer.Set("error_description", description)
	} else {
		answer.Set("code", s.issueCode(q, c))
	}
	answer.Set("state", q.Get("state"))
	if !c.NoIssParameter {
		answer.Set("iss", s.Issuer())
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (s *Server) checkAuthorization(q url.Values, c Config, denied bool) (code, description string) {
	s.mu.Lock()
	s.last = strings.Fields(q.Get("scope"))
	denial := s.denial
	s.mu.Unlock()
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "response_type is not code"
	case q.Get("state") == "":
		return "invalid_request", "state is missing"
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return "invalid_request", "code_challenge with S256 is missing"
	case !s.guards(q.Get("resource")):
		return "invalid_target", "resource is missing or another"
	case !subset(strings.Fields(q.Get("scope")), c.ServerScopes):
		return "invalid_scope", "a scope is not supported"
	case denied:
		return "access_denied", "the person denied"
	case denial != nil:
		return denial.code, denial.description
	}
	return "", ""
}

func (s *Server) issueCode(q url.Values, c Config) string {
	scopes := strings.Fields(q.Get("scope"))
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	if c.GrantedScopes != nil {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !slices.Contains(c.GrantedScopes, s) })
	}
	issued := &code{
		clientID:    q.Get("client_id"),
		redirectURI: q.Get("redirect_uri"),
		challenge:   q.Get("code_challenge"),
		scopes:      scopes,
		resource:    q.Get("resource"),
		issuedAt:    c.Now(),
	}
	value := c.NewSecret("code")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[value] = issued
	return value
}

// repeated returns a parameter that is there more than once (RFC 6749, section 3.1, forbids it).
func repeated(values url.Values) string {
	for name, all := range values {
		if len(all) > 1 {
			return name
		}
	}
	return ""
}

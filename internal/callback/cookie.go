package callback

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"

	"github.com/mcp-connection/operator/internal/credential"
)

// Cookie names. The prefix __Host- makes browsers insist on Secure, Path=/ and no Domain.
const (
	cookieSecure = "__Host-mcp-connection"
	cookiePlain  = "mcp-connection"
	cookieBytes  = 32
)

func (s *Server) cookieName() string {
	if s.secure() {
		return cookieSecure
	}
	return cookiePlain
}

// browserValue is the value by which this browser is known; empty if it has none.
func (s *Server) browserValue(r *http.Request) string {
	for _, c := range r.CookiesNamed(s.cookieName()) {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(c.Value)
		if err == nil && len(raw) == cookieBytes {
			return c.Value
		}
	}
	return ""
}

// browserHash is what is stored of the browser's value; empty if it has none.
func (s *Server) browserHash(r *http.Request) string {
	value := s.browserValue(r)
	if value == "" {
		return ""
	}
	return credential.Hash(value)
}

// knowBrowser makes sure that the browser has a value, one for all flows, and returns its hash.
func (s *Server) knowBrowser(x *exchange) string {
	value := s.browserValue(x.r)
	if value == "" {
		random := make([]byte, cookieBytes)
		_, _ = rand.Read(random) // never fails: crypto/rand ends the program instead
		value = base64.RawURLEncoding.EncodeToString(random)
	}
	http.SetCookie(x.w, &http.Cookie{ //nolint:gosec // not Secure only where browsers come by http: on loopback
		Name: s.cookieName(), Value: value, Path: "/",
		Secure: s.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return credential.Hash(value)
}

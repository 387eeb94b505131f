package mcpoauth

import (
	"net/http"
	"slices"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1).
type Challenge struct {
	// Scheme as received; schemes are compared without regard to case.
	Scheme string
	// Parameters by lower-case name; the first of several wins. Nil for a scheme alone or with a token68.
	Parameters map[string]string
}

// BearerChallenge is what a server said when it refused a request (RFC 6750, section 3, and RFC 9728, section 5.1).
// All of it is a stranger's text.
type BearerChallenge struct {
	// ResourceMetadata is the URL of the protected resource metadata, unchecked; empty if none was named.
	ResourceMetadata string
	// Scopes that would do; nil if none were named.
	Scopes []string
	// Error is invalid_request, invalid_token, insufficient_scope or another; empty without.
	Error            string
	ErrorDescription string
}

// ParseChallenges reads every WWW-Authenticate header. It is lenient, since servers are: unquoted values may hold any
// character but white space and commas, and commas between parameters may be missing. What cannot be read is left out,
// and what follows the first 256 challenges and parameters.
func ParseChallenges(h http.Header) []Challenge {
	var all []Challenge
	left := maxChallengeParts
	for _, value := range h.Values("WWW-Authenticate") {
		all = append(all, parseChallengeHeader(value, &left)...)
	}
	return all
}

// ParseChallenge reads the value of one WWW-Authenticate header, as ParseChallenges does.
func ParseChallenge(value string) []Challenge {
	left := maxChallengeParts
	return parseChallengeHeader(value, &left)
}

// maxChallengeParts of all headers together; real servers send some ten.
const maxChallengeParts = 256

func hasScheme(challenges []Challenge, scheme string) bool {
	return slices.ContainsFunc(challenges, func(ch Challenge) bool { return strings.EqualFold(ch.Scheme, scheme) })
}

// FindBearer returns the Bearer challenge: the first with resource_metadata, else the first. Without a Bearer challenge
// the same is done with DPoP, whose parameters are the same (RFC 9449, section 7.1). Where only a challenge of another
// scheme names resource_metadata (RFC 9728 permits any scheme), that URL is returned alone.
func FindBearer(challenges []Challenge) (BearerChallenge, bool) {
	scheme := "Bearer"
	if !hasScheme(challenges, scheme) {
		scheme = "DPoP"
	}
	var found *Challenge
	elsewhere := ""
	for i, ch := range challenges {
		named := ch.Parameters["resource_metadata"]
		if !strings.EqualFold(ch.Scheme, scheme) {
			if elsewhere == "" {
				elsewhere = named
			}
			continue
		}
		if found == nil || (found.Parameters["resource_metadata"] == "" && named != "") {
			found = &challenges[i]
		}
	}
	if found == nil {
		return BearerChallenge{ResourceMetadata: elsewhere}, elsewhere != ""
	}
	b := BearerChallenge{
		ResourceMetadata: found.Parameters["resource_metadata"],
		Error:            found.Parameters["error"],
		ErrorDescription: found.Parameters["error_description"],
	}
	if b.ResourceMetadata == "" {
		b.ResourceMetadata = elsewhere
	}
	if scopes := strings.Fields(found.Parameters["scope"]); len(scopes) > 0 {
		b.Scopes = someScopes(scopes)
	}
	return b, true
}

func parseChallengeHeader(value string, left *int) []Challenge {
	var all []Challenge
	s := scanner{rest: value}
	for s.skipSeparators() && *left > 0 {
		name := s.token()
		if name == "" {
			// Not a token where one must be: go on after it, a later challenge may be readable.
			s.rest = s.rest[1:]
			continue
		}
		*left--
		if s.equals() {
			text, ok := s.value()
			if ok && len(all) > 0 {
				all[len(all)-1].set(name, text)
			}
			continue
		}
		all = append(all, Challenge{Scheme: name})
		s.skipToken68()
	}
	return all
}

func (c *Challenge) set(name, value string) {
	name = strings.ToLower(name)
	if c.Parameters == nil {
		c.Parameters = map[string]string{}
	}
	if _, ok := c.Parameters[name]; !ok {
		c.Parameters[name] = value
	}
}

// scanner reads a header value from the left.
type scanner struct{ rest string }

const blanks = " \t"

// skipSeparators returns false at the end.
func (s *scanner) skipSeparators() bool {
	s.rest = strings.TrimLeft(s.rest, blanks+",")
	return s.rest != ""
}

// token reads a token (RFC 9110, section 5.6.2); empty if there is none.
func (s *scanner) token() string {
	end := 0
	for end < len(s.rest) && isTokenChar(s.rest[end]) {
		end++
	}
	token := s.rest[:end]
	s.rest = s.rest[end:]
	return token
}

func isTokenChar(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// equals consumes an equals sign with the blanks around it.
func (s *scanner) equals() bool {
	after, ok := strings.CutPrefix(strings.TrimLeft(s.rest, blanks), "=")
	if ok {
		s.rest = strings.TrimLeft(after, blanks)
	}
	return ok
}

// value reads a quoted string or what stands up to a blank or comma; false for a quoted string without an end.
func (s *scanner) value() (string, bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		end := strings.IndexAny(s.rest, blanks+",")
		if end < 0 {
			end = len(s.rest)
		}
		text := s.rest[:end]
		s.rest = s.rest[end:]
		return text, true
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i < len(s.rest) {
				b.WriteByte(s.rest[i])
			}
		default:
			b.WriteByte(s.rest[i])
		}
	}
	s.rest = ""
	return "", false
}

// skipToken68 skips the one token68 that may follow a scheme instead of parameters, as in "Negotiate YII=".
func (s *scanner) skipToken68() {
	after := strings.TrimLeft(s.rest, blanks)
	end := 0
	for end < len(after) && (isTokenChar(after[end]) || after[end] == '/') {
		end++
	}
	for end > 0 && end < len(after) && after[end] == '=' {
		end++
	}
	tail := strings.TrimLeft(after[end:], blanks)
	if len(after) < len(s.rest) && end > 0 && (tail == "" || tail[0] == ',') {
		s.rest = tail
	}
}

package mcpoauth

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// members of a JSON object whose types are not to be trusted: answers of registration and token endpoints, which are used
// as far as they go. Names are matched exactly.
type members map[string]json.RawMessage

func decodeMembers(body []byte) (members, error) {
	var m members
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, errNotJSON
	}
	return m, nil
}

// text of a string, or of a number as it is written; empty for anything else.
func (m members) text(name string) string {
	var s string
	if json.Unmarshal(m[name], &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(m[name], &n) == nil {
		return n.String()
	}
	return ""
}

// number of a number or of a string that holds one.
func (m members) number(name string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(m.text(name)), 64)
	return f, err == nil && !math.IsNaN(f)
}

// words of a string of words, or of an array of strings.
func (m members) words(name string) []string {
	var list []string
	if json.Unmarshal(m[name], &list) != nil {
		list = []string{m.text(name)}
	}
	words := strings.Fields(strings.Join(list, " "))
	if len(words) == 0 {
		return nil
	}
	return words
}

// oauthError has the form of an RFC 6749 error answer (section 5.2).
type oauthError struct {
	// code and description are sanitised.
	code, description string
	// raw is the code as it was sent, to be compared only.
	raw string
}

func (e oauthError) show() string {
	if e.description == "" {
		return e.code
	}
	return e.code + ": " + e.description
}

// parseOAuthError returns nil if the body is no RFC 6749 JSON error.
func parseOAuthError(body []byte, secrets ...string) *oauthError {
	m, err := decodeMembers(body)
	if err != nil {
		return nil
	}
	return newOAuthError(m, secrets...)
}

func newOAuthError(m members, secrets ...string) *oauthError {
	var code string
	if json.Unmarshal(m["error"], &code) != nil || code == "" {
		return nil
	}
	return &oauthError{
		raw:         code,
		code:        retell(code, 64, secrets),
		description: retell(m.text("error_description"), 200, secrets),
	}
}

// maxWord is longer than a UUID, which helps whoever asks the server's support, and shorter than most tokens.
const maxWord = 40

// retell is Sanitize without secrets. They are taken out again afterwards: invisible characters may have stood in one.
func retell(text string, maxRunes int, secrets []string) string {
	clean := Sanitize(withoutSecrets(text, secrets), len(text))
	return Sanitize(withoutSecrets(clean, secrets), maxRunes)
}

// cover replaces secrets in all forms in which they are sent and repeated.
func cover(text string, secrets []string) string {
	for _, s := range forms(secrets) {
		text = strings.ReplaceAll(text, s, "…")
	}
	return text
}

// forms are secrets as they are, in forms and URLs, and in Base64; the longest first, for one may be a part of another.
func forms(secrets []string) []string {
	var all []string
	for _, s := range secrets {
		if s == "" {
			continue
		}
		all = append(all, s, url.QueryEscape(s), url.PathEscape(s))
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			all = append(all, e.EncodeToString([]byte(s)))
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// minHidden is shorter than tokens and longer than what a scope may hold by chance.
const minHidden = 16

// harmless drops scopes that hold a secret: scopes are shown in status.
func harmless(scopes []string, secrets ...string) []string {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(s) < minHidden })
	return slices.DeleteFunc(scopes, func(scope string) bool { return cover(scope, secrets) != scope })
}

// harmlessWord is a word whose meaning a short secret must not change by chance; "…" if it holds a long one.
func harmlessWord(word string, secrets ...string) string {
	if len(harmless([]string{word}, secrets...)) == 0 {
		return "…"
	}
	return word
}

// withoutSecrets takes out what was sent and what looks like a token: some servers repeat it in their error text.
func withoutSecrets(text string, secrets []string) string {
	words := strings.Fields(cover(text, secrets))
	for i, w := range words {
		if len(w) > maxWord {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

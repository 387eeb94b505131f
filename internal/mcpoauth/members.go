package mcpoauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// members of a JSON object whose types are not to be trusted: answers of registration and token endpoints, which are
// used as far as they go. Names are matched exactly, and only those in answerMembers are kept.
type members map[string]json.RawMessage

// answerMembers are all that is read of such an answer.
var answerMembers = []string{
	"access_token", "token_type", "refresh_token", "expires_in", "refresh_expires_in", "refresh_token_expires_in", "scope",
	"issued_token_type",
	"error", "error_description",
	"client_id", "client_secret", "client_secret_expires_at", "token_endpoint_auth_method", "registration_client_uri",
	"registration_access_token",
}

// decodeMembers takes the last of several members of a name.
func decodeMembers(body []byte) (members, error) {
	dec, m := json.NewDecoder(bytes.NewReader(body)), members{}
	err := eachMember(dec, func(name string) error {
		if !slices.Contains(answerMembers, name) {
			return skipValue(dec)
		}
		var value json.RawMessage
		err := dec.Decode(&value)
		m[name] = value
		return err
	})
	if err != nil {
		return nil, errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return m, nil
}

// formMembers reads a form-encoded answer. The first of several members of a name counts.
func formMembers(body string) (members, error) {
	m := members{}
	for pair := range strings.SplitSeq(body, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || strings.Contains(pair, ";") {
			return nil, errNotForm
		}
		if _, is := m[name]; is || !slices.Contains(answerMembers, name) {
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, errNotForm
		}
		// A string cannot fail to encode.
		m[name], _ = json.Marshal(value)
	}
	return m, nil
}

var errNotForm = errors.New("it is not form-encoded")

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

// maxWords in bytes, and maxElements of an array, is what is looked at of a list of words, some of which may be
// dropped; see maxScopes.
const maxWords = 64 << 10

// words of a string of words, or of an array of strings, from the left.
func (m members) words(name string) []string {
	if !bytes.HasPrefix(m[name], []byte("[")) {
		text := m.text(name)
		return wordsOf(text[:min(len(text), maxWords)])
	}
	var all strings.Builder
	dec, left := json.NewDecoder(bytes.NewReader(m[name])), maxElements
	err := eachElement(dec, func() error {
		var word *string
		if left--; left < 0 {
			return errEnough
		}
		if err := dec.Decode(&word); err != nil {
			return err
		}
		if word != nil && all.Len()+len(*word) < maxWords {
			all.WriteString(*word + " ")
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) { // not of strings alone
		return nil
	}
	return wordsOf(all.String())
}

func wordsOf(text string) []string {
	words := strings.Fields(text)
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

// maxTold in bytes is what is looked at of a text of which some hundred characters may be shown.
const maxTold = 16 << 10

// retell is Sanitize without secrets. They are taken out again afterwards: invisible characters may have stood in one.
func retell(text string, maxRunes int, secrets []string) string {
	told := text[:min(len(text), maxTold)]
	told = Sanitize(withoutSecrets(told, secrets), len(told))
	told = withoutSecrets(told, secrets)
	if len(text) > maxTold { // a secret may have been cut, which then is at the end
		told = told[:max(0, len(told)-longest(forms(secrets)))]
	}
	return Sanitize(told, maxRunes)
}

func longest(texts []string) int {
	length := 0
	for _, text := range texts {
		length = max(length, len(text))
	}
	return length
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
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding,
			base64.RawURLEncoding} {
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
	all := forms(slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return len(s) < minHidden }))
	return slices.DeleteFunc(scopes, func(scope string) bool {
		return slices.ContainsFunc(all, func(form string) bool { return strings.Contains(scope, form) })
	})
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

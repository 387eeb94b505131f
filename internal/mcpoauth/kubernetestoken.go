package mcpoauth

import (
	"encoding/json"
	"strings"
)

// JWTsIn finds what may be JWTs in a value (RFC 7519, section 3), wherever in it: also behind a word such as Bearer.
func JWTsIn(value string) []string {
	var found []string
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return !strings.ContainsRune(jwtAlphabet, r) }) {
		if payload, ok := jwtPayload(part); ok && json.Valid(payload) {
			found = append(found, part)
		}
	}
	return found
}

// jwtAlphabet is that of base64url (RFC 4648, section 5), and the dot between the parts of a JWT.
const jwtAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// OfKubernetes reports whether a JWT has a claim that Kubernetes puts into the tokens of ServiceAccounts, projected or
// legacy. Nothing is verified.
func OfKubernetes(token string) bool {
	payload, ok := jwtPayload(token)
	if !ok {
		return false
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	for name := range claims {
		if name == "kubernetes.io" || strings.HasPrefix(name, "kubernetes.io/") {
			return true
		}
	}
	return false
}

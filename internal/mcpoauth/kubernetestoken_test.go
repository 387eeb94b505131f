package mcpoauth

import (
	"encoding/base64"
	"slices"
	"testing"
)

// unsigned is a JWT with claims, and a signature of nobody.
func unsigned(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

func TestAJWTIsFoundWhereverItStands(t *testing.T) {
	jwt := unsigned(`{"iss":"https://idp.example"}`)
	for name, c := range map[string]struct {
		value string
		want  []string
	}{
		"alone":                        {jwt, []string{jwt}},
		"behind Bearer":                {"Bearer " + jwt, []string{jwt}},
		"in JSON":                      {`{"token":"` + jwt + `"}`, []string{jwt}},
		"twice":                        {jwt + "," + jwt, []string{jwt, jwt}},
		"an opaque value is none":      {"hunter2", nil},
		"a host name is none":          {"auth.example.com", nil},
		"three parts alone are no JWT": {"a.b.c", nil},
	} {
		if got := JWTsIn(c.value); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestATokenOfKubernetesIsKnownByItsClaims(t *testing.T) {
	for name, c := range map[string]struct {
		token string
		want  bool
	}{
		"a projected token": {unsigned(`{"iss":"https://kubernetes.default.svc","kubernetes.io":{"namespace":"a"}}`), true},
		"a legacy token": {
			unsigned(`{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"a"}`), true},
		"another issuer's token": {unsigned(`{"iss":"https://idp.example","groups":["kubernetes.io"]}`), false},
		"no JWT":                 {"hunter2", false},
	} {
		if got := OfKubernetes(c.token); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

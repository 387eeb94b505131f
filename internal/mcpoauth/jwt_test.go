package mcpoauth

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

func jwtOf(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestAssertionAudience(t *testing.T) {
	for _, tt := range []struct {
		name, assertion string
		want            []string
		refused         bool
	}{
		{name: "a string", assertion: jwtOf(`{"aud":"https://as.example"}`), want: []string{"https://as.example"}},
		{name: "an array", assertion: jwtOf(`{"aud":["a","b"],"exp":1}`), want: []string{"a", "b"}},
		{name: "none", assertion: jwtOf(`{"sub":"x"}`)},
		{name: "an empty array", assertion: jwtOf(`{"aud":[]}`)},
		{name: "twice", assertion: jwtOf(`{"aud":"a","aud":"b"}`), refused: true},
		{name: "in another case", assertion: jwtOf(`{"aud":"a","AUD":"b"}`), refused: true},
		{name: "a number", assertion: jwtOf(`{"aud":1}`), refused: true},
		{name: "an object in an array", assertion: jwtOf(`{"aud":["a",{}]}`), refused: true},
		{name: "claims that are an array", assertion: jwtOf(`["aud"]`), refused: true},
		{name: "claims that are no JSON", assertion: jwtOf(`hunter2`), refused: true},
		{name: "something after the claims", assertion: jwtOf(`{"aud":"a"}{"aud":"b"}`), refused: true},
		{name: "an opaque token", assertion: "hunter2", refused: true},
		{name: "two parts", assertion: "e30.e30", refused: true},
		{name: "five parts", assertion: "a.e30.c.d.e", refused: true},
		{name: "padding", assertion: "e30.e30=.x", refused: true},
		{name: "a line break", assertion: "e30.e3\n0.x", refused: true},
		{name: "a line break at the end", assertion: jwtOf(`{"aud":"a"}`) + "\n", refused: true},
		{name: "deeply nested claims", assertion: jwtOf(`{"aud":"a","x":` + strings.Repeat("[", 100) +
			strings.Repeat("]", 100) + `}`), refused: true},
		{name: "more than 64 KiB", assertion: jwtOf(`{"aud":"a","x":"` + strings.Repeat("x", maxJWT) + `"}`), refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AssertionAudience(tt.assertion)
			if tt.refused {
				wantError(t, err, Misconfigured, CredentialsMissing, "assertion")
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}

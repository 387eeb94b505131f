package mcpoauth

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{
		"", "Bearer", `Bearer realm="a", error="invalid_token"`, `Basic realm="x", Bearer resource_metadata=https://a.example/x, scope="a b"`,
		`Negotiate YII==, DPoP algs="ES256"`, `Bearer a="\`, `Bearer a = b c=d,,,e`, "\x00\xff", `"`, `Bearer scope="` + strings.Repeat("a ", 100) + `"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		all := ParseChallenges(http.Header{"Www-Authenticate": {value}})
		for _, c := range all {
			checkChallenge(t, value, c)
		}
		b, ok := FindBearer(all)
		if !ok && (b.ResourceMetadata != "" || b.Scopes != nil) {
			t.Errorf("%+v without a challenge", b)
		}
	})
}

func checkChallenge(t *testing.T, value string, c Challenge) {
	t.Helper()
	if c.Scheme == "" || !strings.Contains(value, c.Scheme) {
		t.Errorf("scheme %q", c.Scheme)
	}
	for name := range c.Parameters {
		if name == "" || name != strings.ToLower(name) {
			t.Errorf("parameter %q", name)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","code_challenge_methods_supported":["S256"]}`,
		`{"resource":"https://a.example/mcp","authorization_servers":["https://as.example"]}`, `{"issuer":"a","issuer":"b"}`, `{"Issuer":1}`, `{"a":[[[[]]]]}`, `{"issuer":"https://x.example/?q=hunter2"`, "{\"\xff\":1}", `{"issuer":"https://as.example","authorization_endpoint":"?","token_endpoint":"#"}`,
	} {
		f.Add([]byte(seed))
	}
	c := NewClient(Options{Now: time.Now})
	server, _ := url.Parse("https://a.example/mcp")
	f.Fuzz(func(t *testing.T, text []byte) {
		as, e := c.parseServer(text, "https://as.example/x", "https://as.example", trust{})
		switch {
		case e != nil:
			checkMessage(t, e)
		case as.Issuer != "https://as.example" || !strings.HasPrefix(as.TokenEndpoint, "https://") || !strings.HasPrefix(as.AuthorizationEndpoint, "https://"):
			t.Errorf("accepted %+v", as)
		}
		if as, e = c.parseServer(text, "https://as.example/x", "https://as.example", trust{noCodeFlow: true}); e == nil && !strings.HasPrefix(as.TokenEndpoint, "https://") {
			t.Errorf("accepted %+v", as)
		}
		resource, e := parseResource(text, "https://a.example/x", server)
		switch {
		case e != nil:
			checkMessage(t, e)
		case resource.Resource == "" || !json.Valid(text):
			t.Errorf("accepted %+v", resource)
		}
	})
}

func FuzzTokenResponse(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","expires_in":3600,"scope":"x y"}`, `{"access_token":"a","expires_in":"1e400"}`, `{"error":"invalid_grant"}`, `access_token=a&expires_in=-1`, `{"access_token":null}`, `[]`, "\uFEFF{}", `{"access_token":"a","scope":[1]}`,
	} {
		f.Add([]byte(seed), "application/json")
		f.Add([]byte(seed), "application/x-www-form-urlencoded")
	}
	u, _ := url.Parse("https://as.example/token")
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte, contentType string) {
		read, err := readBody(bytes.NewReader(text))
		if err != nil {
			return
		}
		tokens, e := parseTokenResponse(&answer{status: 200, contentType: contentType, body: read, receivedAt: now}, u)
		if e != nil {
			checkMessage(t, e)
			return
		}
		if tokens.AccessToken == "" || (!tokens.ExpiresAt.IsZero() && tokens.ExpiresAt.Before(now)) || tokens.ExpiresAt.Year() > 2100 {
			t.Errorf("accepted %+v", tokens)
		}
	})
}

func FuzzAssertion(f *testing.F) {
	for _, seed := range []string{
		"", "..", jwtOf(`{"aud":"https://as.example","exp":1}`), jwtOf(`{"aud":["a",null]}`), jwtOf(`{"aud":"a","aud":"b"}`), jwtOf("{\"\xff\":1}"), "e30.e30=.x", "e30.e3\n0.x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, assertion string) {
		if expiry := JWTExpiry(assertion); !expiry.IsZero() && strings.Count(assertion, ".") != 2 {
			t.Errorf("%q expires at %v", assertion, expiry)
		}
		audience, err := AssertionAudience(assertion)
		if err != nil {
			checkMessage(t, AsError(err))
			return
		}
		if strings.Count(assertion, ".") != 2 || len(audience) > len(assertion) {
			t.Errorf("%q has audience %q", assertion, audience)
		}
	})
}

func FuzzSigningKey(f *testing.F) {
	key, err := GenerateSigningKey()
	if err != nil {
		f.Fatal(err)
	}
	text, err := key.PEM()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{text, text[:len(text)/2], bytes.Replace(text, []byte("PRIVATE"), []byte("EC PRIVATE"), 2), nil, []byte("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n")} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseSigningKey(text, "k")
		if err != nil {
			checkMessage(t, AsError(err))
			return
		}
		if _, err := key.clientAssertion("c", "https://as.example", now); err != nil {
			t.Errorf("a key that was accepted does not sign: %v", err)
		}
	})
}

func checkMessage(t *testing.T, e *Error) {
	t.Helper()
	if e.Message == "" || !utf8.ValidString(e.Message) || len(e.Message) > 4096 || Sanitize(e.Message, 4096) != e.Message {
		t.Errorf("message %q", e.Message)
	}
}

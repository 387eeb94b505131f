package oauthtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signed is a JWT of the server's clock, with claims changed; nil removes one.
func signed(t *testing.T, s *Server, key *ecdsa.PrivateKey, changes map[string]any) string {
	t.Helper()
	now := s.settings().Now()
	payload := map[string]any{"iss": "c", "sub": "c", "aud": s.Issuer(), "jti": Random(24), "iat": now.Unix(),
		"exp": now.Add(time.Minute).Unix()}
	for name, v := range changes {
		payload[name] = v
		if v == nil {
			delete(payload, name)
		}
	}
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// assertionCases are what is wrong with a JWT for either use.
func assertionCases(s *Server, now time.Time) map[string]map[string]any {
	return map[string]map[string]any{
		"another audience":    {"aud": s.URL + TokenPath},
		"several audiences":   {"aud": []string{s.Issuer(), "https://other.example"}},
		"no audience":         {"aud": nil},
		"no issuer":           {"iss": nil},
		"no subject":          {"sub": nil},
		"an expiry gone by":   {"exp": now.Unix()},
		"no expiry":           {"exp": nil},
		"issued in an hour":   {"iat": now.Add(time.Hour).Unix()},
		"no identifier (jti)": {"jti": nil},
	}
}

func TestClientAssertionsAreCheckedStrictly(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s := New(t, func(c *Config) { c.Now = func() time.Time { return now } })
	key := ecKey(t)
	s.AddClient(Client{ID: "c", Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	form := func(assertion string) url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "resource": {s.Resource()},
			"client_assertion_type": {clientAssertionType}, "client_assertion": {assertion},
		}
	}
	good := form(signed(t, s, key, nil))
	if status, answer := postToken(t, s, good); status != 200 || answer["refresh_token"] != nil {
		t.Fatalf("%d %v", status, answer)
	}
	refused := map[string]url.Values{"a replay": good, "another key": form(signed(t, s, ecKey(t), nil)),
		"no JWT": form("x")}
	cases := assertionCases(s, now)
	cases["another issuer"], cases["a long life"] = map[string]any{"iss": "x"},
		map[string]any{"exp": now.Add(time.Hour).Unix()}
	for name, changes := range cases {
		refused[name] = form(signed(t, s, key, changes))
	}
	refused["another client_id"] = form(signed(t, s, key, nil))
	refused["another client_id"].Set("client_id", "x")
	refused["another type"] = form(signed(t, s, key, nil))
	refused["another type"].Set("client_assertion_type", "x")
	refused["no assertion at all"] = form("")
	refused["no assertion at all"].Del("client_assertion")
	refused["no assertion at all"].Set("client_id", "c")
	for name, f := range refused {
		if status, answer := postToken(t, s, f); status != 401 || answer["error"] != "invalid_client" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	twice := form(signed(t, s, key, nil))
	twice.Set("client_secret", "x")
	if status, answer := postToken(t, s, twice); status != 400 || answer["error"] != "invalid_request" {
		t.Errorf("two methods: %d %v", status, answer)
	}
}

func TestAssertionsAreCheckedStrictly(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	key := ecKey(t)
	s := New(t, func(c *Config) {
		c.Now = func() time.Time { return now }
		c.AssertionKeys = []jose.JSONWebKey{{Key: key.Public()}}
		c.SingleUseAssertions = true
	})
	form := func(assertion string) url.Values {
		return url.Values{"grant_type": {jwtBearer}, "resource": {s.Resource()}, "assertion": {assertion}}
	}
	good := form(signed(t, s, key, nil))
	if status, answer := postToken(t, s, good); status != 200 || answer["refresh_token"] != nil {
		t.Fatalf("%d %v", status, answer)
	}
	refused := map[string]url.Values{"a replay": good, "another key": form(signed(t, s, ecKey(t), nil)),
		"no JWT": form("x")}
	for name, changes := range assertionCases(s, now) {
		refused[name] = form(signed(t, s, key, changes))
	}
	for name, f := range refused {
		if status, answer := postToken(t, s, f); status != 400 || answer["error"] != "invalid_grant" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	s.Configure(func(c *Config) { c.SingleUseAssertions = false })
	if status, answer := postToken(t, s, good); status != 200 {
		t.Errorf("a replay where that is allowed: %d %v", status, answer)
	}
	s.Configure(func(c *Config) { c.CheckAssertion = func(string) error { return errors.New("no") } })
	if _, answer := postToken(t, s, good); answer["error"] != "invalid_grant" {
		t.Errorf("refused by the check: %v", answer)
	}
}

func TestUnattendedGrantsAreStrict(t *testing.T) {
	s := newWithClient(t)
	s.AddClient(Client{ID: "k", Secret: "s", AuthMethod: "client_secret_post"})
	request := func(changes url.Values) url.Values {
		f := url.Values{"grant_type": {"client_credentials"}, "client_id": {"k"}, "client_secret": {"s"},
			"resource": {s.Resource()}}
		for name, v := range changes {
			f[name] = v
		}
		return f
	}
	for name, tt := range map[string]struct {
		changes url.Values
		want    string
	}{
		"another resource":        {url.Values{"resource": {"x"}}, "invalid_target"},
		"an unknown scope":        {url.Values{"scope": {"admin"}}, "invalid_scope"},
		"a wrong secret":          {url.Values{"client_secret": {"x"}}, "invalid_client"},
		"no keys for assertions":  {url.Values{"grant_type": {jwtBearer}, "assertion": {"x"}}, "unsupported_grant_type"},
		"no identity provider":    {url.Values{"grant_type": {tokenExchange}}, "unsupported_grant_type"},
		"a public client, no key": {url.Values{"client_id": {"c"}, "client_secret": nil}, "unauthorized_client"},
	} {
		f := request(tt.changes)
		if f["client_secret"] == nil {
			f.Del("client_secret")
		}
		if status, answer := postToken(t, s, f); status < 400 || answer["error"] != tt.want {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

func TestTokenExchangeIsStrict(t *testing.T) {
	s := newWithClient(t, func(c *Config) {
		c.SubjectOf = func(string, string) (string, error) { return "", errors.New("unknown") }
	})
	_, first := postToken(t, s, codeForm(s, approved(t, s)))
	request := func(name, value string) url.Values {
		f := url.Values{
			"grant_type": {tokenExchange}, "client_id": {"c"}, "subject_token": {first["refresh_token"].(string)},
			"subject_token_type":   {tokenTypeRefresh},
			"requested_token_type": {tokenTypeIDJAG}, "audience": {"https://as.example"},
			"resource": {"https://mcp.example/mcp"},
		}
		f.Set(name, value)
		return f
	}
	if status, answer := postToken(t, s, request("scope", "x")); status != 200 ||
		answer["issued_token_type"] != tokenTypeIDJAG {
		t.Fatalf("a refresh token as subject token: %d %v", status, answer)
	}
	for name, want := range map[string]string{
		"requested_token_type": "invalid_request", "audience": "invalid_target", "resource": "invalid_target",
		"subject_token": "invalid_request", "subject_token_type": "invalid_request",
	} {
		if status, answer := postToken(t, s, request(name, "")); status != 400 || answer["error"] != want {
			t.Errorf("without %s: %d %v", name, status, answer)
		}
	}
	for name, f := range map[string]url.Values{
		"an unknown refresh token": request("subject_token", "x"),
		"an unknown ID token":      request("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
	} {
		if _, answer := postToken(t, s, f); answer["error"] != "invalid_grant" {
			t.Errorf("%s: %v", name, answer)
		}
	}
}

package mcpoauth

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{
		"", "Bearer", `Bearer realm="a", error="invalid_token"`,
		`Basic realm="x", Bearer resource_metadata=https://a.example/x, scope="a b"`,
		`Negotiate YII==, DPoP algs="ES256"`, `Bearer a="\`, `Bearer a = b c=d,,,e`, "\x00\xff", `"`, `Bearer scope="` +
			strings.Repeat("a ", 100) + `"`,
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
		`{}`,
		`{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","code_challenge_methods_supported":["S256"]}`,
		`{"resource":"https://a.example/mcp","authorization_servers":["https://as.example"]}`, `{"issuer":"a","issuer":"b"}`,
		`{"Issuer":1}`, `{"a":[[[[]]]]}`, `{"issuer":"https://x.example/?q=hunter2"`, "{\"\xff\":1}",
		`{"issuer":"https://as.example","authorization_endpoint":"?","token_endpoint":"#"}`,
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
		case as.Issuer != "https://as.example" || !strings.HasPrefix(as.TokenEndpoint, "https://") ||
			!strings.HasPrefix(as.AuthorizationEndpoint, "https://"):
			t.Errorf("accepted %+v", as)
		}
		if as, e = c.parseServer(text, "https://as.example/x", "https://as.example", trust{noCodeFlow: true}); e == nil &&
			!strings.HasPrefix(as.TokenEndpoint, "https://") {
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
		`{"access_token":"a","expires_in":3600,"scope":"x y"}`, `{"access_token":"a","expires_in":"1e400"}`,
		`{"error":"invalid_grant"}`, `access_token=a&expires_in=-1`, `{"access_token":null}`, `[]`, "\uFEFF{}",
		`{"access_token":"a","scope":[1]}`,
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
		tokens, e := parseTokenResponse(&answer{status: 200, contentType: contentType, body: read, receivedAt: now}, u,
			GrantTypeRefreshToken)
		if e != nil {
			checkMessage(t, e)
			return
		}
		if tokens.AccessToken == "" || (!tokens.ExpiresAt.IsZero() && tokens.ExpiresAt.Before(now)) ||
			tokens.ExpiresAt.Year() > 2100 {
			t.Errorf("accepted %+v", tokens)
		}
	})
}

func FuzzAssertion(f *testing.F) {
	for _, seed := range []string{
		"", "..", jwtOf(`{"aud":"https://as.example","exp":1}`), jwtOf(`{"aud":["a",null]}`), jwtOf(`{"aud":"a","aud":"b"}`),
		jwtOf("{\"\xff\":1}"), "e30.e30=.x", "e30.e3\n0.x",
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
	for _, seed := range [][]byte{text, text[:len(text)/2], bytes.Replace(text, []byte("PRIVATE"), []byte("EC PRIVATE"),
		2), nil, []byte("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n")} {
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

func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"", "https://a.example/mcp?x=y", "https://[fe80::1%25eth0]:0443/", "https://b\u00fccher.example./",
		"https://user@a.example", "https://evil.c\u2100.example", "https://0x7f.1/", "https:a.example", "//a", "https://a:b",
		"\x00", "https://%zz", "https://xn--a/", "HTTPS://[::ffff:7f00:1]:/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if shown := showRaw(raw); Sanitize(shown, 256) != shown || shown == "" {
			t.Errorf("%q is shown as %q", raw, shown)
		}
		u, e := checkURL(raw, "the URL", InvalidMetadata, false)
		if e != nil {
			checkMessage(t, e)
			return
		}
		if r, found := hiddenIn(raw); found {
			t.Errorf("accepted %q with %U", raw, r)
		}
		if u.Scheme != "https" || u.User != nil || u.Fragment != "" ||
			strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("accepted %q as %+v", raw, u)
		}
		// What is checked is what is sent and counted.
		again, e := checkURL(u.String(), "the URL", InvalidMetadata, false)
		if e == nil && (again.Host != u.Host || Host(raw) != Host(again.String())) {
			t.Errorf("%q has host %q, then %q; it counts as %q, then %q", raw, u.Host, again.Host, Host(raw),
				Host(again.String()))
		}
		_ = resourceCovers(raw, u)
		_ = resourceLocations(u, raw)
	})
}

func FuzzEgress(f *testing.F) {
	for _, seed := range []string{
		"8.8.8.8", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "2002:7f00:1::",
		"2001:0:1:2:3:4:5601:5601", "fd00::200:5efe:a9fe:a9fe", "::a9fe:a9fe", "fe80::1", "0.0.0.0",
	} {
		addr := netip.MustParseAddr(seed).As16()
		f.Add(addr[:])
	}
	closed, open := egress{}, egress{allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("::/0")}}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		addr, ok := netip.AddrFromSlice(bytes)
		if !ok {
			return
		}
		target := netip.AddrPortFrom(addr, 443)
		strict, loose := closed.check(target), open.check(target)
		plain := addr.Unmap()
		if strict == nil && (loose != nil || plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast() ||
			plain.IsMulticast() || plain.IsUnspecified()) {
			t.Errorf("%s may be called", addr)
		}
		if plain.Is4() {
			// Whatever is refused is refused in every form.
			b := plain.As4()
			for _, form := range []netip.Addr{
				netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: b[0], b[1], b[2], b[3]}),
				netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], b[1], b[2], b[3]}),
				netip.AddrFrom16([16]byte{0x20, 0x02, b[0], b[1], b[2], b[3]}),
			} {
				to := netip.AddrPortFrom(form, 443)
				if (strict != nil && closed.check(to) == nil) || (loose != nil && open.check(to) == nil) {
					t.Errorf("%s is refused, %s is not", addr, form)
				}
			}
		}
	})
}

func FuzzRegistration(f *testing.F) {
	for _, seed := range []string{
		`{"client_id":"a","client_secret":"b","client_secret_expires_at":0}`, `{"client_id":1}`,
		`{"client_id":"a","registration_client_uri":"https://as.example/c","registration_access_token":"t"}`,
		`{"client_id":"a","token_endpoint_auth_method":"private_key_jwt"}`, `[]`, `{"client_id":"\u0000"}`,
		`{"client_secret_expires_at":"1e99","client_id":"a","client_secret":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	c := NewClient(Options{Now: time.Now})
	u, _ := url.Parse("https://as.example/register")
	old := &ClientRegistration{Method: Dynamic, ClientID: "old", ClientSecret: "s",
		AuthMethod: AuthMethodClientSecretBasic}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, e := c.parseRegistration(text, u, AuthMethodNone)
		switch {
		case e != nil:
			checkMessage(t, e)
		case r.ClientID == "" || !isVisible(r.ClientID) || (r.RegistrationClientURI != "" &&
			!strings.HasPrefix(strings.ToLower(r.RegistrationClientURI), "https://as.example")):
			t.Errorf("accepted %+v", r)
		}
		if r, e = c.parseUpdate(text, u, AuthMethodClientSecretPost, old); e != nil {
			checkMessage(t, e)
		} else if r.ClientID != "old" {
			t.Errorf("updated %+v", r)
		}
	})
}

func FuzzAuthorizationResponse(f *testing.F) {
	for _, seed := range []string{
		"", "code=a&state=b&iss=https://as.example", "error=access_denied&error_description=%0A%E2%80%AEx", "code=a&code=b",
		"iss=&code=a", "iss=https://evil.example&error=%00", "%zz", "a;b", "error=" + strings.Repeat("x", 100),
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, query string, promised bool) {
		q, _ := url.ParseQuery(query)
		code, err := CheckAuthorizationResponse(q, "https://as.example", promised)
		if err != nil {
			checkMessage(t, AsError(err))
			return
		}
		if code == "" || q.Get("error") != "" || (q.Has("iss") && q.Get("iss") != "https://as.example") ||
			(promised && !q.Has("iss")) {
			t.Errorf("%q gives %q", query, code)
		}
	})
}

func FuzzOAuthError(f *testing.F) {
	for _, seed := range []string{
		`{"error":"invalid_grant","error_description":"s3cret is spent"}`, `{"error":"a","error_description":"s3cs3cretret"}`,
		`{"error":"s3\u200bcret"}`, `{"error":1}`, `{"error":"\u202e"}`, "{}", "<html>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		said := parseOAuthError(text, "s3cret")
		if said == nil {
			return
		}
		if shown := said.show(); strings.Contains(shown, "s3cret") || Sanitize(shown, 4096) != shown ||
			len([]rune(shown)) > 300 {
			t.Errorf("%q", shown)
		}
	})
}

func FuzzDPoPKey(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"kty":"EC","crv":"P-256"}`, `{"kty":"RSA"}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`, `{"kty":"oct","k":"AA"}`, string(GenerateDPoPKey().JWK())} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	u, _ := url.Parse("https://as.example/token")
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseDPoPKey(text)
		if err != nil {
			checkMessage(t, AsError(err))
			return
		}
		if _, err := key.Prove(DPoPProof{Method: http.MethodPost, URL: u}, now); err != nil || key.Thumbprint() == "" {
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

package mcpoauth

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const testRedirectURI = "https://connect.example.com/oauth/callback"

// newTestClient may call loopback by http; it trusts s.
func newTestClient(t *testing.T, s *oauthtest.Server, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{
		UserAgent:         "mcp-connection-operator/test",
		AllowInsecureHTTP: true,
		AllowCIDRs:        []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Timeout:           10 * time.Second,
		Now:               time.Now,
		RootCAs:           s.CertPool(),
	}
	for _, f := range change {
		f(&o)
	}
	return NewClient(o).For(s.MCPURL())
}

// wantError checks kind and code, and that no secret is told.
func wantError(t *testing.T, err error, kind Kind, code Code, contains ...string) {
	t.Helper()
	_ = errorLike(t, err, kind, code, contains...)
}

// errorLike is wantError for tests that look at more of the error.
func errorLike(t *testing.T, err error, kind Kind, code Code, contains ...string) *Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	e := AsError(err)
	if e == nil {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Kind != kind || e.Code != code {
		t.Fatalf("error is %v %s, want %v %s: %s", e.Kind, e.Code, kind, code, e.Message)
	}
	for _, text := range contains {
		if !strings.Contains(e.Message, text) {
			t.Errorf("message %q lacks %q", e.Message, text)
		}
	}
	if e.Message == "" || strings.Contains(e.Message, "hunter2") {
		t.Errorf("message %q is empty or tells a secret", e.Message)
	}
	return e
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func body(code int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text))
	}
}

func dropConnection(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func paths(s *oauthtest.Server) []string {
	var all []string
	for _, r := range s.Requests() {
		all = append(all, r.Method+" "+r.Path)
	}
	return all
}

// authorize runs the flow up to the code.
func authorize(t *testing.T, c *Client,
	s *oauthtest.Server) (d *Discovery, client *ClientRegistration, code, verifier string) {
	t.Helper()
	ctx := t.Context()
	d, err := c.Discover(ctx, DiscoveryRequest{ServerURL: s.MCPURL()})
	if err != nil {
		t.Fatal(err)
	}
	as := d.AuthorizationServer
	scopes := SelectScopes(nil, d, "Auto")
	client, err = c.Register(ctx, RegistrationRequest{
		Endpoint: as.RegistrationEndpoint, RedirectURI: testRedirectURI, ClientName: "test", Scopes: scopes,
		AuthMethods: as.TokenEndpointAuthMethodsSupported,
	})
	if err != nil {
		t.Fatal(err)
	}
	state := NewState("0a1b")
	verifier = NewCodeVerifier()
	link, err := AuthorizationURL(AuthorizationRequest{
		Endpoint: as.AuthorizationEndpoint, ClientID: client.ClientID, RedirectURI: testRedirectURI,
		Scopes: scopes, Resource: d.Resource, State: state, CodeVerifier: verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Approve(link)
	if err != nil {
		t.Fatal(err)
	}
	if back.Query().Get("state") != state {
		t.Errorf("state came back as %q", back.Query().Get("state"))
	}
	code, err = CheckAuthorizationResponse(back.Query(), as.Issuer, as.AuthorizationResponseIssParameterSupported)
	if err != nil {
		t.Fatal(err)
	}
	return d, client, code, verifier
}

func testFlow(t *testing.T, s *oauthtest.Server) {
	ctx := t.Context()
	c := newTestClient(t, s)
	d, client, code, verifier := authorize(t, c, s)
	ep := TokenEndpoint{URL: d.AuthorizationServer.TokenEndpoint, Client: *client, Resource: d.Resource}
	first, err := c.Exchange(ctx, CodeRequest{TokenEndpoint: ep, Code: code, CodeVerifier: verifier,
		RedirectURI: testRedirectURI})
	if err != nil {
		t.Fatal(err)
	}
	if first.TokenType != "Bearer" || first.RefreshToken == "" || first.ExpiresAt.Sub(first.ReceivedAt) != time.Hour ||
		!slices.Equal(first.Scopes, []string{"mcp:read", "mcp:write", "offline_access"}) {
		t.Errorf("token response %+v", first)
	}
	second, err := c.Refresh(ctx, RefreshRequest{TokenEndpoint: ep, RefreshToken: first.RefreshToken})
	if err != nil {
		t.Fatal(err)
	}
	if !s.ValidAccessToken(second.AccessToken) || second.RefreshToken == first.RefreshToken {
		t.Errorf("the refresh gave %+v", second)
	}
	rp := ep
	rp.URL = d.AuthorizationServer.RevocationEndpoint
	if err := c.Revoke(ctx, RevocationRequest{TokenEndpoint: rp, Token: second.RefreshToken,
		TokenTypeHint: "refresh_token"}); err != nil {
		t.Fatal(err)
	}
	if s.ValidAccessToken(second.AccessToken) {
		t.Error("the grant is still valid after revocation")
	}
	if s.Last(oauthtest.RevokePath).Form.Get("token_type_hint") != "refresh_token" {
		t.Error("no token_type_hint was sent")
	}
	_, err = c.Refresh(ctx, RefreshRequest{TokenEndpoint: ep, RefreshToken: second.RefreshToken})
	if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_grant" || e.Outcome != Answered {
		t.Errorf("error %+v", e)
	}
	checkHeaders(t, s)
}

func checkHeaders(t *testing.T, s *oauthtest.Server) {
	t.Helper()
	for _, r := range s.Requests() {
		if ua := r.Header.Get("User-Agent"); r.Path != oauthtest.AuthorizePath && ua != "mcp-connection-operator/test" {
			t.Errorf("%s %s has User-Agent %q", r.Method, r.Path, ua)
		}
		if r.Header.Get("Cookie") != "" {
			t.Error("a cookie was sent")
		}
	}
}

func TestWholeFlowWorks(t *testing.T) {
	for name, change := range map[string]func(*oauthtest.Config){
		"over http":                      func(*oauthtest.Config) {},
		"over TLS":                       func(c *oauthtest.Config) { c.TLS = true },
		"with an issuer that has a path": func(c *oauthtest.Config) { c.IssuerPath = "/tenant" },
		"with client_secret_basic alone": func(c *oauthtest.Config) { c.AuthMethods = []string{"client_secret_basic"} },
		"with client_secret_post alone":  func(c *oauthtest.Config) { c.AuthMethods = []string{"client_secret_post"} },
		"without the iss parameter":      func(c *oauthtest.Config) { c.NoIssParameter = true },
		"with a scope in the 401 response": func(c *oauthtest.Config) {
			c.ChallengeScopes = []string{"mcp:read", "mcp:write"}
		},
	} {
		t.Run(name, func(t *testing.T) { testFlow(t, oauthtest.New(t, change)) })
	}
}

func TestHTTPIsRefusedUnlessAllowed(t *testing.T) {
	s := oauthtest.New(t)
	c := newTestClient(t, s, func(o *Options) { o.AllowInsecureHTTP = false })
	_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL() + "?key=hunter2"})
	wantError(t, err, Misconfigured, InsecureURL, "--allow-insecure-http")
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
	_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token"},
		RefreshToken: "hunter2"})
	if e := errorLike(t, err, Misconfigured, InsecureURL); e.Outcome != NotSent {
		t.Errorf("outcome %v", e.Outcome)
	}
}

func TestAnUntrustedCertificateIsTransientAndNotSent(t *testing.T) {
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.TLS = true })
	c := newTestClient(t, s, func(o *Options) { o.RootCAs = nil })
	_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
	wantError(t, err, Transient, ServerUnreachable, "--ca-file")
	_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token"}, RefreshToken: "r"})
	if e := errorLike(t, err, Transient, TokenRequestFailing, "--ca-file"); e.Outcome != NotSent {
		t.Errorf("outcome %v", e.Outcome)
	}
}

func TestLoopbackIsReachedOnlyFromALoopbackServerURL(t *testing.T) {
	s := oauthtest.New(t)
	all := newTestClient(t, s)
	for _, c := range []*Client{
		all.For("https://mcp.example.com/mcp"),
		all.For("https://localhost.example.com/mcp"),
		newTestClient(t, s, func(o *Options) { o.AllowCIDRs = nil }),
	} {
		_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
		wantError(t, err, Misconfigured, EgressDenied, "127.0.0.1")
		_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token"},
			RefreshToken: "r"})
		if e := errorLike(t, err, Misconfigured, EgressDenied); e.Outcome != NotSent {
			t.Errorf("outcome %v", e.Outcome)
		}
	}
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
	if _, err := all.Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()}); err != nil {
		t.Error("the views spoiled the client:", err)
	}
}

func TestCancelledContextIsTransient(t *testing.T) {
	s := oauthtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newTestClient(t, s).Discover(ctx, DiscoveryRequest{ServerURL: s.MCPURL()})
	wantError(t, err, Transient, ServerUnreachable, "cancelled")
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	c := NewClient(Options{Now: func() time.Time { return now }})
	for value, want := range map[string]time.Duration{
		"":                                0,
		"0":                               0,
		"-5":                              0,
		"soon":                            0,
		"30":                              30 * time.Second,
		" 30 ":                            30 * time.Second,
		"3600":                            time.Hour,
		"86400":                           time.Hour,
		"99999999999999999":               time.Hour,
		"9223372036854775807":             time.Hour,
		"Sun, 01 Nov 2026 12:02:00 GMT":   2 * time.Minute,
		"Sun, 01 Nov 2026 11:00:00 GMT":   0,
		"Mon, 02 Nov 2026 12:00:00 GMT":   time.Hour,
		"Sunday, 01-Nov-26 12:02:00 GMT":  2 * time.Minute,
		"2026-11-01T12:02:00Z":            0,
		"1e3":                             0,
		"18446744073709551616000000000 s": 0,
	} {
		if got := c.retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestSanitize(t *testing.T) {
	for _, tt := range []struct {
		text string
		max  int
		want string
	}{
		{"plain", 10, "plain"},
		{"", 10, ""},
		{"  a\r\n\tb  ", 10, "a b"},
		{"a\x00\x1b[31mb\u007f", 20, "a[31mb"},
		{"a\u202eb\u200bc\ufeffd\u2066e", 20, "abcde"},
		{"a\u2028b\u2029c", 20, "a b c"},
		{"a\xff\xfeb\ue000", 20, "ab"},
		{"a\ufffdb", 20, "a\ufffdb"},
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcde…"},
		{"ab cdefg", 4, "ab…"},
		{"ääääää", 3, "ää…"},
		{"abc", 0, ""},
		{"abc", 1, "…"},
		{"<b>&", 10, "<b>&"},
	} {
		if got := Sanitize(tt.text, tt.max); got != tt.want {
			t.Errorf("Sanitize(%q, %d) = %q, want %q", tt.text, tt.max, got, tt.want)
		}
	}
}

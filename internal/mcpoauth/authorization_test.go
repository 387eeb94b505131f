package mcpoauth

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStatesAreRandomAndKeepTheirPrefix(t *testing.T) {
	form := regexp.MustCompile(`^0a1b-[A-Za-z0-9_-]{43}$`)
	seen := map[string]bool{}
	for range 200 {
		s := NewState("0a1b")
		if !form.MatchString(s) || seen[s] {
			t.Fatalf("state %q", s)
		}
		seen[s] = true
		if prefix, ok := StatePrefix(s); !ok || prefix != "0a1b" {
			t.Fatalf("prefix of %q is %q", s, prefix)
		}
	}
	for _, s := range []string{"", "-", "abc", "-abc", "abc-", "a-b/c", "a-b c", "a-ü", "../a-b", "a-b\x00"} {
		if prefix, ok := StatePrefix(s); ok {
			t.Errorf("prefix of %q is %q", s, prefix)
		}
	}
}

func TestAuthorizationURL(t *testing.T) {
	// RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	r := AuthorizationRequest{
		Endpoint: "https://as.example/authorize?tenant=a%20b", ClientID: "id", RedirectURI: testRedirectURI,
		Scopes:   []string{"a", "b"},
		Resource: "https://a.example/mcp?x=1", State: "s", CodeVerifier: verifier,
		Parameters: map[string]string{"access_type": "offline"},
	}
	raw, err := AuthorizationURL(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(raw, "https://as.example/authorize?tenant=a%20b&") {
		t.Errorf("the endpoint's query is lost: %s", raw)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"tenant": {"a b"}, "response_type": {"code"}, "client_id": {"id"}, "redirect_uri": {testRedirectURI},
		"scope": {"a b"}, "state": {"s"},
		"resource": {"https://a.example/mcp?x=1"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
		"access_type": {"offline"},
	}
	if u.Query().Encode() != want.Encode() {
		t.Errorf("query %v, want %v", u.Query(), want)
	}
	r.Scopes, r.Resource, r.Parameters, r.Endpoint = nil, "", nil, "https://as.example/authorize"
	raw, err = AuthorizationURL(r)
	if err != nil || strings.Contains(raw, "scope") || strings.Contains(raw, "resource") ||
		!strings.HasPrefix(raw, "https://as.example/authorize?client_id") {
		t.Errorf("%s %v", raw, err)
	}
}

func TestAuthorizationURLRefusesParametersTwice(t *testing.T) {
	for _, change := range []func(*AuthorizationRequest){
		func(r *AuthorizationRequest) { r.Endpoint += "?client_id=other" },
		func(r *AuthorizationRequest) {
			r.Parameters = map[string]string{"redirect_uri": "https://evil.example"}
		},
		func(r *AuthorizationRequest) { r.Parameters = map[string]string{"code_challenge_method": "plain"} },
		func(r *AuthorizationRequest) { r.Parameters = map[string]string{"scope": "x"} },
		func(r *AuthorizationRequest) { r.Endpoint = "::" },
	} {
		r := AuthorizationRequest{Endpoint: "https://as.example/authorize", ClientID: "id", RedirectURI: testRedirectURI,
			State: "s", CodeVerifier: "v"}
		change(&r)
		_, err := AuthorizationURL(r)
		wantError(t, err, Misconfigured, InvalidMetadata)
	}
}

func TestAParameterOfTheEndpointIsSentOnceOrRefused(t *testing.T) {
	const client, redirect = "client_id=id", "redirect_uri=https%3A%2F%2Fconnect.example%2Foauth%2Fcallback"
	for _, tt := range []struct {
		query string
		// refused holds what the message says; empty if a link is made.
		refused string
	}{
		{"tenant=a&tenant=b", ""},
		{"resource=https://a.example/mcp", ""},
		{"prompt=consent", ""},
		{"scope=a+b", ""},
		{"response_type=code&code_challenge_method=S256", ""},
		{client, ""},
		{redirect, ""},
		{"resource=https://other.example/mcp",
			`the parameter resource in its query, with another value than is to be sent; have the authorization server leave it out of the endpoint, or send none: spec.compatibility.resource.mode: "Omit"`},
		{"resource=https://a.example/mcp&resource=https://a.example/mcp", "the parameter resource"},
		{"resource=", "the parameter resource"},
		{"prompt=login", "the parameter prompt in its query, with another value than is to be sent; remove it from " +
			"spec.compatibility.authorizationParameters"},
		{"scope=a", "spec.scopes"},
		{"response_type=token", "the parameter response_type"},
		{"code_challenge_method=plain", "the parameter code_challenge_method"},
		{"code_challenge=x", "the parameter code_challenge "},
		{"state=", "the parameter state"},
		{"client_id=other", "the parameter client_id"},
		{"redirect_uri=https://evil.example", "the parameter redirect_uri"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			r := AuthorizationRequest{
				Endpoint: "https://as.example/authorize?" + tt.query, ClientID: "id",
				RedirectURI: "https://connect.example/oauth/callback", Scopes: []string{"a", "b"},
				Resource: "https://a.example/mcp", Parameters: map[string]string{"prompt": "consent"},
			}
			checked := CheckAuthorizationEndpoint(r)
			r.State, r.CodeVerifier = "s", "v"
			link, err := AuthorizationURL(r)
			if tt.refused != "" {
				wantError(t, err, Misconfigured, InvalidMetadata, tt.refused)
				wantError(t, checked, Misconfigured, InvalidMetadata, tt.refused)
				return
			}
			if err != nil || checked != nil {
				t.Fatal(err, checked)
			}
			u, err := url.Parse(link)
			if err != nil || !strings.HasPrefix(u.RawQuery, tt.query+"&") {
				t.Fatalf("%s, %v: the endpoint's query is another", link, err)
			}
			q := u.Query()
			for name, want := range map[string]string{
				"resource": r.Resource, "prompt": "consent", "scope": "a b", "client_id": "id", "redirect_uri": r.RedirectURI,
				"state": "s", "response_type": "code", "code_challenge_method": "S256",
			} {
				if !slices.Equal(q[name], []string{want}) {
					t.Errorf("%s is %q", name, q[name])
				}
			}
		})
	}
}

func TestAnEndpointIsCheckedBeforeItsClientIsKnown(t *testing.T) {
	r := AuthorizationRequest{Endpoint: "https://as.example/authorize?client_id=other&redirect_uri=x"}
	if err := CheckAuthorizationEndpoint(r); err != nil {
		t.Error(err)
	}
	r.Endpoint += "&state=x"
	wantError(t, CheckAuthorizationEndpoint(r), Misconfigured, InvalidMetadata, "the parameter state")
}

func TestCheckAuthorizationResponse(t *testing.T) {
	const issuer = "https://as.example"
	for _, tt := range []struct {
		name      string
		query     string
		supported bool
		want      string
		code      Code
		oauth     string
		message   string
	}{
		{"advertised and equal", "code=c&iss=https://as.example", true, "c", "", "", ""},
		{"advertised and missing", "code=c", true, "", IssuerParameterMismatch, "", "lacks"},
		{"advertised and different", "code=c&iss=https://evil.example", true, "", IssuerParameterMismatch, "", ""},
		{"not advertised and equal", "code=c&iss=https://as.example", false, "c", "", "", ""},
		{"not advertised and missing", "code=c", false, "c", "", "", ""},
		{"not advertised and different", "code=c&iss=https://evil.example", false, "", IssuerParameterMismatch, "", ""},
		{"a slash makes a difference", "code=c&iss=https://as.example/", false, "", IssuerParameterMismatch, "", ""},
		{"case makes a difference", "code=c&iss=https://AS.example", false, "", IssuerParameterMismatch, "", ""},
		{"an empty iss is different", "code=c&iss=", false, "", IssuerParameterMismatch, "", ""},
		{"two are one too many", "code=c&iss=https://as.example&iss=https://as.example", true, "", IssuerParameterMismatch,
			"", ""},
		{"errors are checked too", "error=access_denied&error_description=hunter2&iss=https://evil.example", true, "",
			IssuerParameterMismatch, "", ""},
		{"errors without iss too", "error=hunter2", true, "", IssuerParameterMismatch, "", ""},
		{"an error", "error=access_denied&error_description=not%00+today%0A&iss=https://as.example", true, "", AccessDenied,
			"access_denied", "access_denied: not today"},
		{"an error without description", "error=server_error", false, "", AuthorizationServerFailing, "server_error",
			"(server_error)"},
		{"an error and a code", "error=access_denied&code=c", false, "", AccessDenied, "access_denied", ""},
		{"an error that repeats the state and a code",
			"error=access_denied&error_description=state+h2-x,+code+hunter2+end&state=h2-x&code=hunter2", false, "",
			AccessDenied, "access_denied", "denied: state …, code … end"},
		{"an error of control characters", "error=%0A%E2%80%AEx", false, "", AuthorizationRequestRejected, "x", "(x)"},
		{"two codes", "code=c&code=d", false, "", AuthorizationServerFailing, "", "code"},
		{"two states", "code=c&state=a&state=b", false, "", AuthorizationServerFailing, "", "state"},
		{"no code", "state=s", false, "", AuthorizationServerFailing, "", "neither"},
		{"an empty code", "code=", false, "", AuthorizationServerFailing, "", "neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := CheckAuthorizationResponse(q, issuer, tt.supported)
			if got != tt.want {
				t.Errorf("code %q, want %q", got, tt.want)
			}
			if tt.code != "" {
				wantDeclined(t, err, tt.code, tt.oauth, tt.message)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func wantDeclined(t *testing.T, err error, code Code, oauth, message string) {
	t.Helper()
	e := errorLike(t, err, Rejected, code, message)
	if e.OAuthError != oauth {
		t.Errorf("OAuthError %q, want %q", e.OAuthError, oauth)
	}
	if code == IssuerParameterMismatch && (strings.Contains(e.Message, "evil") || strings.Contains(e.Message, "denied")) {
		t.Errorf("the message repeats the server: %s", e.Message)
	}
}

func TestSelectScopes(t *testing.T) {
	as := AuthorizationServerMetadata{ScopesSupported: []string{"all", "offline_access"}}
	for _, tt := range []struct {
		name    string
		spec    []string
		d       Discovery
		offline string
		want    []string
	}{
		{"the spec comes first", []string{"s"}, Discovery{ChallengedScopes: []string{"c"}, ResourceScopes: []string{"r"}},
			"Auto", []string{"s"}},
		{"then the challenge", nil, Discovery{ChallengedScopes: []string{"c"}, ResourceScopes: []string{"r"}}, "Auto",
			[]string{"c"}},
		{"then the resource", nil, Discovery{ResourceScopes: []string{"r"}}, "Auto", []string{"r"}},
		{"then none, never the authorization server's", nil,
			Discovery{AuthorizationServer: AuthorizationServerMetadata{ScopesSupported: []string{"all"}}}, "Auto", nil},
		{"offline_access if it is listed", []string{"s"}, Discovery{AuthorizationServer: as}, "Auto",
			[]string{"s", "offline_access"}},
		{"even alone", nil, Discovery{AuthorizationServer: as}, "", []string{"offline_access"}},
		{"not if it is not listed, whoever names it", nil, Discovery{ResourceScopes: []string{"r", "offline_access"}}, "Auto",
			[]string{"r"}},
		{"always", []string{"s"}, Discovery{}, "Always", []string{"s", "offline_access"}},
		{"never", []string{"s", "offline_access"}, Discovery{AuthorizationServer: as}, "Never", []string{"s"}},
		{"once, and tokens only", []string{"a", "a", "b c", "", `d"`, "e\n", "ü", "offline_access"},
			Discovery{AuthorizationServer: as}, "Auto", []string{"a", "offline_access"}},
	} {
		if got := SelectScopes(tt.spec, &tt.d, tt.offline); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

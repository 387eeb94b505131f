package oauthtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	redirectURI = "https://client.example/callback"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

func authorization(s *Server) url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {"c"}, "redirect_uri": {redirectURI}, "state": {"s"},
		"resource": {s.Resource()},
		"scope":    {"mcp:read"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
}

func newWithClient(t *testing.T, configure ...func(*Config)) *Server {
	t.Helper()
	s := New(t, configure...)
	s.AddClient(Client{ID: "c", RedirectURIs: []string{redirectURI}})
	return s
}

func approved(t *testing.T, s *Server) string {
	t.Helper()
	back, err := s.Approve(s.URL + AuthorizePath + "?" + authorization(s).Encode())
	if err != nil || back.Query().Get("code") == "" || back.Query().Get("iss") != s.Issuer() ||
		back.Query().Get("state") != "s" {
		t.Fatalf("%v %v", back, err)
	}
	return back.Query().Get("code")
}

func postToken(t *testing.T, s *Server, form url.Values) (status int, answer map[string]any) {
	t.Helper()
	resp, err := s.HTTPClient().PostForm(s.URL+TokenPath, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	_ = json.Unmarshal(text, &answer)
	return resp.StatusCode, answer
}

func codeForm(s *Server, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "client_id": {"c"}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "resource": {s.Resource()},
	}
}

func TestAuthorizationEndpointIsStrict(t *testing.T) {
	s := newWithClient(t)
	for name, tt := range map[string]struct {
		change func(url.Values)
		// want is the error in the redirect; empty: no redirect at all.
		want string
	}{
		"an unknown client":    {func(q url.Values) { q.Set("client_id", "x") }, ""},
		"another redirect URI": {func(q url.Values) { q.Set("redirect_uri", redirectURI+"/") }, ""},
		"a parameter twice":    {func(q url.Values) { q.Add("scope", "x") }, ""},
		"no state":             {func(q url.Values) { q.Del("state") }, "invalid_request"},
		"no PKCE":              {func(q url.Values) { q.Del("code_challenge") }, "invalid_request"},
		"plain PKCE":           {func(q url.Values) { q.Set("code_challenge_method", "plain") }, "invalid_request"},
		"no resource":          {func(q url.Values) { q.Del("resource") }, "invalid_target"},
		"an unknown scope":     {func(q url.Values) { q.Set("scope", "admin") }, "invalid_scope"},
		"another type":         {func(q url.Values) { q.Set("response_type", "token") }, "unsupported_response_type"},
	} {
		q := authorization(s)
		tt.change(q)
		back, err := s.Approve(s.URL + AuthorizePath + "?" + q.Encode())
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: redirected to %s", name, back)
			}
			continue
		}
		if err != nil || back.Query().Get("error") != tt.want || back.Query().Has("code") {
			t.Errorf("%s: %v %v", name, back, err)
		}
	}
	s.Deny("access_denied", "no")
	back, err := s.Approve(s.URL + AuthorizePath + "?" + authorization(s).Encode())
	if err != nil || back.Query().Get("error") != "access_denied" {
		t.Errorf("denied: %v %v", back, err)
	}
}

func TestTokenEndpointIsStrict(t *testing.T) {
	s := newWithClient(t)
	for name, tt := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"a wrong verifier":       {func(f url.Values) { f.Set("code_verifier", "x") }, "invalid_grant"},
		"no verifier":            {func(f url.Values) { f.Del("code_verifier") }, "invalid_grant"},
		"another redirect URI":   {func(f url.Values) { f.Set("redirect_uri", "x") }, "invalid_grant"},
		"an unknown code":        {func(f url.Values) { f.Set("code", "x") }, "invalid_grant"},
		"no resource":            {func(f url.Values) { f.Del("resource") }, "invalid_target"},
		"an unknown client":      {func(f url.Values) { f.Set("client_id", "x") }, "invalid_client"},
		"an empty secret":        {func(f url.Values) { f.Set("client_secret", "") }, "invalid_client"},
		"a parameter twice":      {func(f url.Values) { f.Add("resource", "x") }, "invalid_request"},
		"an unknown grant type":  {func(f url.Values) { f.Set("grant_type", "password") }, "unsupported_grant_type"},
		"a refresh without more": {func(f url.Values) { f.Set("grant_type", "refresh_token") }, "invalid_grant"},
	} {
		form := codeForm(s, approved(t, s))
		tt.change(form)
		if status, answer := postToken(t, s, form); status < 400 || answer["error"] != tt.want {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	resp, err := s.HTTPClient().Post(s.URL+TokenPath, "application/json", strings.NewReader("{}"))
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("JSON: %v %v", resp, err)
	}
}

func TestReuseEndsTheGrant(t *testing.T) {
	s := newWithClient(t)
	form := codeForm(s, approved(t, s))
	_, first := postToken(t, s, form)
	if !s.ValidAccessToken(first["access_token"].(string)) {
		t.Fatal("the token is not valid")
	}
	postToken(t, s, form)
	if g := s.Grants()[0]; !g.Reused || s.ValidAccessToken(g.AccessToken) {
		t.Errorf("a code was used twice and nothing happened: %+v", g)
	}
	_, first = postToken(t, s, codeForm(s, approved(t, s)))
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first["refresh_token"].(string)},
		"client_id": {"c"}, "resource": {s.Resource()}}
	if status, answer := postToken(t, s, refresh); status != 200 || answer["refresh_token"] == first["refresh_token"] {
		t.Errorf("%d %v", status, answer)
	}
	if _, answer := postToken(t, s, refresh); answer["error"] != "invalid_grant" {
		t.Errorf("%v", answer)
	}
	if g := s.Grants()[1]; !g.Reused || g.Refreshes != 1 || s.ValidAccessToken(g.AccessToken) {
		t.Errorf("a refresh token was used twice and nothing happened: %+v", g)
	}
}

// call asks the MCP server for its tools.
func call(t *testing.T, s *Server, token string) *http.Response {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.MCPURL(),
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

func TestTokensExpireWithTheClock(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s := newWithClient(t, func(c *Config) {
		c.Now = func() time.Time { return now }
		c.AccessTokenLifetime = time.Minute
		c.RequiredScopes = []string{"mcp:write"}
	})
	_, answer := postToken(t, s, codeForm(s, approved(t, s)))
	token := answer["access_token"].(string)
	if resp := call(t, s, token); resp.StatusCode != 403 || !strings.Contains(resp.Header.Get("WWW-Authenticate"),
		`scope="mcp:write"`) {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	s.Configure(func(c *Config) { c.RequiredScopes = nil })
	if resp := call(t, s, token); resp.StatusCode != 200 {
		t.Error(resp.StatusCode)
	}
	now = now.Add(time.Minute)
	if resp := call(t, s, token); resp.StatusCode != 401 || !strings.Contains(resp.Header.Get("WWW-Authenticate"),
		"invalid_token") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestFaultsAreCountedDown(t *testing.T) {
	s := New(t)
	s.HandleTimes(ResourceMetadataPath, 1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	for _, want := range []int{503, 200} {
		resp, err := s.HTTPClient().Get(s.URL + ResourceMetadataPath)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%v %v, want %d", resp, err, want)
		}
	}
	if s.Count(ResourceMetadataPath) != 2 {
		t.Error(s.Requests())
	}
}

func TestClientIDMetadataDocuments(t *testing.T) {
	s := New(t, func(c *Config) {
		c.ClientIDDocuments = map[string]Client{"https://known.example/c.json": {RedirectURIs: []string{redirectURI}}}
	})
	for id, ok := range map[string]bool{"https://known.example/c.json": true, "https://other.example/c.json": false} {
		q := authorization(s)
		q.Set("client_id", id)
		if _, err := s.Approve(s.URL + AuthorizePath + "?" + q.Encode()); (err == nil) != ok {
			t.Errorf("%s: %v", id, err)
		}
	}
	s.Configure(func(c *Config) { c.AnyClientIDDocument = true })
	q := authorization(s)
	q.Set("client_id", "https://other.example/c.json")
	if _, err := s.Approve(s.URL + AuthorizePath + "?" + q.Encode()); err != nil {
		t.Error(err)
	}
}

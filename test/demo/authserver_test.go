package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"
)

const (
	testResource = "http://127.0.0.1:1/mcp"
	testRedirect = "http://127.0.0.1:2/oauth/callback"
	testVerifier = "a-code-verifier-of-at-least-forty-three-characters"
)

// testClient speaks to a fresh authorization server as a registered public client.
type testClient struct {
	*testing.T
	server *authServer
	id     string
	http   *http.Client
}

func newTestClient(t *testing.T) *testClient {
	t.Helper()
	server, err := newAuthServer(testResource, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	noRedirects := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c := &testClient{T: t, server: server, http: noRedirects}
	body := []byte(`{"redirect_uris":["` + testRedirect + `"],"token_endpoint_auth_method":"none"}`)
	response, err := c.http.Post(server.issuer+"/register", "application/json", bytes.NewReader(body))
	c.id = c.decode(response, err, http.StatusCreated)["client_id"].(string)
	return c
}

func (c *testClient) decode(response *http.Response, err error, status int) map[string]any {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	out := map[string]any{}
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil || response.StatusCode != status {
		c.Fatalf("status %d, want %d: %v %v", response.StatusCode, status, out, err)
	}
	return out
}

// request is a valid authorization request.
func (c *testClient) request() url.Values {
	sum := sha256.Sum256([]byte(testVerifier))
	return url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {testRedirect}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		"resource": {testResource}, "scope": {demoScope},
	}
}

// code asks for consent, approves, and returns the code.
func (c *testClient) code() string {
	c.Helper()
	response, err := c.http.Get(c.server.issuer + "/authorize?" + c.request().Encode())
	if err != nil || response.StatusCode != http.StatusOK {
		c.Fatal(err, response)
	}
	_ = response.Body.Close()
	var id string
	for id = range c.server.pending {
	}
	response, err = c.http.PostForm(c.server.issuer+"/authorize", url.Values{"request": {id}, "decision": {"approve"}})
	if err != nil {
		c.Fatal(err)
	}
	_ = response.Body.Close()
	location, err := response.Location()
	if err != nil || location.Query().Get("iss") != c.server.issuer || location.Query().Get("state") != "s" {
		c.Fatal(location, err)
	}
	return location.Query().Get("code")
}

// token posts to the token endpoint, with changes to what every request holds.
func (c *testClient) token(status int, fields map[string]string) map[string]any {
	c.Helper()
	form := url.Values{"client_id": {c.id}, "resource": {testResource}, "redirect_uri": {testRedirect}, "code_verifier": {testVerifier}}
	for key, value := range fields {
		form.Set(key, value)
	}
	response, err := c.http.PostForm(c.server.issuer+"/token", form)
	return c.decode(response, err, status)
}

func (c *testClient) exchange(status int, code string) map[string]any {
	c.Helper()
	return c.token(status, map[string]string{"grant_type": "authorization_code", "code": code})
}

func (c *testClient) refreshWith(status int, token any) map[string]any {
	c.Helper()
	return c.token(status, map[string]string{"grant_type": "refresh_token", "refresh_token": token.(string)})
}

func (c *testClient) valid(token any) bool {
	_, err := c.server.verify(context.Background(), token.(string), nil)
	return err == nil
}

func TestAuthorizationRequestIsChecked(t *testing.T) {
	for _, test := range []struct{ field, value, want string }{
		{"response_type", "token", "unsupported_response_type"},
		{"code_challenge_method", "plain", "invalid_request"},
		{"code_challenge", "short", "invalid_request"},
		{"resource", "https://elsewhere.example/mcp", "invalid_target"},
		{"scope", "everything", "invalid_scope"},
	} {
		c := newTestClient(t)
		query := c.request()
		query.Set(test.field, test.value)
		response, err := c.http.Get(c.server.issuer + "/authorize?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		location, err := response.Location()
		if err != nil || location.Query().Get("error") != test.want {
			t.Errorf("%s=%s: got %v %v, want %s", test.field, test.value, location, err, test.want)
		}
	}
}

func TestRedirectURIMustBeRegistered(t *testing.T) {
	c := newTestClient(t)
	query := c.request()
	query.Set("redirect_uri", testRedirect+"/other")
	response, err := c.http.Get(c.server.issuer + "/authorize?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", response.StatusCode)
	}
}

func TestCodeNeedsItsVerifierAndResource(t *testing.T) {
	c := newTestClient(t)
	fields := map[string]string{"grant_type": "authorization_code", "code": c.code(), "code_verifier": "another"}
	if got := c.token(http.StatusBadRequest, fields)["error"]; got != "invalid_grant" {
		t.Errorf("wrong verifier: %v", got)
	}
	fields = map[string]string{"grant_type": "authorization_code", "code": c.code(), "resource": "https://elsewhere.example"}
	if got := c.token(http.StatusBadRequest, fields)["error"]; got != "invalid_target" {
		t.Errorf("wrong resource: %v", got)
	}
}

func TestReusedCodeEndsTheGrant(t *testing.T) {
	c := newTestClient(t)
	code := c.code()
	first := c.exchange(http.StatusOK, code)
	if !c.valid(first["access_token"]) {
		t.Fatal("the first access token should be valid")
	}
	c.exchange(http.StatusBadRequest, code)
	if c.valid(first["access_token"]) {
		t.Error("the access token should have ended with the reuse of the code")
	}
}

func TestReusedRefreshTokenEndsTheFamily(t *testing.T) {
	c := newTestClient(t)
	first := c.exchange(http.StatusOK, c.code())
	second := c.refreshWith(http.StatusOK, first["refresh_token"])
	if !c.valid(second["access_token"]) || c.server.snapshot().Refreshes != 1 {
		t.Fatal("the first refresh should succeed")
	}
	c.refreshWith(http.StatusBadRequest, first["refresh_token"])
	if c.valid(second["access_token"]) || c.server.snapshot().Reuses != 1 {
		t.Error("reuse should end every token of the family")
	}
	c.refreshWith(http.StatusBadRequest, second["refresh_token"])
}

func TestRevocationEndsTheGrant(t *testing.T) {
	c := newTestClient(t)
	tokens := c.exchange(http.StatusOK, c.code())
	form := url.Values{"client_id": {c.id}, "token": {tokens["refresh_token"].(string)}}
	response, err := c.http.PostForm(c.server.issuer+"/revoke", form)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(err, response)
	}
	_ = response.Body.Close()
	if c.valid(tokens["access_token"]) || c.server.snapshot().Revocations != 1 {
		t.Error("the access token should have ended with the refresh token")
	}
}

package mcpoauth

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func refreshWith(t *testing.T, s *oauthtest.Server, r RefreshRequest,
	change ...func(*Options)) (*TokenResponse, error) {
	t.Helper()
	if r.URL == "" {
		r.URL = s.URL + "/token"
	}
	if r.RefreshToken == "" {
		r.RefreshToken = "refresh-hunter2"
	}
	return newTestClient(t, s, change...).Refresh(t.Context(), r)
}

func TestTokenRequestsAuthenticateOnce(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/token", body(200, "application/json", `{"access_token":"a"}`))
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("i%3Ad:s%2B%C3%BC+%25"))
	for _, tt := range []struct {
		name       string
		client     ClientRegistration
		header     string
		id, secret []string
	}{
		{"none", ClientRegistration{ClientID: "i:d", AuthMethod: AuthMethodNone}, "", []string{"i:d"}, nil},
		{"none with a secret left over", ClientRegistration{ClientID: "i:d", ClientSecret: "s", AuthMethod: AuthMethodNone},
			"", []string{"i:d"}, nil},
		{"post", ClientRegistration{ClientID: "i:d", ClientSecret: "s+ü %", AuthMethod: AuthMethodClientSecretPost}, "",
			[]string{"i:d"}, []string{"s+ü %"}},
		{"basic", ClientRegistration{ClientID: "i:d", ClientSecret: "s+ü %", AuthMethod: AuthMethodClientSecretBasic}, basic,
			nil, nil},
		{"an empty secret is never sent", ClientRegistration{ClientID: "i:d", AuthMethod: AuthMethodClientSecretBasic}, "",
			[]string{"i:d"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := RefreshRequest{TokenEndpoint: TokenEndpoint{Client: tt.client, Resource: "https://a.example/mcp",
				Parameters: map[string]string{"audience": "x"}}, Scopes: []string{"a", "b"}}
			if _, err := refreshWith(t, s, r); err != nil {
				t.Fatal(err)
			}
			got := s.Last("/token")
			if got.Header.Get("Authorization") != tt.header || !slices.Equal(got.Form["client_id"], tt.id) ||
				!slices.Equal(got.Form["client_secret"], tt.secret) {
				t.Errorf("header %q, form %v", got.Header.Get("Authorization"), got.Form)
			}
			f := got.Form
			for name, want := range map[string]string{
				"grant_type": "refresh_token", "refresh_token": "refresh-hunter2", "scope": "a b",
				"resource": "https://a.example/mcp", "audience": "x",
			} {
				if f.Get(name) != want {
					t.Errorf("%s is %q", name, f.Get(name))
				}
			}
			if got.Header.Get("Accept") != "application/json" ||
				got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
				t.Errorf("header %v", got.Header)
			}
		})
	}
}

func TestTokenParametersMayNotBeProtocolParameters(t *testing.T) {
	s := oauthtest.New(t)
	for _, name := range []string{"client_id", "grant_type", "code", "code_verifier", "resource", "refresh_token",
		"redirect_uri"} {
		_, err := refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{Parameters: map[string]string{name: "x"}}})
		if e := errorLike(t, err, Misconfigured, InvalidMetadata, name); e.Outcome != NotSent {
			t.Errorf("outcome %v", e.Outcome)
		}
	}
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
}

func TestTokenResponsesAreReadLeniently(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	const jsonType, formType = "application/json", "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name        string
		contentType string
		body        string
		want        TokenResponse
		expires     time.Duration
	}{
		{"plain", jsonType, `{"access_token":"a","token_type":"bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}`,
			TokenResponse{TokenType: "Bearer", RefreshToken: "r", Scopes: []string{"x", "y"}}, time.Hour},
		{"expires_in as string", jsonType, `{"access_token":"a","expires_in":"3600"}`, TokenResponse{}, time.Hour},
		{"expires_in as float", jsonType, `{"access_token":"a","expires_in":59.5}`, TokenResponse{},
			59500 * time.Millisecond},
		{"expires_in with an exponent", jsonType, `{"access_token":"a","expires_in":3.6e3}`, TokenResponse{}, time.Hour},
		{"expires_in empty", jsonType, `{"access_token":"a","expires_in":""}`, TokenResponse{}, 0},
		{"expires_in null", jsonType, `{"access_token":"a","expires_in":null}`, TokenResponse{}, 0},
		{"expires_in 0", jsonType, `{"access_token":"a","expires_in":0}`, TokenResponse{}, 0},
		{"expires_in negative", jsonType, `{"access_token":"a","expires_in":-1}`, TokenResponse{}, 0},
		{"expires_in an object", jsonType, `{"access_token":"a","expires_in":{}}`, TokenResponse{}, 0},
		{"expires_in NaN", jsonType, `{"access_token":"a","expires_in":"NaN"}`, TokenResponse{}, 0},
		{"expires_in too long", jsonType, `{"access_token":"a","expires_in":1e300}`, TokenResponse{},
			maxLifetime * time.Second},
		{"expires_in longer still", jsonType, `{"access_token":"a","expires_in":"Inf"}`, TokenResponse{},
			maxLifetime * time.Second},
		{"null for everything", jsonType,
			`{"access_token":"a","token_type":null,"refresh_token":null,"scope":null,"error":null}`, TokenResponse{}, 0},
		{"empty for everything", jsonType, `{"access_token":"a","token_type":"","refresh_token":"","scope":"","error":""}`,
			TokenResponse{}, 0},
		{"JSON labelled text", "text/plain; charset=utf-8", `{"access_token":"a","token_type":"BEARER"}`,
			TokenResponse{TokenType: "Bearer"}, 0},
		{"JSON without a label and with a BOM", "", "\uFEFF\n {\"access_token\":\"a\"}\n", TokenResponse{}, 0},
		{"a form", formType + "; charset=utf-8", `access_token=a&token_type=bearer&expires_in=60&scope=x+y`,
			TokenResponse{TokenType: "Bearer", Scopes: []string{"x", "y"}}, time.Minute},
		{"a form labelled text", "text/plain", `token_type=bearer&access_token=a`, TokenResponse{TokenType: "Bearer"}, 0},
		{"scope as array", jsonType, `{"access_token":"a","scope":["x","y"]}`, TokenResponse{Scopes: []string{"x", "y"}}, 0},
		{"another token type", jsonType, `{"access_token":"a","token_type":"mac"}`, TokenResponse{TokenType: "mac"}, 0},
		{"dpop", jsonType, `{"access_token":"a","token_type":"dpop"}`, TokenResponse{TokenType: "DPoP"}, 0},
		{"an error besides a token", jsonType, `{"access_token":"a","refresh_token":"r","error":"invalid_grant"}`,
			TokenResponse{RefreshToken: "r"}, 0},
		{"names in another case are other names", jsonType, `{"access_token":"a","Refresh_Token":"x"}`, TokenResponse{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/token", body(200, tt.contentType, tt.body))
			got, err := refreshWith(t, s, RefreshRequest{}, func(o *Options) { o.Now = func() time.Time { return now } })
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.AccessToken, want.ReceivedAt = "a", now
			if tt.expires != 0 {
				want.ExpiresAt = now.Add(tt.expires)
			}
			if got.AccessToken != want.AccessToken || got.TokenType != want.TokenType || got.RefreshToken != want.RefreshToken ||
				!got.ExpiresAt.Equal(want.ExpiresAt) || !got.ReceivedAt.Equal(want.ReceivedAt) ||
				!slices.Equal(got.Scopes, want.Scopes) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestTokenErrorsAreClassified(t *testing.T) {
	oauth := func(status int, code string) http.HandlerFunc {
		return body(status, "application/json", `{"error":"`+code+`","error_description":"token refresh-hunter2 is gone"}`)
	}
	const jsonType = "application/json"
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		kind    Kind
		code    Code
		oauth   string
		outcome Outcome
	}{
		{"400 invalid_grant", oauth(400, "invalid_grant"), Rejected, TokenRequestRejected, "invalid_grant", Answered},
		{"403 invalid_grant", oauth(403, "invalid_grant"), Rejected, TokenRequestRejected, "invalid_grant", Answered},
		{"401 invalid_client", oauth(401, "invalid_client"), Rejected, TokenRequestRejected, "invalid_client", Answered},
		{"400 invalid_target", oauth(400, "invalid_target"), Rejected, TokenRequestRejected, "invalid_target", Answered},
		{"400 with JSON labelled HTML", body(400, "text/html", `{"error":"invalid_grant"}`), Rejected, TokenRequestRejected,
			"invalid_grant", Answered},
		{"200 with an error", oauth(200, "invalid_grant"), Rejected, TokenRequestRejected, "invalid_grant", Answered},
		{"200 with an error in a form", body(200, "application/x-www-form-urlencoded", "error=bad_refresh_token"), Rejected,
			TokenRequestRejected, "invalid_grant", Answered},
		{"401 unauthorized_client", oauth(401, "unauthorized_client"), Rejected, TokenRequestRejected, "unauthorized_client",
			Answered},
		{"400 unauthorized_client", oauth(400, "unauthorized_client"), Rejected, TokenRequestRejected, "unauthorized_client",
			Answered},
		{"400 invalid_client", oauth(400, "invalid_client"), Rejected, TokenRequestRejected, "invalid_client", Answered},
		{"400 invalid_request", oauth(400, "invalid_request"), Rejected, TokenRequestRejected, "invalid_request", Answered},
		{"401 server_error", oauth(401, "server_error"), Transient, TokenRequestFailing, "server_error", Answered},
		{"200 with temporarily_unavailable", oauth(200, "temporarily_unavailable"), Transient, TokenRequestFailing,
			"temporarily_unavailable", Answered},
		{"400 temporarily_unavailable", oauth(400, "temporarily_unavailable"), Transient, TokenRequestFailing,
			"temporarily_unavailable", Answered},
		{"400 with a web page", body(400, "text/html", "<p>invalid_grant</p>"), Transient, TokenRequestFailing, "", Answered},
		{"400 with another JSON", body(400, jsonType, `{"error":{"code":1}}`), Transient, TokenRequestFailing, "", Answered},
		{"400 with an array", body(400, jsonType, `["error"]`), Transient, TokenRequestFailing, "", Answered},
		{"404", status(404), Transient, TokenRequestFailing, "", Answered},
		{"307", status(307), Transient, TokenRequestFailing, "", Answered},
		{"429", oauth(429, "invalid_grant"), Transient, TokenRequestFailing, "", NotSent},
		{"503", oauth(503, "invalid_grant"), Transient, TokenRequestFailing, "", NotSent},
		{"500", oauth(500, "invalid_grant"), Transient, TokenRequestFailing, "", Answered},
		{"502", status(502), Transient, TokenRequestFailing, "", Unknown},
		{"504", status(504), Transient, TokenRequestFailing, "", Unknown},
		{"a dropped connection", dropConnection, Transient, TokenRequestFailing, "", Unknown},
		{"200 with a web page", body(200, "text/html", "<p>"), Transient, TokenRequestFailing, "", Unknown},
		{"200 without a token", body(200, jsonType, `{"token_type":"bearer"}`), Transient, TokenRequestFailing, "", Unknown},
		{"200 with an empty token", body(200, jsonType, `{"access_token":""}`), Transient, TokenRequestFailing, "", Unknown},
		{"204", status(204), Transient, TokenRequestFailing, "", Unknown},
		{"200 that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"access_token":"a"`))
			panic(http.ErrAbortHandler)
		}, Transient, TokenRequestFailing, "", Unknown},
		{"200 of more than 1 MiB", body(200, jsonType, `{"access_token":"`+strings.Repeat("a", maxBody)+`"}`), Transient,
			TokenRequestFailing, "", Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/token", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", s.URL+"/elsewhere")
				tt.handler(w, r)
			})
			_, err := refreshWith(t, s, RefreshRequest{})
			e := errorLike(t, err, tt.kind, tt.code)
			if e.OAuthError != tt.oauth || e.Outcome != tt.outcome {
				t.Errorf("%q outcome %v, want %q %v", e.OAuthError, e.Outcome, tt.oauth, tt.outcome)
			}
			if e.Status >= 400 && e.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After is %v", e.RetryAfter)
			}
			if len(s.Requests()) != 1 {
				t.Errorf("requests %q", paths(s))
			}
		})
	}
}

func TestErrorTextsHoldNoTokens(t *testing.T) {
	long := strings.Repeat("abcdefghij", 5)
	got := withoutSecrets("AADSTS70008: code "+long+" of (s3cret) in 0b2d6e0c-86c0-4d64-a4ab-2b3c3a1f9f10",
		[]string{"s3cret", ""})
	if got != "AADSTS70008: code … of (…) in 0b2d6e0c-86c0-4d64-a4ab-2b3c3a1f9f10" {
		t.Error(got)
	}
}

func TestErrorTextsHoldNothingOfTheRequest(t *testing.T) {
	const secret = "s+3cr/t"
	basic := base64.StdEncoding.EncodeToString([]byte("id:s%2B3cr%2Ft"))
	for name, tt := range map[string]struct {
		method AuthMethod
		// said is what the server repeats.
		said string
		want string
	}{
		"the refresh token":    {AuthMethodClientSecretPost, "token refresh-hunter2 is gone", "token … is gone"},
		"the secret":           {AuthMethodClientSecretPost, "not " + secret + ", sorry", "not …, sorry"},
		"the secret of a body": {AuthMethodClientSecretPost, "client_secret=s%2B3cr%2Ft&x", "client_secret=…&x"},
		"the whole Authorization header": {AuthMethodClientSecretBasic, "bad header Authorization: Basic " + basic,
			"bad header Authorization: Basic …"},
		"its credentials within a word":   {AuthMethodClientSecretBasic, "Basic:" + basic + ".", "Basic:…."},
		"its credentials decoded":         {AuthMethodClientSecretBasic, "id:s%2B3cr%2Ft", "id:…"},
		"its credentials decoded further": {AuthMethodClientSecretBasic, "id:" + secret, "id:…"},
	} {
		t.Run(name, func(t *testing.T) {
			s := oauthtest.New(t)
			text := `{"error":"invalid_client","error_description":"` + tt.said + `"}`
			s.Handle("/token", body(401, "application/json", text))
			s.Handle("/revoke", body(401, "application/json", text))
			ep := TokenEndpoint{URL: s.URL + "/token", Client: ClientRegistration{ClientID: "id", ClientSecret: secret,
				AuthMethod: tt.method}}
			_, err := refreshWith(t, s, RefreshRequest{TokenEndpoint: ep})
			if want := "POST " + s.URL + "/token was refused with invalid_client: " + tt.want; err.Error() != want {
				t.Errorf("refresh: %q, want %q", err, want)
			}
			ep.URL = s.URL + "/revoke"
			err = newTestClient(t, s).Revoke(t.Context(), RevocationRequest{TokenEndpoint: ep, Token: "refresh-hunter2"})
			if want := "POST " + ep.URL + " was refused with invalid_client: " + tt.want; err.Error() != want {
				t.Errorf("revocation: %q, want %q", err, want)
			}
		})
	}
}

func TestRevocationErrors(t *testing.T) {
	s := oauthtest.New(t)
	r := RevocationRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/revoke", Resource: "x"}, Token: "hunter2",
		TokenTypeHint: "access_token"}
	c := newTestClient(t, s)
	s.HandleTimes("/revoke", 1, body(400, "application/json", `{"error":"unsupported_token_type"}`))
	if e := errorLike(t, c.Revoke(t.Context(), r), Rejected,
		TokenRequestRejected); e.OAuthError != "unsupported_token_type" {
		t.Error(e.OAuthError)
	}
	s.HandleTimes("/revoke", 1, status(503))
	wantError(t, c.Revoke(t.Context(), r), Transient, TokenRequestFailing)
	s.HandleTimes("/revoke", 1, status(204))
	if err := c.Revoke(t.Context(), r); err != nil {
		t.Error(err)
	}
	if s.Last("/revoke").Form.Has("resource") {
		t.Error("resource was sent")
	}
}

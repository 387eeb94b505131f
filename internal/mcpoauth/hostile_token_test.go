package mcpoauth

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const asJSON = "application/json"

func (w *world) exchange(t *testing.T, c *Client) (*TokenResponse, error) {
	t.Helper()
	return c.Exchange(t.Context(), CodeRequest{
		TokenEndpoint: TokenEndpoint{
			URL: w.URL + "/token?hunter2",
			Client: ClientRegistration{ClientID: "client", ClientSecret: "hunter2/secret",
				AuthMethod: AuthMethodClientSecretBasic},
		},
		Code: "hunter2-code", CodeVerifier: "hunter2-verifier", RedirectURI: testRedirectURI,
	})
}

func (w *world) register(t *testing.T, c *Client) (*ClientRegistration, error) {
	t.Helper()
	return c.Register(t.Context(), RegistrationRequest{Endpoint: w.URL + "/register?hunter2", RedirectURI: testRedirectURI,
		InitialAccessToken: "hunter2-initial"})
}

func TestHostileTokenAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  http.HandlerFunc
		kind    Kind
		code    Code
		outcome Outcome
		want    string
	}{
		{"an error with status 200", body(200, asJSON,
			`{"error":"invalid_grant","error_description":"hunter2-code is spent"}`), Rejected, TokenRequestRejected, Answered,
			"invalid_grant: … is spent"},
		{"an error that repeats the secret", body(400, asJSON,
			`{"error":"invalid_client","error_description":"secret hunter2/secret, hunter2%2Fsecret"}`), Rejected,
			TokenRequestRejected, Answered, "invalid_client"},
		{"an error that repeats the header", body(401, asJSON,
			`{"error":"invalid_client","error_description":"Basic Y2xpZW50Omh1bnRlcjIlMkZzZWNyZXQ="}`), Rejected,
			TokenRequestRejected, Answered, "Basic …"},
		{"an error code that is the code", body(400, asJSON, `{"error":"hunter2-code"}`), Transient, TokenRequestFailing,
			Answered, "no OAuth error: …"},
		{"an error that is turned around", body(400, asJSON,
			`{"error":"invalid_grant","error_description":"\u202e\u0000\u001b[31m\r\nX: y"}`), Rejected, TokenRequestRejected,
			Answered, "[31m X: y"},
		{"an error without an end", body(400, asJSON, `{"error":"`+long(5000)+`","error_description":"`+
			strings.Repeat("no ", 5000)+`"}`), Transient, TokenRequestFailing, Answered, "…"},
		{"an error that is an object", body(400, asJSON, `{"error":{"message":"hunter2"}}`), Transient, TokenRequestFailing,
			Answered, "400"},
		{"an error that is empty", body(400, asJSON, `{"error":"","error_description":"hunter2"}`), Transient,
			TokenRequestFailing, Answered, "400"},
		{"an error page", body(400, "text/html", `<b>hunter2</b> "error":"invalid_grant"`), Transient, TokenRequestFailing,
			Answered, "400"},
		{"an error in a form", body(400, "application/x-www-form-urlencoded",
			"error=invalid_grant&error_description=hunter2"), Transient, TokenRequestFailing, Answered, "400"},
		{"an error in an array", body(400, asJSON, `[{"error":"invalid_grant"}]`), Transient, TokenRequestFailing, Answered,
			"400"},
		{"an error in another case", body(400, asJSON, `{"Error":"invalid_grant","x":"hunter2"}`), Transient,
			TokenRequestFailing, Answered, "400"},
		{"an outage with an error", body(500, asJSON, `{"error":"invalid_grant","x":"hunter2"}`), Transient,
			TokenRequestFailing, Answered, "500"},
		{"a lost answer with an error", body(502, asJSON, `{"error":"invalid_grant","x":"hunter2"}`), Transient,
			TokenRequestFailing, Unknown, "502"},
		{"a redirect", redirect("/elsewhere?hunter2"), Transient, TokenRequestFailing, Answered, "not followed"},
		{"a redirect that keeps the body", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		}, Transient, TokenRequestFailing, Answered, "not followed"},
		{"a web page", body(200, "text/html", "<html>hunter2 access_token</html>"), Transient, TokenRequestFailing, Unknown,
			"without an access token"},
		{"nothing", body(200, asJSON, ""), Transient, TokenRequestFailing, Unknown, "without an access token"},
		{"no content", status(204), Transient, TokenRequestFailing, Unknown, "without an access token"},
		{"an array", body(200, asJSON, `["hunter2"]`), Transient, TokenRequestFailing, Unknown, "without an access token"},
		{"an end in the middle", body(200, asJSON, `{"access_token":"hunter2`), Transient, TokenRequestFailing, Unknown,
			"without an access token"},
		{"a token that is an object", body(200, asJSON, `{"access_token":{"value":"hunter2"}}`), Transient,
			TokenRequestFailing, Unknown, "without an access token"},
		{"a token that is null", body(200, asJSON, `{"access_token":null,"refresh_token":"hunter2"}`), Transient,
			TokenRequestFailing, Unknown, "without an access token"},
		{"a token in another case", body(200, asJSON, `{"Access_Token":"hunter2"}`), Transient, TokenRequestFailing, Unknown,
			"without an access token"},
		{"a token without an end", body(200, asJSON, `{"access_token":"`+strings.Repeat("hunter2", 20000)+`"}`), Transient,
			TokenRequestFailing, Unknown, "64 KiB"},
		{"a refresh token without an end", body(200, asJSON, `{"access_token":"a","refresh_token":"`+
			strings.Repeat("hunter2", 20000)+`"}`), Transient, TokenRequestFailing, Unknown, "64 KiB"},
		{"a hundred thousand brackets", body(200, asJSON, `{"access_token":"hunter2","x":`+strings.Repeat("[", 100000)+
			strings.Repeat("]", 100000)+`}`), Transient, TokenRequestFailing, Unknown, "without an access token"},
		{"more than a mebibyte", body(200, asJSON, `{"access_token":"hunter2","x":"`+long(maxBody)+`"}`), Transient,
			TokenRequestFailing, Unknown, "more than 1 MiB"},
		{"a form that is broken", body(200, "application/x-www-form-urlencoded", "access_token=hunter2&%zz"), Transient,
			TokenRequestFailing, Unknown, "without an access token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "/token", tt.answer)
			_, err := w.exchange(t, w.client())
			if e := hostileError(t, err, tt.kind, tt.code, tt.want); e.Outcome != tt.outcome || w.count() != 1 {
				t.Errorf("outcome %v after %d requests", e.Outcome, w.count())
			}
		})
	}
}

func TestHostileTokenAnswersOverTheWire(t *testing.T) {
	for name, answer := range overTheWire() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "/token", answer)
			_, err := w.exchange(t, w.client(patience(name)))
			want := Unknown
			if strings.HasPrefix(name, "a status") {
				want = Answered
			}
			if e := hostileError(t, err, Transient, TokenRequestFailing, "/token"); e.Outcome != want || w.count() != 1 {
				t.Errorf("outcome %v after %d requests", e.Outcome, w.count())
			}
			w = newWorld(t, "/register", answer)
			_, err = w.register(t, w.client(patience(name)))
			if checkHostile(t, err, Transient, RegistrationFailing, "/register"); w.count() != 1 {
				t.Errorf("%d requests for a registration", w.count())
			}
		})
	}
}

func TestWhatIsStrangeInATokenAnswerIsReadAsFarAsItGoes(t *testing.T) {
	scopes := strings.Repeat("scope ", 10000)
	w := newWorld(t, "/token", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "\uFEFF"+
			`{"access_token":"first","access_token":"a","expires_in":1e300,"scope":"x\u0000y good `+scopes+
			`","refresh_token":[1],"token_type":"bEaReR"}`)
	})
	got, err := w.exchange(t, w.client())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken != "a" || got.RefreshToken != "" || got.TokenType != "Bearer" || got.Scopes[0] != "good" ||
		len(strings.Join(got.Scopes, " ")) > maxScopes {
		t.Errorf("got %.200v", got)
	}
	if life := got.ExpiresAt.Sub(got.ReceivedAt); life <= 0 || life > maxLifetime*time.Second {
		t.Errorf("it lives for %v", life)
	}
}

func TestOnlySizeRefusesATokenAnswer(t *testing.T) {
	const odd = "r\u0000\u202e\r\n\u00e9 \U000e0041\u200b\""
	const mark = "Bearer (not printable ASCII)"
	huge := strings.Repeat("hunter2", 9000)
	for name, test := range map[string]struct {
		accessToken, tokenType string
		want                   string
	}{
		"an access token of all that may be sent":   {"!hunter2~", "bearer", "Bearer"},
		"an access token that ends the header":      {"hunter2\r\nX-Admin: true", "bearer", mark},
		"an access token with a blank":              {"hunter2 x", "Bearer", mark},
		"an access token with a NUL":                {"hunter2\u0000", "BEARER", mark},
		"an access token of another script":         {"\u0445unter2", "Bearer", mark},
		"an access token that is bound and strange": {"hunter2\u007f", "dpop", "DPoP (not printable ASCII)"},
		"a strange access token without a type":     {"\u200bhunter2", "", "(not printable ASCII)"},
		"a type of 64 bytes":                        {"a", strings.Repeat("t", 64), strings.Repeat("t", 64)},
		"a type of 65 bytes":                        {"a", strings.Repeat("t", 65), strings.Repeat("t", 64) + "…"},
		"a type that is cut in a character":         {"a", strings.Repeat("t", 63) + "é", strings.Repeat("t", 63) + "…"},
		"a type without an end":                     {"a", "Bearer" + huge, ("Bearer" + huge)[:64] + "…"},
		"a type that is the token":                  {huge, huge + huge, "…"},
		"a type that is a long Bearer": {"a", "Bearer" + strings.Repeat(" ", 100), "Bearer" +
			strings.Repeat(" ", 58) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(map[string]string{"access_token": test.accessToken, "token_type": test.tokenType,
				"refresh_token": odd, "issued_token_type": huge})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, "/token", body(200, asJSON, string(text)))
			got, err := w.exchange(t, w.client())
			if err != nil {
				t.Fatal(err)
			}
			if got.AccessToken != test.accessToken || got.RefreshToken != odd || got.TokenType != test.want ||
				len(got.IssuedTokenType) > maxIssuedType+len("…") {
				t.Errorf("the access token is %.80q of type %q, want %q; the refresh token %q", got.AccessToken, got.TokenType,
					test.want, got.RefreshToken)
			}
		})
	}
}

func TestARefreshTokenIsSentAsItCame(t *testing.T) {
	const odd = "r\u0000\u202e\r\n\u00e9 &=+%\U000e0041\u200b\""
	s := oauthtest.New(t)
	s.Handle("/odd", body(200, asJSON, `{"access_token":"a"}`))
	_, err := newTestClient(t, s).Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/odd"},
		RefreshToken: odd})
	if err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(s.Requests()[0].Body)
	if got := form.Get("refresh_token"); err != nil || got != odd {
		t.Errorf("sent %q, want %q; error %v", got, odd, err)
	}
}

func TestHostileRegistrations(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   Kind
		code   Code
		want   string
	}{
		{"no client_id", body(201, asJSON, `{"client_secret":"hunter2"}`), Misconfigured, RegistrationRefused,
			"without a client_id"},
		{"a client_id that is an object", body(201, asJSON, `{"client_id":{"hunter2":1}}`), Misconfigured,
			RegistrationRefused, "without a client_id"},
		{"a client_id that is null", body(201, asJSON, `{"client_id":null,"x":"hunter2"}`), Misconfigured,
			RegistrationRefused, "without a client_id"},
		{"a client_id with a line break", body(201, asJSON, `{"client_id":"a\nhunter2"}`), Misconfigured, RegistrationRefused,
			"printable ASCII"},
		{"a client_id that is turned around", body(201, asJSON, `{"client_id":"\u202ehunter2"}`), Misconfigured,
			RegistrationRefused, "printable ASCII"},
		{"a client_id without an end", body(201, asJSON, `{"client_id":"`+strings.Repeat("hunter2", 5000)+`"}`),
			Misconfigured, RegistrationRefused, "16 KiB"},
		{"a client_secret without an end", body(201, asJSON, `{"client_id":"a","client_secret":"`+
			strings.Repeat("hunter2", 5000)+`"}`), Misconfigured, RegistrationRefused, "16 KiB"},
		{"a method that nobody knows", body(201, asJSON,
			`{"client_id":"a","client_secret":"hunter2","token_endpoint_auth_method":"tls_client_auth"}`), Misconfigured,
			RegistrationRefused, "tls_client_auth"},
		{"a web page", body(201, "text/html", "<html>hunter2</html>"), Transient, RegistrationFailing, "not a JSON object"},
		{"an array", body(201, asJSON, `[{"client_id":"hunter2"}]`), Transient, RegistrationFailing, "not a JSON object"},
		{"an end in the middle", body(201, asJSON, `{"client_id":"hunter2`), Transient, RegistrationFailing,
			"not a JSON object"},
		{"more than a mebibyte", body(201, asJSON, `{"client_id":"hunter2`+long(maxBody)+`"}`), Transient,
			RegistrationFailing, "more than 1 MiB"},
		{"a bomb", gzipped(4 << 20), Transient, RegistrationFailing, "more than 1 MiB"},
		{"a redirect", redirect("/elsewhere?hunter2"), Misconfigured, RegistrationRefused, "302"},
		{"an error that repeats the token", body(403, asJSON,
			`{"error":"access_denied","error_description":"token hunter2-initial is not known"}`), Misconfigured,
			RegistrationRefused, "access_denied: token … is not known"},
		{"an error page", body(400, "text/html", "<b>hunter2</b>"), Misconfigured, RegistrationRefused, testRedirectURI},
		{"an outage", body(503, "text/html", "<b>hunter2</b>"), Transient, RegistrationFailing, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "/register", tt.answer)
			_, err := w.register(t, w.client())
			if checkHostile(t, err, tt.kind, tt.code, tt.want); w.count() != 1 {
				t.Errorf("%d requests", w.count())
			}
		})
	}
}

func TestARegistrationIsManagedOnlyWhereItWasMade(t *testing.T) {
	for _, uri := range []string{
		"https://169.254.169.254/x", "https://evil.example/x", "http://127.0.0.1/x", "javascript:x", "BASE:1/x",
		"https://user:hunter2@127.0.0.1/x", "BASE/x#y", "BASE.evil.example/x", "//x", "BASE/" + long(maxURL),
	} {
		w := newWorld(t, "", nil)
		w.answers["/register"] = w.document(`{"client_id":"a","registration_client_uri":"` + uri +
			`","registration_access_token":"hunter2"}`)
		r, err := w.register(t, w.client())
		if err != nil || r.RegistrationClientURI != "" || r.RegistrationAccessToken != "" {
			t.Errorf("%.60s: registered %+v, error %v", uri, r, err)
		}
	}
}

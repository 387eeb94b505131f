package mcpoauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestAnErrorIsDefiniteOnlyByRegisteredCodeAndStatus(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		// oauth is the code of a definite error; empty if it is none.
		oauth string
	}{
		{400, `{"error":"invalid_grant"}`, "invalid_grant"},
		{401, `{"error":"invalid_grant"}`, "invalid_grant"},
		{403, `{"error":"invalid_grant"}`, "invalid_grant"},
		{400, `{"error":"invalid_scope"}`, "invalid_scope"},
		{401, `{"error":"invalid_client"}`, "invalid_client"},
		{400, `{"error":"unsupported_grant_type"}`, "unsupported_grant_type"},
		{400, `{"error":"invalid_dpop_proof"}`, "invalid_dpop_proof"},
		{401, `{"error":"invalid_token"}`, "invalid_token"},
		{400, `{"error":"interaction_required"}`, "interaction_required"},
		{200, `{"error":"invalid_grant"}`, "invalid_grant"},
		{200, `{"ok":false,"error":"token_rotation_not_enabled"}`, "token_rotation_not_enabled"},
		{200, `{"error":"bad_refresh_token"}`, "invalid_grant"},
		{400, `{"error":"bad_refresh_token"}`, "invalid_grant"},
		{200, `{"error":"incorrect_client_credentials"}`, "invalid_client"},
		{200, `{"error":"bad_verification_code"}`, "bad_verification_code"},

		{403, `{"error":"Forbidden","status":403}`, ""},
		{400, `{"error":"Bad Request"}`, ""},
		{400, `{"error":"Invalid_Grant"}`, ""},
		{400, `{"error":"invalid_grant "}`, ""},
		{400, `{"error":"invalid_\u200bgrant"}`, ""},
		{401, `{"error":"Unauthorized"}`, ""},
		{400, `{"error":"bad_verification_code"}`, ""},
		{402, `{"error":"invalid_grant"}`, ""},
		{403, `{"error":"invalid_client"}`, ""},
		{403, `{"error":"unauthorized_client"}`, ""},
		{403, `{"error":"access_denied"}`, ""},
		{404, `{"status":404,"error":"Not Found"}`, ""},
		{404, `{"error":"invalid_grant"}`, ""},
		{405, `{"error":"invalid_request"}`, ""},
		{408, `{"error":"invalid_grant"}`, ""},
		{410, `{"error":"invalid_grant"}`, ""},
		{301, `{"error":"invalid_grant"}`, ""},
		{422, `{"error":"invalid_grant"}`, ""},
		{429, `{"error":"invalid_grant"}`, ""},
		{500, `{"error":"invalid_grant"}`, ""},
		{503, `{"error":"invalid_client"}`, ""},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.body), func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/token", body(tt.status, asJSON, tt.body))
			_, err := refreshWith(t, s, RefreshRequest{})
			var e *Error
			if tt.oauth == "" {
				if e = errorLike(t, err, Transient, TokenRequestFailing); e.OAuthError != "" {
					t.Errorf("it counts as %s", e.OAuthError)
				}
				if want := tt.status != 301 && tt.status < 500 && tt.status != 429; e.ForeignJSON != want {
					t.Errorf("JSON of others: %t", e.ForeignJSON)
				}
			} else if e = errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != tt.oauth || e.ForeignJSON ||
				e.Moved() {
				t.Errorf("got %+v", e)
			}
			if want := tt.status < 400 && tt.status >= 300 || tt.status == 404 || tt.status == 405 ||
				tt.status == 410; e.Moved() != want {
				t.Errorf("moved: %t", e.Moved())
			}
		})
	}
}

func TestWhatARefusalSaidIsShownAsItWasSaid(t *testing.T) {
	s := oauthtest.New(t)
	for said, want := range map[string]string{
		`{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}`: "/token was refused with bad_refresh_token: The refresh token passed is incorrect or expired.",
		`{"error":"Forbidden","error_description":"no such route"}`:                                             "/token answered 400 Bad Request, which is no OAuth error: Forbidden: no such route",
	} {
		s.Handle("/token", body(400, asJSON, said))
		if _, err := refreshWith(t, s, RefreshRequest{}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want …%s", err, want)
		}
	}
}

func TestABadVerificationCodeEndsACode(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/token", body(200, asJSON, `{"error":"bad_verification_code"}`))
	_, err := newTestClient(t, s).Exchange(t.Context(), CodeRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token"},
		Code: "c"})
	if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_grant" {
		t.Error(e.OAuthError)
	}
}

func TestAShortSecretDoesNotHideWhatAnErrorIs(t *testing.T) {
	s := oauthtest.New(t)
	client := ClientRegistration{ClientID: "c", ClientSecret: "grant", AuthMethod: AuthMethodClientSecretPost}
	for _, status := range []int{200, 400} {
		s.Handle("/token", body(status, asJSON, `{"error":"invalid_grant"}`))
		_, err := refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{Client: client}})
		if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_grant" {
			t.Errorf("%d: %s", status, e.OAuthError)
		}
	}
}

func TestAWebPageIsNoForeignJSON(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/token", body(http.StatusBadRequest, "text/html", "<p>no</p>"))
	_, err := refreshWith(t, s, RefreshRequest{})
	if e := errorLike(t, err, Transient, TokenRequestFailing); e.ForeignJSON {
		t.Error("it counts as JSON")
	}
}

func FuzzTokenError(f *testing.F) {
	for _, seed := range []string{
		`{"error":"invalid_grant"}`, `{"error":"Forbidden","status":403}`, `{"error":1}`, "<html>",
		`{"error":"bad_refresh_token"}`, `{"error":"server_error"}`, "[]", `{"error":"s3cret"}`,
	} {
		for _, status := range []int{301, 400, 401, 403, 404, 429, 500} {
			f.Add(status, []byte(seed))
		}
	}
	u, _ := url.Parse("https://as.example/token")
	f.Fuzz(func(t *testing.T, status int, text []byte) {
		if status < 300 || status > 599 {
			return
		}
		e := tokenError(&answer{status: status, body: text}, u, GrantTypeRefreshToken, "s3cret")
		checkMessage(t, e)
		if e.Kind == Rejected && (status != 400 && status != 401 && status != 403 || !json.Valid(text) ||
			e.OAuthError == "") {
			t.Errorf("%d %q is definite", status, text)
		}
		if e.ForeignJSON && (e.Kind == Rejected || !json.Valid(text)) {
			t.Errorf("%d %q is %+v", status, text, e)
		}
		if strings.Contains(e.Message+e.OAuthError, "s3cret") {
			t.Errorf("%q", e.Message)
		}
	})
}

package mcpoauth

import (
	"net/url"
	"strings"
	"testing"
)

// A code of an authorization response is told as what it is, with what it calls for: the field of the spec, or the
// console and what to write there. A value to copy stands last.
func TestACodeOfAnAuthorizationResponseSaysWhatToCorrect(t *testing.T) {
	request := AuthorizationRequest{
		Endpoint: "https://as.example/authorize", ClientID: "client-1", RedirectURI: testRedirectURI,
		Scopes:   []string{"files:read", "files:write"},
		Resource: "https://a.example/mcp?key=hidden",
	}
	with := func(change func(*AuthorizationRequest)) AuthorizationRequest {
		r := request
		change(&r)
		return r
	}
	offline := with(func(r *AuthorizationRequest) { r.Scopes = []string{"files:read", "offline_access"} })
	bare := with(func(r *AuthorizationRequest) { r.Scopes, r.Resource = nil, "" })
	silent := with(func(r *AuthorizationRequest) { r.Parameters = map[string]string{"prompt": "none"} })
	const fields, console = "spec.", "console"
	for _, tt := range []struct {
		code   string
		method RegistrationMethod
		asked  AuthorizationRequest
		want   Code
		says   []string
		not    []string
		last   string
	}{
		{"access_denied", Dynamic, request, AccessDenied, nil, []string{fields, console}, ""},
		{"invalid_scope", Dynamic, request, AuthorizationRequestRejected, []string{"spec.scopes"},
			[]string{"offlineAccess", console}, ": files:read files:write"},
		{"invalid_scope", Preregistered, offline, AuthorizationRequestRejected,
			[]string{"spec.scopes", "spec.compatibility.offlineAccess", console}, nil, ": files:read offline_access"},
		{"invalid_scope", Dynamic, bare, AuthorizationRequestRejected, []string{"spec.scopes", "none"},
			[]string{"offlineAccess"}, ""},
		{"unauthorized_client", Preregistered, request, AuthorizationRequestRejected,
			[]string{"client-1", console, "spec.client.credentialsSecretRef"}, []string{"by hand"}, ": " + testRedirectURI},
		{"unauthorized_client", Dynamic, request, AuthorizationRequestRejected,
			[]string{"by hand", "spec.client.credentialsSecretRef"}, []string{console}, ": " + testRedirectURI},
		{"unauthorized_client", MetadataDocument,
			with(func(r *AuthorizationRequest) { r.ClientID = "https://connect.example/oauth/client-metadata.json" }),
			AuthorizationRequestRejected, []string{"fetch", "spec.client"}, []string{console},
			": https://connect.example/oauth/client-metadata.json"},
		{"invalid_client", Preregistered, request, AuthorizationRequestRejected, []string{console}, nil,
			": " + testRedirectURI},
		{"application_suspended", Preregistered, request, AuthorizationRequestRejected, []string{console}, nil,
			": " + testRedirectURI},
		{"redirect_uri_mismatch", Preregistered, request, AuthorizationRequestRejected, []string{"add", console},
			[]string{fields}, ": " + testRedirectURI},
		{"invalid_redirect_uri", MetadataDocument, request, AuthorizationRequestRejected, []string{"document"},
			[]string{console}, ": " + testRedirectURI},
		{"redirect_uri_mismatch", Dynamic, request, AuthorizationRequestRejected, []string{"by hand"}, []string{console},
			": " + testRedirectURI},
		{"invalid_target", Dynamic, request, AuthorizationRequestRejected, []string{"spec.compatibility.resource", "Omit"},
			[]string{"hidden", console}, ": https://a.example/mcp"},
		{"invalid_target", Dynamic, bare, AuthorizationRequestRejected, []string{"spec.compatibility.resource", "Explicit"},
			[]string{"Omit"}, ""},
		{"invalid_resource", Dynamic, request, AuthorizationRequestRejected, []string{"spec.compatibility.resource"}, nil,
			""},
		{"unsupported_response_type", Preregistered, request, AuthorizationRequestRejected,
			[]string{"code", console, "spec.grantType"}, nil, ""},
		{"unsupported_response_type", Dynamic, request, AuthorizationRequestRejected, []string{"spec.grantType"},
			[]string{console}, ""},
		{"invalid_request", Dynamic, request, AuthorizationRequestRejected,
			[]string{"spec.compatibility.authorizationParameters"}, []string{console}, ""},
		{"invalid_request", Preregistered, request, AuthorizationRequestRejected,
			[]string{"spec.compatibility.authorizationParameters", console}, nil, ": " + testRedirectURI},
		{"team_not_found", Dynamic, request, AuthorizationRequestRejected, []string{"no registered code"}, []string{console},
			""},
		{"server_error", Dynamic, request, AuthorizationServerFailing, []string{"failed"}, []string{fields, console}, ""},
		{"temporarily_unavailable", Preregistered, request, AuthorizationServerFailing, nil, []string{fields, console}, ""},
		{"login_required", Dynamic, request, ConsentRequired,
			[]string{"sign in", "spec.compatibility.authorizationParameters"}, nil, ": {prompt: login}"},
		{"consent_required", Dynamic, request, ConsentRequired, []string{"agree"}, nil, ": {prompt: consent}"},
		{"account_selection_required", Dynamic, request, ConsentRequired, []string{"account"}, nil,
			": {prompt: select_account}"},
		{"interaction_required", Dynamic, request, ConsentRequired, []string{"spec.compatibility.authorizationParameters"},
			nil, ": {prompt: login}"},
		{"login_required", Dynamic, silent, ConsentRequired, []string{"take prompt out of " +
			"spec.compatibility.authorizationParameters"}, []string{"{prompt"}, ""},
	} {
		t.Run(tt.code+" "+string(tt.method), func(t *testing.T) {
			_, err := CheckAuthorizationResponse(url.Values{"error": {tt.code}, "error_description": {"because"}},
				"https://as.example", false)
			e := errorLike(t, err, Rejected, tt.want, "("+tt.code+": because)")
			text := AfterAuthorizationError(e, tt.asked, tt.method)
			if !strings.HasPrefix(text, e.Message) || Sanitize(text, 2000) != text {
				t.Errorf("%q does not begin with what was said, or is not fit to be shown", text)
			}
			for _, part := range tt.says {
				if !strings.Contains(text, part) {
					t.Errorf("%q lacks %q", text, part)
				}
			}
			for _, part := range tt.not {
				if strings.Contains(text, part) {
					t.Errorf("%q holds %q, which cannot help", text, part)
				}
			}
			if !strings.HasSuffix(text, tt.last) {
				t.Errorf("%q does not end in %q", text, tt.last)
			}
		})
	}
}

// No two codes are told alike.
func TestNoCodeOfAnAuthorizationResponseIsToldAsAnother(t *testing.T) {
	told := map[string]string{}
	for code := range authorizationErrors {
		_, err := CheckAuthorizationResponse(url.Values{"error": {code}}, "https://as.example", false)
		text := AsError(err).Message
		if other, twice := told[text]; twice {
			t.Errorf("%s and %s: %q", code, other, text)
		}
		told[text] = code
		if code != "access_denied" && code != "user_cancelled_login" && code != "user_cancelled_authorize" &&
			(AsError(err).Code == AccessDenied || strings.Contains(text, "declined")) {
			t.Errorf("%s is told as a person's no: %q", code, text)
		}
	}
}

// What is added stays short however long the lists are.
func TestAnAuthorizationErrorOfManyScopesIsShort(t *testing.T) {
	_, err := CheckAuthorizationResponse(url.Values{"error": {"invalid_scope"},
		"error_description": {strings.Repeat("long ", 1000)}}, "https://as.example", false)
	r := AuthorizationRequest{RedirectURI: testRedirectURI, Scopes: strings.Fields(strings.Repeat("scope ", 5000)),
		ClientID: strings.Repeat("c", 5000)}
	for _, method := range []RegistrationMethod{Dynamic, Preregistered, MetadataDocument} {
		if text := AfterAuthorizationError(AsError(err), r, method); len([]rune(text)) > MaxAuthorizationErrorText {
			t.Errorf("%d runes", len([]rune(text)))
		}
	}
}

package callback

import (
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func preregistered(b *credential.Binding) { b.Client.Method = mcpoauth.Preregistered }

// The page, the record and the audit log tell each code as what it is, with the field to correct.
func TestAnErrorOfTheAuthorizationServerIsToldAsWhatItIs(t *testing.T) {
	callback := externalURL + credential.PathCallback
	for _, tt := range []struct {
		code    string
		binding func(*credential.Binding)
		reason  string
		page    string
		message string
		audit   string
	}{
		{"access_denied", nil, v1alpha1.ReasonAccessDenied, "You or the authorization server declined", "declined (access_denied: because)", "declined"},
		{"invalid_scope", nil, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "set spec.scopes to", "request rejected: invalid_scope"},
		{"unauthorized_client", preregistered, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "redirect URI: " + callback, "request rejected: unauthorized_client"},
		{"redirect_uri_mismatch", preregistered, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "add this redirect URI to the client in the server's console: " + callback,
			"request rejected: redirect_uri_mismatch"},
		{"invalid_target", nil, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "spec.compatibility.resource", "request rejected: invalid_target"},
		{"unsupported_response_type", nil, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "spec.grantType", "request rejected: unsupported_response_type"},
		{"invalid_request", nil, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "spec.compatibility.authorizationParameters", "request rejected: invalid_request"},
		{"made_up_by_someone", nil, v1alpha1.ReasonAuthorizationRequestRejected, "refused the request itself", "made_up_by_someone", "request rejected"},
		{"server_error", nil, v1alpha1.ReasonAuthorizationServerFailing, "The authorization server failed", "server_error: because", "authorization server failing: server_error"},
		{"temporarily_unavailable", nil, v1alpha1.ReasonAuthorizationServerFailing, "in a few minutes", "temporarily_unavailable: because", "authorization server failing: temporarily_unavailable"},
		{"login_required", nil, v1alpha1.ReasonConsentRequired, "your consent is still needed", "{prompt: login}", "not asked: login_required"},
		{"interaction_required", nil, v1alpha1.ReasonConsentRequired, "your consent is still needed", "interaction_required", "not asked: interaction_required"},
		{"consent_required", nil, v1alpha1.ReasonConsentRequired, "your consent is still needed", "{prompt: consent}", "not asked: consent_required"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			var changes []change
			if tt.binding != nil {
				changes = append(changes, withBinding(tt.binding))
			}
			f := newFixture(t, changes...)
			b := f.browser()
			expect(f, b.answer(b.begin(), "error", tt.code, "error_description", "because"), http.StatusSeeOther)
			r := f.credential().Authorization.Response
			if r == nil || r.Code != "" || r.Reason != tt.reason || !strings.Contains(r.Message, tt.message) {
				t.Fatalf("recorded %+v", r)
			}
			if !strings.Contains(f.audits.String(), `"outcome"="`+tt.audit+`" `) || (tt.reason != v1alpha1.ReasonAccessDenied && strings.Contains(f.audits.String(), "declined")) {
				t.Errorf("audit log %s, want %q", f.audits.String(), tt.audit)
			}
			f.finish(r.Reason, r.Message)
			w := b.open()
			expect(f, w, http.StatusOK, "is not connected", tt.page)
			text := html.UnescapeString(w.Body.String())
			if !strings.Contains(text, r.Message) {
				t.Errorf("the page lacks %q", r.Message)
			}
			if tt.reason != v1alpha1.ReasonAccessDenied && strings.Contains(text, "You or the authorization server declined") {
				t.Error("the page says that somebody declined")
			}
		})
	}
}

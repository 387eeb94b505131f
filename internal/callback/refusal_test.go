package callback

import (
	"html"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func preregistered(o *Options, offer *credential.Offer) {
	withBinding(func(b *credential.Binding) { b.Client.Method = mcpoauth.Preregistered })(o, offer)
}

func dynamic(*Options, *credential.Offer) {}

var _ = Describe("An error of the authorization server", func() {
	const callback = externalURL + credential.PathCallback

	// The page, the record and the audit log say so, with the field to correct.
	DescribeTable("is told as what it is:", func(code string, client change, reason, page, message, audit string) {
		f := newFixture(client)
		b := f.browser()
		expect(f, b.answer(b.begin(), "error", code, "error_description", "because"), http.StatusSeeOther)
		r := f.response()
		Expect(r.Code).To(BeEmpty())
		Expect(r.Reason).To(Equal(reason))
		Expect(r.Message).To(ContainSubstring(message))
		Expect(f.audits.String()).To(ContainSubstring(`"outcome"="` + audit + `" `))
		f.finish(r.Reason, r.Message)
		w := b.open()
		expect(f, w, http.StatusOK, "is not connected", page)
		Expect(html.UnescapeString(w.Body.String())).To(ContainSubstring(r.Message))
		if reason != v1alpha1.ReasonAccessDenied {
			Expect(f.audits.String()).NotTo(ContainSubstring("declined"))
			Expect(html.UnescapeString(w.Body.String())).NotTo(ContainSubstring("You or the authorization server declined"))
		}
	},
		Entry("access_denied", "access_denied", dynamic, v1alpha1.ReasonAccessDenied,
			"You or the authorization server declined", "declined (access_denied: because)", "declined"),
		Entry("invalid_scope", "invalid_scope", dynamic, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "set spec.scopes to", "request rejected: invalid_scope"),
		Entry("unauthorized_client", "unauthorized_client", preregistered, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "redirect URI: "+callback, "request rejected: unauthorized_client"),
		Entry("redirect_uri_mismatch", "redirect_uri_mismatch", preregistered, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "add this redirect URI to the client in the server's console: "+callback,
			"request rejected: redirect_uri_mismatch"),
		Entry("invalid_target", "invalid_target", dynamic, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "spec.compatibility.resource", "request rejected: invalid_target"),
		Entry("unsupported_response_type", "unsupported_response_type", dynamic, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "spec.grantType", "request rejected: unsupported_response_type"),
		Entry("invalid_request", "invalid_request", dynamic, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "spec.compatibility.authorizationParameters", "request rejected: invalid_request"),
		Entry("made_up_by_someone", "made_up_by_someone", dynamic, v1alpha1.ReasonAuthorizationRequestRejected,
			"refused the request itself", "made_up_by_someone", "request rejected"),
		Entry("server_error", "server_error", dynamic, v1alpha1.ReasonAuthorizationServerFailing,
			"The authorization server failed", "server_error: because", "authorization server failing: server_error"),
		Entry("temporarily_unavailable", "temporarily_unavailable", dynamic, v1alpha1.ReasonAuthorizationServerFailing,
			"in a few minutes", "temporarily_unavailable: because", "authorization server failing: temporarily_unavailable"),
		Entry("login_required", "login_required", dynamic, v1alpha1.ReasonConsentRequired, "your consent is still needed",
			"{prompt: login}", "not asked: login_required"),
		Entry("interaction_required", "interaction_required", dynamic, v1alpha1.ReasonConsentRequired,
			"your consent is still needed", "interaction_required", "not asked: interaction_required"),
		Entry("consent_required", "consent_required", dynamic, v1alpha1.ReasonConsentRequired, "your consent is still needed",
			"{prompt: consent}", "not asked: consent_required"),
	)
})

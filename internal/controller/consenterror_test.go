package controller

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

var _ = Describe("A refusal of the authorization endpoint", func() {
	It("is told by a condition that says why there is no code", func() {
		w, link := waiting()
		for _, tt := range []struct {
			code, reason, says string
			worker             string
			again              bool
		}{
			{"access_denied", v1alpha1.ReasonAccessDenied, "declined (access_denied: because)", reconciling, true},
			{"invalid_scope", v1alpha1.ReasonAuthorizationRequestRejected, "spec.scopes", stalled, false},
			{"unauthorized_client", v1alpha1.ReasonAuthorizationRequestRejected, "its redirect URI is: " + w.r.ExternalURL +
				"/oauth/callback", stalled, false},
			{"invalid_target", v1alpha1.ReasonAuthorizationRequestRejected, "spec.compatibility.resource", stalled, false},
			{"server_error", v1alpha1.ReasonAuthorizationServerFailing, "failed", reconciling, true},
			{"temporarily_unavailable", v1alpha1.ReasonAuthorizationServerFailing, "temporarily_unavailable: because",
				reconciling, true},
			{"login_required", v1alpha1.ReasonConsentRequired, "sign in there first", reconciling, false},
		} {
			w.server.Deny(tt.code, "because")
			w.consent()
			for _, condition := range []string{authorized, ready, tt.worker} {
				c := meta.FindStatusCondition(w.get().Status.Conditions, condition)
				Expect(c).NotTo(BeNil(), "%s: %s", tt.code, condition)
				Expect(c.Reason).To(Equal(tt.reason), "%s: %s", tt.code, condition)
				Expect(c.Message).To(ContainSubstring(tt.says), "%s: %s", tt.code, condition)
				Expect(strings.Contains(c.Message, "can be opened again")).To(Equal(tt.again), "%s: %s says: %s", tt.code,
					condition, c.Message)
				if tt.code != "access_denied" {
					Expect(c.Message).NotTo(ContainSubstring("declined"), "%s: %s", tt.code, condition)
				}
			}
			Expect(w.showsLink(link)).To(BeTrue(), "%s: the link was replaced", tt.code)
			Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "%s: a token was asked for", tt.code)
			Expect(w.server.Count(oauthtest.RegisterPath)).To(Equal(1), "%s: another client was registered", tt.code)
		}
		w.server.Deny("", "")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// The field that the condition names is the one that helps.
var _ = Describe("An edit of what was refused", func() {
	It("brings another link", func() {
		w, link := waiting()
		w.server.Deny("invalid_scope", "no such scope")
		w.consent()
		w.want(ready, isFalse, v1alpha1.ReasonAuthorizationRequestRejected)
		w.server.Deny("", "")
		w.edit(func(conn *v1alpha1.MCPConnection) { conn.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.showsLink(link)).To(BeFalse(), "the link is the same")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

package controller

import (
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestAConditionTellsWhyTheAuthorizationServerGaveNoCode(t *testing.T) {
	w, link := waiting(t)
	for _, tt := range []struct {
		code, reason, says string
		worker             string
		again              bool
	}{
		{"access_denied", v1alpha1.ReasonAccessDenied, "declined (access_denied: because)", reconciling, true},
		{"invalid_scope", v1alpha1.ReasonAuthorizationRequestRejected, "spec.scopes", stalled, false},
		{"unauthorized_client", v1alpha1.ReasonAuthorizationRequestRejected, "its redirect URI is: " + w.r.ExternalURL + "/oauth/callback", stalled, false},
		{"invalid_target", v1alpha1.ReasonAuthorizationRequestRejected, "spec.compatibility.resource", stalled, false},
		{"server_error", v1alpha1.ReasonAuthorizationServerFailing, "failed", reconciling, true},
		{"temporarily_unavailable", v1alpha1.ReasonAuthorizationServerFailing, "temporarily_unavailable: because", reconciling, true},
		{"login_required", v1alpha1.ReasonConsentRequired, "sign in there first", reconciling, false},
	} {
		w.server.Deny(tt.code, "because")
		w.consent()
		for _, condition := range []string{authorized, ready, tt.worker} {
			c := findCondition(w.get().Status.Conditions, condition)
			if c == nil || c.Reason != tt.reason || !strings.Contains(c.Message, tt.says) || strings.Contains(c.Message, "can be opened again") != tt.again {
				t.Errorf("%s: %s is %+v, want %s with %q", tt.code, condition, c, tt.reason, tt.says)
			}
			if c != nil && tt.code != "access_denied" && strings.Contains(c.Message, "declined") {
				t.Errorf("%s: %s says that somebody declined: %s", tt.code, condition, c.Message)
			}
		}
		if w.get().Status.AuthorizationURL != link || w.server.Count(oauthtest.TokenPath) != 0 || w.server.Count(oauthtest.RegisterPath) != 1 {
			t.Fatalf("%s: the link was replaced, a token was asked for, or another client registered", tt.code)
		}
	}
	w.server.Deny("", "")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

// The field that the condition names is the one that helps: an edit of it brings another link.
func TestAnEditOfWhatWasRefusedBringsAnotherLink(t *testing.T) {
	w, link := waiting(t)
	w.server.Deny("invalid_scope", "no such scope")
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonAuthorizationRequestRejected)
	w.server.Deny("", "")
	w.edit(func(conn *v1alpha1.MCPConnection) { conn.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if w.get().Status.AuthorizationURL == link {
		t.Fatal("the link is the same")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

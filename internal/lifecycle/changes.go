package lifecycle

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// Change is a line of the log about a change of state.
type Change struct {
	Verbosity int
	What      string
	Values    []any
}

// Changes between two statuses, one line each. Everything in them is shown in status too.
func Changes(before, after *v1alpha1.MCPConnectionStatus, notes []Note) []Change {
	return append(grantChanges(before, after), failureChanges(before, after, notes)...)
}

// grantChanges tell of a new client and of a new token.
func grantChanges(before, after *v1alpha1.MCPConnectionStatus) []Change {
	var out []Change
	issuer := ""
	if after.AuthorizationServer != nil {
		issuer = after.AuthorizationServer.Issuer
	}
	if c := after.Client; c != nil && (before.Client == nil || before.Client.ID != c.ID) {
		out = append(out, Change{What: "registered", Values: []any{"issuer", issuer, "registration", c.Registration,
			"clientID", c.ID}})
	}
	authorized := func(s *v1alpha1.MCPConnectionStatus) bool {
		return meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionAuthorized)
	}
	linkUsed := before.AuthorizationURL != "" && after.AuthorizationURL == ""
	switch {
	case !authorized(after), after.Token == nil, after.Token.IssuedAt == nil:
	case !authorized(before), renewed(before, after) && linkUsed:
		out = append(out, Change{What: "authorized", Values: []any{"issuer", issuer, "scopes", after.Scopes, "expiresAt",
			stamp(after.Token.ExpiresAt)}})
	case renewed(before, after):
		out = append(out, Change{1, "refreshed", []any{"expiresAt", stamp(after.Token.ExpiresAt)}})
	}
	return out
}

// failureChanges tell of revocations, and of steps that began to fail or do not fail any more.
func failureChanges(before, after *v1alpha1.MCPConnectionStatus, notes []Note) []Change {
	var out []Change
	now, then := allFailures(after), allFailures(before)
	if request := revokeHandled(after); request != "" && request != revokeHandled(before) && !now.Has(StepRevoke) &&
		!then.Has(StepRevoke) {
		out = append(out, Ended(notes))
	}
	for _, f := range now {
		if old := then.Find(Step(f.Step)); old == nil || old.Reason != f.Reason {
			out = append(out, Change{What: "failed", Values: []any{"step", f.Step, "reason", f.Reason, "message", f.Message,
				"retryAt", stamp(f.RetryAt)}})
		}
	}
	for _, f := range then {
		switch {
		case now.Has(Step(f.Step)):
		case f.Step == string(StepRevoke):
			out = append(out, Ended(notes))
		default:
			out = append(out, Change{What: "healed", Values: []any{"step", f.Step, "reason", f.Reason, "attempts", f.Attempts,
				"since", stamp(f.Since)}})
		}
	}
	return out
}

// revokeHandled is the last request to revoke that was acted on.
func revokeHandled(status *v1alpha1.MCPConnectionStatus) string {
	if status.LastHandled == nil {
		return ""
	}
	return status.LastHandled.Revoke
}

// renewed reports whether the published token is another one than before.
func renewed(before, after *v1alpha1.MCPConnectionStatus) bool {
	return before.Token == nil || !before.Token.IssuedAt.Equal(after.Token.IssuedAt)
}

// stamp is an instant in RFC 3339; empty for none.
func stamp(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Ended says what became of the grants of a connection.
func Ended(notes []Note) Change {
	if i := slices.IndexFunc(notes, func(n Note) bool { return n.Reason == revocationFailed }); i >= 0 {
		return Change{What: "failed", Values: []any{"step", StepRevoke, "message", notes[i].Message}}
	}
	return Change{What: "revoked"}
}

// allFailures are those that a status shows.
func allFailures(status *v1alpha1.MCPConnectionStatus) Failures {
	if status.Failure == nil {
		return nil
	}
	return append(Failures{*status.Failure}, status.OtherFailures...)
}

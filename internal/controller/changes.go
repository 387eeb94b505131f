package controller

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// change is a line of the log about a change of state.
type change struct {
	verbosity int
	what      string
	values    []any
}

func logChanges(ctx context.Context, connection string, changes []change) {
	logger := log.FromContext(ctx).WithValues("connection", connection)
	for _, c := range changes {
		logger.V(c.verbosity).Info(c.what, c.values...)
	}
}

// changes between two statuses, one line each. Everything in them is shown in status too.
func changes(before, after *v1alpha1.MCPConnectionStatus, notes []note) []change {
	return append(grantChanges(before, after), failureChanges(before, after, notes)...)
}

// grantChanges tell of a new client and of a new token.
func grantChanges(before, after *v1alpha1.MCPConnectionStatus) []change {
	var out []change
	issuer := ""
	if after.AuthorizationServer != nil {
		issuer = after.AuthorizationServer.Issuer
	}
	if c := after.Client; c != nil && (before.Client == nil || before.Client.ID != c.ID) {
		out = append(out, change{what: "registered", values: []any{"issuer", issuer, "registration", c.Registration, "clientID", c.ID}})
	}
	authorized := func(s *v1alpha1.MCPConnectionStatus) bool {
		return meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionAuthorized)
	}
	linkUsed := before.AuthorizationURL != "" && after.AuthorizationURL == ""
	switch {
	case !authorized(after), after.Token == nil, after.Token.IssuedAt == nil:
	case !authorized(before), renewed(before, after) && linkUsed:
		out = append(out, change{what: "authorized", values: []any{"issuer", issuer, "scopes", after.Scopes, "expiresAt", stamp(after.Token.ExpiresAt)}})
	case renewed(before, after):
		out = append(out, change{1, "refreshed", []any{"expiresAt", stamp(after.Token.ExpiresAt)}})
	}
	return out
}

// failureChanges tell of revocations, and of steps that began to fail or do not fail any more.
func failureChanges(before, after *v1alpha1.MCPConnectionStatus, notes []note) []change {
	var out []change
	now, then := allFailures(after), allFailures(before)
	if request := revokeHandled(after); request != "" && request != revokeHandled(before) && !now.has(stepRevoke) && !then.has(stepRevoke) {
		out = append(out, ended(notes))
	}
	for _, f := range now {
		if old := then.find(step(f.Step)); old == nil || old.Reason != f.Reason {
			out = append(out, change{what: "failed", values: []any{"step", f.Step, "reason", f.Reason, "message", f.Message, "retryAt", stamp(f.RetryAt)}})
		}
	}
	for _, f := range then {
		switch {
		case now.has(step(f.Step)):
		case f.Step == string(stepRevoke):
			out = append(out, ended(notes))
		default:
			out = append(out, change{what: "healed", values: []any{"step", f.Step, "reason", f.Reason, "attempts", f.Attempts, "since", stamp(f.Since)}})
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

// ended says what became of the grants of a connection.
func ended(notes []note) change {
	if i := slices.IndexFunc(notes, func(n note) bool { return n.reason == revocationFailed }); i >= 0 {
		return change{what: "failed", values: []any{"step", stepRevoke, "message", notes[i].message}}
	}
	return change{what: "revoked"}
}

// allFailures are those that a status shows.
func allFailures(status *v1alpha1.MCPConnectionStatus) failures {
	if status.Failure == nil {
		return nil
	}
	return append(failures{*status.Failure}, status.OtherFailures...)
}

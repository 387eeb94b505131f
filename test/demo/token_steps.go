package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/test/harness"
)

// refreshes is how many the demo waits for.
const refreshes = 2

func isReady(m *v1alpha1.MCPConnection) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReady)
}

// showToken waits for the token Secret and shows it.
func (s *story) showToken(ctx context.Context) error {
	s.step("The token arrives in a Secret that a workload mounts")
	connection, err := s.plane.WaitCondition(ctx, s.key, patience, v1alpha1.ConditionReady, metav1.ConditionTrue, "")
	if err != nil {
		return err
	}
	if err := s.showList(ctx); err != nil {
		return err
	}
	s.conditions(connection)
	if s.first, err = s.plane.TokenSecret(ctx, connection); err != nil {
		return err
	}
	s.latest = s.first
	s.command("kubectl get secret "+connection.Status.Token.SecretName+" -n "+s.key.Namespace+
		" # values masked by the demo", "")
	s.secret(s.first)
	return nil
}

// callTool calls a tool with what the Secret holds.
func (s *story) callTool(ctx context.Context) error {
	s.step("A workload calls a tool with the token from the Secret")
	return s.call(ctx)
}

func (s *story) call(ctx context.Context) error {
	who, err := harness.CallTool(ctx, s.latest[v1alpha1.KeyServerURL], s.latest, "whoami", nil)
	if err != nil {
		return err
	}
	s.say("whoami()    -> %s", who)
	sum, err := harness.CallTool(ctx, s.latest[v1alpha1.KeyServerURL], s.latest, "add", map[string]any{"a": 19, "b": 23})
	if err != nil {
		return err
	}
	s.say("add(19, 23) -> %s", sum)
	if sum != "42" {
		return fmt.Errorf("add(19, 23) should be 42, not %s", sum)
	}
	return nil
}

// watchRefreshes sees the token replaced, before it expires, as often as the demo wants.
func (s *story) watchRefreshes(ctx context.Context) error {
	s.step(fmt.Sprintf("Nobody does anything, and the token stays fresh (%d refreshes, about %s)", refreshes,
		time.Duration(refreshes)*tokenLifetime*2/3))
	connection, err := s.plane.Connection(ctx, s.key)
	if err != nil {
		return err
	}
	s.say("%-10s %-10s %-10s %-10s %s", "", "ISSUED", "EXPIRES", "NEXT", "ACCESS TOKEN")
	s.say("%s", s.tokenLine("consent", connection))
	for i := range refreshes {
		if connection, err = s.nextRefresh(ctx, connection, patience); err != nil {
			return err
		}
		s.say("%s", s.tokenLine(fmt.Sprintf("refresh %d", i+1), connection))
	}
	return s.auth.snapshot().unexpected(counts{Registrations: 1, Grants: 1, Refreshes: refreshes}, s.interactive)
}

// unexpected compares what the authorization server counted with what the demo did. A person may have added objects and
// asked for more.
func (c counts) unexpected(least counts, interactive bool) error {
	switch {
	case c.Reuses != 0, c.Registrations < least.Registrations, c.Grants < least.Grants, c.Refreshes < least.Refreshes,
		c.Revocations < least.Revocations:
	case !interactive && (c.Registrations > least.Registrations || c.Grants > least.Grants ||
		c.Revocations > least.Revocations):
	default:
		return nil
	}
	return fmt.Errorf("the authorization server saw %+v, not %+v", c, least)
}

// nextRefresh waits until the Secret holds another access token; the old one must still be valid then.
func (s *story) nextRefresh(ctx context.Context, before *v1alpha1.MCPConnection,
	timeout time.Duration) (*v1alpha1.MCPConnection, error) {
	after, err := s.plane.WaitFor(ctx, s.key, timeout, "a refresh", func(m *v1alpha1.MCPConnection) bool {
		return m.Status.Token != nil && !m.Status.Token.IssuedAt.Equal(before.Status.Token.IssuedAt)
	})
	if err != nil {
		return nil, err
	}
	if !isReady(after) {
		return nil, errors.New("the connection is no longer ready")
	}
	if after.Status.Token.IssuedAt.After(before.Status.Token.ExpiresAt.Time) {
		return nil, errors.New("the token was refreshed after it had expired")
	}
	previous := s.latest
	if s.latest, err = s.plane.TokenSecret(ctx, after); err != nil {
		return nil, err
	}
	if s.latest[v1alpha1.KeyAccessToken] == previous[v1alpha1.KeyAccessToken] ||
		s.latest[v1alpha1.KeyExpiresAt] == previous[v1alpha1.KeyExpiresAt] {
		return nil, errors.New("status.token changed, but the Secret did not")
	}
	return after, nil
}

// tokenLine is one row about the token that is current now.
func (s *story) tokenLine(what string, m *v1alpha1.MCPConnection) string {
	clock := func(t *metav1.Time) string {
		if t == nil {
			return "-"
		}
		return t.UTC().Format("15:04:05")
	}
	t := m.Status.Token
	return fmt.Sprintf("%-10s %-10s %-10s %-10s %s", what, clock(t.IssuedAt), clock(t.ExpiresAt), clock(t.RefreshAt),
		mask(s.latest[v1alpha1.KeyAccessToken]))
}

// refreshesUntilInterrupt goes on showing the newest refresh, in one line.
func (s *story) refreshesUntilInterrupt(ctx context.Context) {
	s.say("%s", s.bold("It goes on like this. Ctrl-C ends the demo."))
	s.say("")
	for n := refreshes + 1; ctx.Err() == nil; {
		connection, err := s.plane.Connection(ctx, s.key)
		if err == nil && connection.Status.Token != nil {
			connection, err = s.nextRefresh(ctx, connection, patience)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && connection.Status.Token != nil:
			s.again("%s", s.tokenLine(fmt.Sprintf("refresh %d", n), connection))
			n++
		default: // a person has changed something: that is what the demo is for
			s.again("not ready now; kubectl describe mcpc %s -n %s says why", s.key.Name, s.key.Namespace)
			if _, err := s.plane.WaitCondition(ctx, s.key, personsPatience, v1alpha1.ConditionReady, metav1.ConditionTrue,
				""); err != nil {
				return
			}
		}
	}
}

// callAgain uses the fresh token; the first one must be dead by now.
func (s *story) callAgain(ctx context.Context) error {
	s.step("The workload reads the Secret again and calls again")
	if err := s.call(ctx); err != nil {
		return err
	}
	if err := harness.Unauthorized(ctx, s.server.URL, s.first); err != nil {
		return fmt.Errorf("the first token should have expired by now: %w", err)
	}
	s.say("With the first token, long expired, the MCP server answers 401.")
	return nil
}

// deleteConnection deletes the connection; the grant must end at the server, and no secret may have been logged.
func (s *story) deleteConnection(ctx context.Context) error {
	s.step("The connection is deleted, and the grant is revoked")
	out, err := s.plane.Kubectl(ctx, "delete", "mcpc", s.key.Name, "-n", s.key.Namespace, "--timeout=60s",
		fmt.Sprintf("--ignore-not-found=%t", s.interactive))
	if err != nil {
		return err
	}
	s.command("kubectl delete mcpc "+s.key.Name+" -n "+s.key.Namespace, out)
	if err := harness.Unauthorized(ctx, s.server.URL, s.latest); err != nil {
		return fmt.Errorf("the last token should have ended with the grant: %w", err)
	}
	c := s.auth.snapshot()
	if err := c.unexpected(counts{Registrations: 1, Grants: 1, Refreshes: refreshes, Revocations: 1},
		s.interactive); err != nil {
		return err
	}
	s.say("The MCP server answers 401 to the last token, which had not expired.")
	s.say("The authorization server counts: %d registration, %d consent, %d refreshes, %d revocation; %d refresh "+
		"tokens used twice.",
		c.Registrations, c.Grants, c.Refreshes, c.Revocations, c.Reuses)
	if leaks := s.operator.Leaks(s.auth.issuedSecrets()); len(leaks) != 0 {
		return fmt.Errorf("the operator's log holds secret values: %s", strings.Join(leaks, ", "))
	}
	s.say("The operator's log holds none of the %d secret values that were exchanged.", len(s.auth.issuedSecrets()))
	return s.checkSecretsGone(ctx)
}

// checkSecretsGone looks for Secrets left behind.
func (s *story) checkSecretsGone(ctx context.Context) error {
	if !s.plane.Existing {
		left, err := s.plane.CredentialSecrets(ctx)
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(secret corev1.Secret) bool {
			return s.interactive && secret.Annotations[credential.AnnotationConnection] != s.key.String()
		})
		if len(left) != 0 {
			return fmt.Errorf("%d credential Secrets are left", len(left))
		}
		s.say("The operator's own Secret with the refresh token is gone.")
	}
	var list corev1.SecretList
	err := s.plane.Client.List(ctx, &list, client.InNamespace(s.key.Namespace),
		client.MatchingLabels{v1alpha1.LabelManagedBy: v1alpha1.ManagedBy})
	if err != nil {
		return err
	}
	if len(list.Items) > 0 && !s.plane.Existing {
		s.say("The token Secret belongs to the connection: the garbage collector, which this bare control plane " +
			"lacks, takes it.")
	}
	return nil
}

// quote marks text as somebody else's.
func quote(text string) string {
	return "│ " + strings.ReplaceAll(text, "\n", "\n│ ")
}

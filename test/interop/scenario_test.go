package interop

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// scenario is one connection's life: consent, refreshes, a restart of the operator, deletion.
type scenario struct {
	*testing.T
	*running
	plane    *harness.ControlPlane
	operator *harness.Operator
	key      client.ObjectKey
	token    map[string]string // what the token Secret holds now
}

// play runs all acts; the first that fails ends the test with the object and the operator's log.
func (s *scenario) play(ctx context.Context, manifest string) {
	s.Cleanup(func() {
		if s.Failed() {
			s.showFailure()
		}
	})
	s.apply(ctx, manifest)
	s.consent(ctx)
	connection := s.ready(ctx)
	s.useToken(ctx, connection)
	for i := range refreshes {
		connection = s.nextRefresh(ctx, connection)
		s.useToken(ctx, connection)
		s.Logf("refresh %d: issued %s, expires %s", i+1, connection.Status.Token.IssuedAt.Format(time.TimeOnly), connection.Status.Token.ExpiresAt.Format(time.TimeOnly))
	}
	s.restart(ctx, connection)
	s.noLeaks(ctx)
	s.delete(ctx)
	s.noLeaks(ctx)
}

func (s *scenario) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scenario) apply(ctx context.Context, manifest string) {
	s.Helper()
	text, err := harness.ManifestWith(filepath.Join("testdata", manifest), map[string]string{"serverURL": s.serverURL, "name": s.key.Name})
	s.must(err)
	_, err = s.plane.Apply(ctx, s.key.Namespace, text)
	s.must(err)
}

// consent opens the link as a person would, and expects no errors at the authorization server.
func (s *scenario) consent(ctx context.Context) {
	s.Helper()
	connection, err := s.plane.WaitFor(ctx, s.key, patience, "the link for the consent", func(m *v1alpha1.MCPConnection) bool {
		return m.Status.AuthorizationURL != ""
	})
	s.must(err)
	page, err := harness.NewBrowser().Consent(ctx, connection.Status.AuthorizationURL, harness.Consent{
		Expect: []string{s.serverURL, s.issuer, s.key.String()},
		Answer: s.answer,
	})
	s.must(err)
	if page.Status != http.StatusOK {
		s.Errorf("the operator's last page answered %d", page.Status)
	}
	for name, value := range s.secrets() {
		if strings.Contains(page.Body, value) {
			s.Errorf("the operator's last page holds: %s", name)
		}
	}
	s.Logf("the operator's last page (%d): %s", page.Status, strings.ReplaceAll(page.Text, "\n", " | "))
}

func (s *scenario) ready(ctx context.Context) *v1alpha1.MCPConnection {
	s.Helper()
	connection, err := s.plane.WaitCondition(ctx, s.key, patience, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	s.must(err)
	s.readToken(ctx, connection)
	return connection
}

func (s *scenario) readToken(ctx context.Context, connection *v1alpha1.MCPConnection) {
	s.Helper()
	token, err := s.plane.TokenSecret(ctx, connection)
	s.must(err)
	s.token = token
}

// useToken calls a tool with what the Secret holds.
func (s *scenario) useToken(ctx context.Context, connection *v1alpha1.MCPConnection) {
	s.Helper()
	sum, err := harness.CallTool(ctx, connection.Spec.ServerURL, s.token[v1alpha1.KeyAuthorization], "add", map[string]any{"a": 40, "b": 2})
	s.must(err)
	if sum != "42" {
		s.Fatalf("add(40, 2) = %s", sum)
	}
}

// nextRefresh waits for another token, which must come before the last one expires.
func (s *scenario) nextRefresh(ctx context.Context, before *v1alpha1.MCPConnection) *v1alpha1.MCPConnection {
	s.Helper()
	after, err := s.plane.WaitFor(ctx, s.key, patience, "a refresh", func(m *v1alpha1.MCPConnection) bool {
		return m.Status.Token != nil && !m.Status.Token.IssuedAt.Equal(before.Status.Token.IssuedAt)
	})
	s.must(err)
	old := s.token[v1alpha1.KeyAccessToken]
	s.readToken(ctx, after)
	switch {
	case s.token[v1alpha1.KeyAccessToken] == old:
		s.Fatal("status.token changed, but the Secret holds the old access token")
	case !meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReady):
		s.Fatalf("not ready after a refresh: %s", harness.Describe(after))
	case after.Status.Token.IssuedAt.After(before.Status.Token.ExpiresAt.Time):
		s.Fatal("refreshed after the token had expired")
	}
	return after
}

// restart restarts the operator: it must neither register nor ask again, and go on refreshing.
func (s *scenario) restart(ctx context.Context, connection *v1alpha1.MCPConnection) {
	s.Helper()
	s.must(s.operator.Restart(ctx))
	for range 2 { // the first may have come while it stopped
		connection = s.nextRefresh(ctx, connection)
		s.useToken(ctx, connection)
	}
	got := s.seen()
	if got.Registrations != 1 || got.Codes != 1 || got.Errors != 0 || got.Revocations != 0 || got.Refreshes < refreshes+2 {
		s.Fatalf("the authorization server saw %+v: want 1 registration, 1 code, no errors, nothing revoked", got)
	}
	if connection.Status.AuthorizationURL != "" {
		s.Fatal("the operator asks for consent again")
	}
}

// delete deletes the connection and asks the servers what is left of its grant.
func (s *scenario) delete(ctx context.Context) {
	s.Helper()
	connection, err := s.plane.Connection(ctx, s.key)
	s.must(err)
	s.readToken(ctx, connection)
	s.useToken(ctx, connection)
	s.must(s.plane.Client.Delete(ctx, connection))
	s.must(s.plane.WaitGone(ctx, connection, patience))
	if got := s.seen(); got.Errors != 0 || got.Revocations != 1 {
		s.Fatalf("the authorization server saw %+v: want no errors and the grant revoked once", got)
	}
	s.must(harness.Unauthorized(ctx, s.serverURL, s.token[v1alpha1.KeyAuthorization]))
	s.must(s.ended(ctx))
	left, err := s.plane.CredentialSecrets(ctx)
	s.must(err)
	if len(left) != 0 {
		s.Fatalf("%d credential Secrets are left", len(left))
	}
}

// noLeaks looks for secret values in the operator's log, and in everything of the namespace but Secrets.
func (s *scenario) noLeaks(ctx context.Context) {
	s.Helper()
	secrets := s.secrets()
	if len(secrets) < 3 {
		s.Fatalf("only %d secret values are known: the check would prove nothing", len(secrets))
	}
	for _, name := range s.operator.Leaks(secrets) {
		s.Errorf("the operator's log holds: %s", name)
	}
	public, err := s.plane.Kubectl(ctx, "get", "mcpc,events,configmaps", "-A", "-o", "yaml")
	s.must(err)
	for name, value := range secrets {
		if strings.Contains(public, value) {
			s.Errorf("an object that is no Secret holds: %s", name)
		}
	}
}

// showFailure prints what a person would look at first.
func (s *scenario) showFailure() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := s.plane.Kubectl(ctx, "get", "mcpc", s.key.Name, "-n", s.key.Namespace, "-o", "yaml"); err == nil {
		s.Logf("the connection:\n%s", out)
	}
	s.Logf("the authorization server saw %+v", s.seen())
	s.Logf("the end of the operator's log:\n%s", s.operator.LogTail(40))
}

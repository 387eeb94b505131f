package interop

import (
	"context"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// scenario is one connection's life: consent, refreshes, a restart of the operator, deletion.
type scenario struct {
	*testing.T
	target
	*running
	*cluster
	key        client.ObjectKey
	connection *v1alpha1.MCPConnection // as last seen
	token      map[string]string       // what the token Secret held then
}

// playUntilRestart plays the first acts; the first that fails ends the test with the object and the operator's log.
func (s *scenario) playUntilRestart(ctx context.Context) {
	s.apply(ctx)
	if !s.unattended() {
		s.consent(ctx)
	}
	s.ready(ctx)
	s.useToken(ctx)
	s.diagnose(ctx)
	s.refresh(ctx, refreshes)
}

// playAfterRestart plays the others: the operator must neither register nor ask again, and go on refreshing.
func (s *scenario) playAfterRestart(ctx context.Context) {
	s.refresh(ctx, refreshesAfterRestart)
	if s.managed {
		s.updated(ctx)
	}
	s.served(ctx)
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

// unattended reports whether the operator asks nobody.
func (t *target) unattended() bool { return t.grantType != "" || t.imported }

// connectionName finds the name of the connection in a manifest.
var connectionName = regexp.MustCompile(`(?m)^kind: MCPConnection\nmetadata:\n  name: (\S+)$`)

func (s *scenario) apply(ctx context.Context) {
	s.Helper()
	raw, err := os.ReadFile(s.manifest)
	s.must(err)
	examples := []string{"https://mcp.example.com/mcp", s.serverURL, "https://auth.example.com", s.issuer, "mcp:read",
		scope}
	for example, value := range s.replace {
		examples = append(examples, example, value)
	}
	text := strings.NewReplacer(examples...).Replace(string(raw))
	name := connectionName.FindStringSubmatch(text)
	if name == nil {
		s.Fatalf("%s holds no connection", s.manifest)
	}
	for name, keys := range s.given {
		secret := &corev1.Secret{StringData: keys}
		secret.Namespace, secret.Name = s.key.Namespace, name
		s.must(s.plane.Client.Create(ctx, secret))
	}
	s.key.Name = name[1]
	_, err = s.plane.Apply(ctx, s.key.Namespace, text)
	s.must(err)
}

// consent opens the link as a person would, and expects no errors at the authorization server.
func (s *scenario) consent(ctx context.Context) {
	s.Helper()
	connection, err := s.plane.WaitFor(ctx, s.key, patience, "the link for the consent",
		func(m *v1alpha1.MCPConnection) bool {
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

func (s *scenario) ready(ctx context.Context) {
	s.Helper()
	connection, err := s.plane.WaitCondition(ctx, s.key, patience, v1alpha1.ConditionReady, metav1.ConditionTrue,
		v1alpha1.ReasonSucceeded)
	s.must(err)
	s.keep(ctx, connection)
	if (s.token[v1alpha1.KeyDPoPJWK] != "") != s.bound {
		s.Fatalf("a token with the key %s: %v, want %v", v1alpha1.KeyDPoPJWK, !s.bound, s.bound)
	}
	if s.bound { // the header alone is of no use
		s.must(harness.Unauthorized(ctx, s.serverURL,
			map[string]string{v1alpha1.KeyAuthorization: s.token[v1alpha1.KeyAuthorization]}))
	}
	switch got := connection.Status.Client; {
	case s.registration == "" && got != nil:
		s.Fatalf("the client is %s, want none", got.ID)
	case s.registration != "" && (got == nil || got.Registration != s.registration || got.AuthMethod != s.authMethod):
		s.Fatalf("the client is %+v, want %s with %s", got, s.registration, s.authMethod)
	}
}

// look reads connection and token as they are now.
func (s *scenario) look(ctx context.Context) {
	s.Helper()
	connection, err := s.plane.Connection(ctx, s.key)
	s.must(err)
	s.keep(ctx, connection)
}

func (s *scenario) keep(ctx context.Context, connection *v1alpha1.MCPConnection) {
	s.Helper()
	token, err := s.plane.TokenSecret(ctx, connection)
	s.must(err)
	s.connection, s.token = connection, token
}

// useToken calls a tool with what the Secret holds.
func (s *scenario) useToken(ctx context.Context) {
	s.Helper()
	sum, err := harness.CallTool(ctx, s.serverURL, s.token, "add", map[string]any{"a": 40, "b": 2})
	s.must(err)
	if sum != "42" {
		s.Fatalf("add(40, 2) = %s", sum)
	}
}

// refresh waits for so many other tokens and uses each.
func (s *scenario) refresh(ctx context.Context, times int) {
	s.Helper()
	for i := range times {
		s.nextRefresh(ctx)
		s.useToken(ctx)
		token := s.connection.Status.Token
		s.Logf("refresh %d: issued %s, expires %s", i+1, token.IssuedAt.Format(time.TimeOnly),
			token.ExpiresAt.Format(time.TimeOnly))
	}
}

// nextRefresh waits for another token, which must come before the last one expires.
func (s *scenario) nextRefresh(ctx context.Context) {
	s.Helper()
	before, old := s.connection.Status.Token, s.token[v1alpha1.KeyAccessToken]
	after, err := s.plane.WaitFor(ctx, s.key, patience, "a refresh", func(m *v1alpha1.MCPConnection) bool {
		return m.Status.Token != nil && !m.Status.Token.IssuedAt.Equal(before.IssuedAt)
	})
	s.must(err)
	s.keep(ctx, after)
	switch {
	case s.token[v1alpha1.KeyAccessToken] == old:
		s.Fatal("status.token changed, but the Secret holds the old access token")
	case !meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReady):
		s.Fatalf("not ready after a refresh: %s", harness.Describe(after))
	case after.Status.Token.IssuedAt.After(before.ExpiresAt.Time):
		s.Fatal("refreshed after the token had expired")
	}
}

// served compares what the authorization server was asked with what the target wants.
func (s *scenario) served(ctx context.Context) {
	s.Helper()
	s.look(ctx)
	if s.connection.Status.AuthorizationURL != "" {
		s.Fatal("the operator asks for consent again")
	}
	renewed := func(c counts) int {
		if s.grantType != "" {
			return c.Requests - 1
		}
		return c.Refreshes
	}
	got := s.eventually(ctx, func(c counts) bool { return renewed(c) >= refreshes+refreshesAfterRestart })
	want := counts{Codes: 1, Refreshes: got.Refreshes, AuthMethods: map[string]int{s.authMethod: 1 + got.Refreshes}}
	if s.grantType != "" {
		want = counts{Requests: got.Requests, AuthMethods: map[string]int{s.authMethod: got.Requests}}
	}
	switch s.registration {
	case v1alpha1.RegistrationDynamic:
		want.Registrations = 1
	case v1alpha1.RegistrationMetadataDocument:
		want.Documents = max(1, got.Documents) // it may look again
	}
	if s.rotates {
		want.Rotations = got.Refreshes
	}
	if s.managed {
		want.Updates = max(1, got.Updates)
	}
	if renewed(got) < refreshes+refreshesAfterRestart || !reflect.DeepEqual(got, want) {
		s.Fatalf("the authorization server saw %+v, want %+v with at least %d renewals", got, want, refreshes+
			refreshesAfterRestart)
	}
}

// eventually is what the authorization server was asked once that holds, or patience has ended. Its output may come
// later than its answers.
func (s *scenario) eventually(ctx context.Context, holds func(counts) bool) (got counts) {
	s.Helper()
	_ = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		got = s.seen()
		return holds(got), nil
	}) // the caller says what is missing
	return got
}

// updated waits until the client's registration was updated, and for a refresh by the client as it is then.
func (s *scenario) updated(ctx context.Context) {
	s.Helper()
	s.must(wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(context.Context) (bool, error) {
		return s.seen().Updates > 0, nil
	}))
	s.look(ctx)
	s.refresh(ctx, 1)
}

// delete deletes the connection and asks the servers what is left of its grant.
func (s *scenario) delete(ctx context.Context) {
	s.Helper()
	s.look(ctx)
	s.useToken(ctx)
	s.must(s.plane.Client.Delete(ctx, s.connection))
	s.must(s.plane.WaitGone(ctx, s.connection, patience))
	want := counts{Revocations: 1}
	if s.unrevoked {
		want.Revocations = 0
	}
	if s.managed {
		want.Unregistrations = 1
	}
	got := s.eventually(ctx, func(c counts) bool {
		return c.Revocations >= want.Revocations && c.Unregistrations >= want.Unregistrations
	})
	if got.Errors != 0 || got.Revocations != want.Revocations || got.Unregistrations != want.Unregistrations {
		s.Fatalf("the authorization server saw %+v: want no errors, %d revocations and %d clients deleted", got,
			want.Revocations, want.Unregistrations)
	}
	if s.grantType == "" { // a revoked refresh token takes every access token with it
		s.must(harness.Unauthorized(ctx, s.serverURL, s.token))
	}
	s.must(s.ended(ctx))
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
	if !s.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := s.plane.Kubectl(ctx, "get", "mcpc", s.key.Name, "-n", s.key.Namespace, "-o", "yaml"); err == nil {
		s.Logf("the connection:\n%s", out)
	}
	s.Logf("the authorization server saw %+v", s.seen())
	s.Logf("the end of the operator's log:\n%s", s.operator.LogTail(40))
}

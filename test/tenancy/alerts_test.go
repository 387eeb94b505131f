package tenancy

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
)

// TestTheAlertsOfALiveOperator are those that its connections call for: one that is well, one whose grant was ended, one whose token
// expired because it cannot be refreshed, and one whose Secret is somebody else's.
func TestTheAlertsOfALiveOperator(t *testing.T) {
	plane, ctx := controlPlane(t), t.Context()
	judge := filepath.Join(t.TempDir(), "alerts")
	build := exec.CommandContext(ctx, "go", "build", "-o", judge, ".")
	build.Dir = inRepository("test", "alerts")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./test/alerts: %v: %s", err, out)
	}
	metrics := freeAddress(t)
	operator, err := harness.StartOperator(ctx, plane, append(flagsOfTheManifest(t), "--metrics-bind-address="+metrics)...)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(operator.LogTail(30))
		}
		must(t, operator.Stop())
	})
	lasting, ending := oauthtest.New(t), oauthtest.New(t)
	brief := oauthtest.New(t, func(c *oauthtest.Config) { c.AccessTokenLifetime = 12 * time.Second })
	taken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: "conflict-token"}}
	must(t, plane.Client.Create(ctx, taken))
	t.Cleanup(func() { must(t, plane.Client.Delete(context.Background(), taken)) })
	conflict := passing(t, connection(watched, "conflict", lasting.MCPURL()))
	consented(t, "well", lasting)
	ended, expired := consented(t, "ended", ending), consented(t, "expired", brief)

	ending.RevokeGrants()
	ended.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "now"}
	must(t, plane.Client.Update(ctx, ended))
	brief.Handle(oauthtest.TokenPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	_, err = plane.WaitCondition(ctx, key(watched, conflict.Name), patience, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	must(t, err)
	_, err = plane.WaitCondition(ctx, key(watched, ended.Name), patience, v1alpha1.ConditionProbed, metav1.ConditionFalse, v1alpha1.ReasonProbeUnauthorized)
	must(t, err)
	_, err = plane.WaitFor(ctx, key(watched, expired.Name), patience, "an expired token and five attempts", func(c *v1alpha1.MCPConnection) bool {
		return c.Status.Failure != nil && c.Status.Failure.Attempts >= 5 && slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool {
			return c.Type == v1alpha1.ConditionReady && c.Reason == v1alpha1.ReasonTokenExpired
		})
	})
	must(t, err)

	_, text := scrape(t, metrics, tokenOf(t, "alerting", "mcp-connection-metrics-reader"))
	judging := exec.CommandContext(ctx, judge, inRepository("config", "prometheus", "rules.yaml"))
	judging.Stdin = strings.NewReader(text)
	out, err := judging.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, alert := range regexp.MustCompile(`MCPConnection(\w+)\{(?:name="(\w+)")?`).FindAllStringSubmatch(string(out), -1) {
		got = append(got, strings.TrimSpace(alert[1]+" "+alert[2]))
	}
	slices.Sort(got)
	want := []string{"GrantEnded ended", "ManyNotReady", "RefreshFailing expired", "SecretWriteFailing conflict", "ServerRefusesToken ended", "TokenExpired expired"}
	if !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q, of\n%s", got, want, out)
	}
}

// passing creates a connection, which is gone when the test has ended.
func passing(t *testing.T, c *v1alpha1.MCPConnection) *v1alpha1.MCPConnection {
	t.Helper()
	must(t, plane.Client.Create(t.Context(), c))
	t.Cleanup(func() {
		left := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}
		must(t, plane.Client.Delete(context.Background(), left))
		must(t, plane.WaitGone(context.Background(), left, patience))
	})
	return c
}

// consented is a connection that a person has consented to, and that is Ready.
func consented(t *testing.T, name string, server *oauthtest.Server) *v1alpha1.MCPConnection {
	t.Helper()
	at := key(watched, name)
	passing(t, connection(watched, name, server.MCPURL()))
	found, err := plane.WaitFor(t.Context(), at, patience, "the link for the consent", func(c *v1alpha1.MCPConnection) bool { return c.Status.AuthorizationURL != "" })
	must(t, err)
	page, err := harness.NewBrowser().Consent(t.Context(), found.Status.AuthorizationURL, harness.Consent{})
	must(t, err)
	if page.Status != http.StatusOK {
		t.Fatalf("the consent ended with %d: %s", page.Status, page.Text)
	}
	found, err = plane.WaitCondition(t.Context(), at, patience, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
	must(t, err)
	return found
}

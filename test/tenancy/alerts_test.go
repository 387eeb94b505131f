package tenancy

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/matchers"
)

var _ = Describe("The alerts of a live operator", Label("slow"), func() {
	// One connection is well, one's grant was ended, one's token expired because it cannot be refreshed, and one's Secret
	// is somebody else's.
	It("are those that its connections call for", func(ctx SpecContext) {
		judge := filepath.Join(GinkgoTB().TempDir(), "alerts")
		build := exec.CommandContext(ctx, "go", "build", "-o", judge, ".")
		build.Dir = harness.InRepository("test", "alerts")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "go build ./test/alerts: %s", out)
		metrics := freeAddress()
		reader := tokenOf(ctx, "alerting", "mcp-connection-metrics-reader")
		operate(ctx, "--metrics-bind-address="+metrics)
		lasting, ending := oauthtest.New(GinkgoTB()), oauthtest.New(GinkgoTB())
		brief := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) { c.AccessTokenLifetime = 12 * time.Second })
		create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: "conflict-token"}})
		conflict := passing(ctx, connection(watched, "conflict", lasting.MCPURL()))
		consented(ctx, "well", lasting)
		ended, expired := consented(ctx, "ended", ending), consented(ctx, "expired", brief)

		ending.RevokeGrants()
		ended.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "now"}
		Expect(plane.Client.Update(ctx, ended)).To(Succeed())
		brief.Handle(oauthtest.TokenPath, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		await(ctx, key(watched, conflict.Name), matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse,
			v1alpha1.ReasonSecretConflict))
		await(ctx, key(watched, ended.Name), matchers.HaveCondition(v1alpha1.ConditionProbed, metav1.ConditionFalse,
			v1alpha1.ReasonProbeUnauthorized))
		await(ctx, key(watched, expired.Name), And(
			HaveField("Status.Failure", HaveField("Attempts", BeNumerically(">=", 5))),
			HaveField("Status.Conditions", ContainElement(And(HaveField("Type", v1alpha1.ConditionReady),
				HaveField("Reason", v1alpha1.ReasonTokenExpired)))),
		))

		_, text := scrape(ctx, metrics, reader)
		judging := exec.CommandContext(ctx, judge, harness.InRepository("config", "prometheus", "rules.yaml"))
		judging.Stdin = strings.NewReader(text)
		out, err = judging.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		var got []string
		for _, alert := range regexp.MustCompile(`MCPConnection(\w+)\{(?:name="(\w+)")?`).FindAllStringSubmatch(string(out),
			-1) {
			got = append(got, strings.TrimSpace(alert[1]+" "+alert[2]))
		}
		slices.Sort(got)
		Expect(got).To(Equal([]string{"GrantEnded ended", "ManyNotReady", "RefreshFailing expired",
			"SecretWriteFailing conflict", "ServerRefusesToken ended", "TokenExpired expired"}), "%s", out)
	})
})

// operate runs the operator's binary as its ServiceAccount, with the flags of config/namespaced and more, until the
// spec has ended.
func operate(ctx context.Context, more ...string) *harness.Operator {
	GinkgoHelper()
	operator, err := harness.StartOperator(ctx, plane, append(flagsOfTheManifest(ctx), more...)...)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Stop)
	DeferOnFailure(func() { GinkgoWriter.Println(operator.LogTail(30)) })
	return operator
}

// passing creates a connection, which is gone when the spec has ended.
func passing(ctx context.Context, c *v1alpha1.MCPConnection) *v1alpha1.MCPConnection {
	GinkgoHelper()
	at := key(c.Namespace, c.Name)
	Expect(plane.Client.Create(ctx, c)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(plane.Client.Delete(ctx, &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: at.Namespace,
			Name: at.Name}})).To(Succeed())
		awaitGone(ctx, at)
	})
	return c
}

// consented is a connection that a person has consented to, and that is Ready.
func consented(ctx context.Context, name string, server *oauthtest.Server) *v1alpha1.MCPConnection {
	GinkgoHelper()
	at := key(watched, name)
	passing(ctx, connection(watched, name, server.MCPURL()))
	consent(ctx, at, harness.Consent{})
	return await(ctx, at, matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded))
}

// consent waits for the link of a connection and walks through the consent.
func consent(ctx context.Context, at client.ObjectKey, c harness.Consent) {
	GinkgoHelper()
	found := await(ctx, at, HaveField("Status.AuthorizationURL", Not(BeEmpty())))
	page, err := harness.NewBrowser().Consent(ctx, found.Status.AuthorizationURL, c)
	Expect(err).NotTo(HaveOccurred())
	Expect(page.Status).To(Equal(http.StatusOK), "the consent ended with %s", page.Text)
}

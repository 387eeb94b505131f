package tenancy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

var (
	shell = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	// harmless is what kubectl says on standard error where there is nothing to show, as there are no pods here.
	harmless = regexp.MustCompile(`^(No resources found.*|)$`)
)

var _ = Describe("The commands of the runbooks", Label("slow"), func() {
	// The API server has what they speak of, but no pods.
	It("work as they stand there", func(ctx SpecContext) {
		const namespace, name = unwatched, "runbook"
		conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: v1alpha1.MCPConnectionSpec{ServerURL: "https://mcp.test/mcp"}}
		create(ctx, conn, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-token"}})
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace,
			Name: "mcp-connection-operator"}}
		// An operator that ran here leaves its Lease.
		Expect(client.IgnoreAlreadyExists(plane.Client.Create(ctx, lease))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(plane.Client.Delete(ctx, lease)).To(Succeed()) })
		conn.Status = failing()
		Expect(plane.Client.Status().Update(ctx, conn)).To(Succeed())
		assets, err := harness.Assets(ctx)
		Expect(err).NotTo(HaveOccurred())
		pages, err := filepath.Glob(harness.InRepository("docs", "runbooks", "*.md"))
		Expect(err).NotTo(HaveOccurred())
		commands := 0
		var complaints []string
		for _, page := range pages {
			text, err := os.ReadFile(page)
			Expect(err).NotTo(HaveOccurred())
			for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
				commands += strings.Count(block[1], "kubectl ")
				cmd := exec.CommandContext(ctx, "bash", "-uc", block[1])
				cmd.Dir = GinkgoTB().TempDir()
				cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig, "namespace="+namespace, "name="+name,
					"PATH="+assets+string(os.PathListSeparator)+os.Getenv("PATH"))
				var said bytes.Buffer
				cmd.Stderr = &said
				_ = cmd.Run() // grep that finds nothing, and "no" as an answer, are no failures
				for line := range strings.Lines(said.String()) {
					if !harmless.MatchString(strings.TrimSpace(line)) {
						complaints = append(complaints, fmt.Sprintf("%s:\n%s%s", filepath.Base(page), block[1], line))
					}
				}
			}
		}
		Expect(complaints).To(BeEmpty())
		Expect(commands).To(BeNumerically(">=", 50))
	})
})

// failing is a status that has all that the commands look for.
func failing() v1alpha1.MCPConnectionStatus {
	now := metav1.Now()
	status := v1alpha1.MCPConnectionStatus{
		AuthorizationURL: "https://connect.test/connect/ticket", Resource: "https://mcp.test/mcp",
		Scopes:              []string{"files:read"},
		AuthorizationServer: &v1alpha1.AuthorizationServerStatus{Issuer: "https://login.test"},
		Token: &v1alpha1.TokenStatus{SecretName: "runbook-token", ExpiresAt: &now, RefreshAt: &now,
			GrantExpiresAt: &now},
		Failure: &v1alpha1.Failure{Step: "save", Reason: v1alpha1.ReasonSecretWriteFailing, Attempts: 5, Since: &now,
			RetryAt: &now, Message: "No."},
	}
	for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionAuthorized, v1alpha1.ConditionProbed} {
		status.Conditions = append(status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionFalse,
			Reason:  v1alpha1.ReasonIssuerChanged,
			Message: "It moved.", LastTransitionTime: now})
	}
	return status
}

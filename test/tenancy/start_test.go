package tenancy

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/test/harness"
)

var _ = Describe("A program that cannot begin", Label("security"), Ordered, ContinueOnFailure, func() {
	var binary, nowhere string

	BeforeAll(func(ctx SpecContext) {
		binary, nowhere = filepath.Join(GinkgoTB().TempDir(), "operator"), filepath.Join(GinkgoTB().TempDir(), "kubeconfig")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd")
		build.Dir = harness.InRepository()
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "go build ./cmd: %s", out)
		Expect(writeKubeconfig(nowhere, "https://127.0.0.1:1")).To(Succeed())
		create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "mcp-connection-operator.claimed"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("first"), RenewTime: ptr.To(metav1.NowMicro())},
		})
	})

	// It runs as administrator where no other file is named.
	DescribeTable("says why in one line:", func(ctx SpecContext, kubeconfig *string, code int, want string,
		args ...string) {
		if kubeconfig == nil {
			kubeconfig = &plane.Kubeconfig
		}
		cmd := exec.CommandContext(ctx, binary, append(args, "--kubeconfig="+*kubeconfig, "--metrics-bind-address=0",
			"--health-probe-bind-address=0", "--callback-bind-address=127.0.0.1:0")...)
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		Expect(cmd.Run()).To(MatchError(exitCode(code), fmt.Sprintf("exit code %d", code)), "%s", &said)
		Expect(said.String()).To(And(HavePrefix(want), HaveSuffix("\n")))
		Expect(strings.Count(said.String(), "\n")).To(Equal(1), "%s", &said)
		Expect(out.String()).To(BeEmpty())
	},
		Entry("a namespace that is not there", nil, 2,
			"--operator-namespace: there is no namespace nowhere for the credential Secrets: kubectl create namespace nowhere",
			"--operator-namespace=nowhere"),
		Entry("an API server that does not answer", &nowhere, 1, "the API server https://127.0.0.1:1 cannot be reached: "),
		Entry("a namespace that another installation serves", nil, 1,
			"the operator in the namespace first serves the namespace claimed already, and two would spend the same grants: ",
			"--operator-namespace="+harness.OperatorNamespace, "--watch-namespaces=claimed"),
		Entry("a misspelt flag", nil, 2, "unknown flag: --extrenal-url; did you mean --external-url?",
			"--extrenal-url=https://connect.test"),
	)
})

// exitCode reports whether a program ended with a code.
func exitCode(code int) func(error) bool {
	return func(err error) bool {
		var exit *exec.ExitError
		return errors.As(err, &exit) && exit.ExitCode() == code
	}
}

// writeKubeconfig writes a file that names an API server.
func writeKubeconfig(file, server string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: server}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	return clientcmd.WriteToFile(*config, file)
}

package tenancy

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/test/harness"
)

// TestAProgramThatCannotBeginSaysWhyInOneLine runs the operator's binary as administrator.
func TestAProgramThatCannotBeginSaysWhyInOneLine(t *testing.T) {
	plane := controlPlane(t)
	binary := filepath.Join(t.TempDir(), "operator")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd")
	build.Dir = inRepository()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd: %v: %s", err, out)
	}
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, writeKubeconfig(nowhere, "https://127.0.0.1:1"))
	must(t, plane.Client.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "mcp-connection-operator.claimed"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("first"), RenewTime: ptr.To(metav1.NowMicro())},
	}))
	for _, test := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a namespace that is not there", []string{"--kubeconfig=" + plane.Kubeconfig, "--operator-namespace=nowhere"}, 2,
			"--operator-namespace: there is no namespace nowhere for the credential Secrets: kubectl create namespace nowhere"},
		{"an API server that does not answer", []string{"--kubeconfig=" + nowhere}, 1, "the API server https://127.0.0.1:1 cannot be reached: "},
		{"a namespace that another installation serves", []string{"--kubeconfig=" + plane.Kubeconfig, "--operator-namespace=" + harness.OperatorNamespace, "--watch-namespaces=claimed"}, 1,
			"the operator in the namespace first serves the namespace claimed already, and two would spend the same grants: "},
		{"a misspelt flag", []string{"--extrenal-url=https://connect.test"}, 2, "unknown flag: --extrenal-url; did you mean --external-url?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), binary, append(test.args, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--callback-bind-address=127.0.0.1:0")...)
			var out, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &said
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != test.code {
				t.Errorf("it ends with %v, want exit code %d", err, test.code)
			}
			if text := said.String(); !strings.HasPrefix(text, test.want) || strings.Count(text, "\n") != 1 || out.Len() > 0 {
				t.Errorf("it says %q and %q, want one line: %s", text, out.String(), test.want)
			}
		})
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

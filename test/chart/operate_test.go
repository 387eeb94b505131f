package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// operate runs the operator as the Deployment says, under its account and with no right but the chart's.
func (p *plane) operate(t *testing.T) (stop func()) {
	t.Helper()
	kubeconfig, err := p.OperatorKubeconfig(t.Context())
	must(t, err)
	args := slices.DeleteFunc(operatorArgs(t, p), func(arg string) bool {
		return strings.HasPrefix(arg, "--ca-file=") || strings.HasPrefix(arg, "--egress-proxy-url=")
	})
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	process, err := harness.StartProcess(log, "", []string{"POD_NAMESPACE=" + harness.OperatorNamespace}, operator(t),
		append(append(args, harness.UnaskedFlags()...), "--kubeconfig="+kubeconfig)...)
	must(t, err)
	return func() {
		t.Helper()
		if err := process.Stop(patience); err != nil {
			said, _ := os.ReadFile(log.Name())
			t.Errorf("the operator ended with %v: %s", err, said)
		}
	}
}

// operatorWorks with the chart's rights, and no other beside it.
func operatorWorks(t *testing.T, p *plane, c *v1alpha1.MCPConnection) {
	t.Helper()
	stop := p.operate(t)
	defer stop()
	_, err := p.WaitFor(t.Context(), client.ObjectKeyFromObject(c), patience, "word of the server that there is not",
		func(c *v1alpha1.MCPConnection) bool {
			ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
			return ready != nil && ready.Reason == v1alpha1.ReasonServerUnreachable
		})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	second := exec.CommandContext(ctx, operator(t), append(harness.UnaskedFlags(), "--operator-namespace="+other,
		"--kubeconfig="+p.Kubeconfig)...)
	out, err := second.CombinedOutput()
	if want := "the operator in the namespace mcp-connection-system serves the namespace agents already, and two would " +
		"spend the same grants: "; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("a second operator for all namespaces says %s (%v), want %s", out, err, want)
	}
}

// deleteInOrder deletes a connection while the operator runs, which takes its finalizer off.
func (p *plane) deleteInOrder(t *testing.T, c *v1alpha1.MCPConnection) {
	t.Helper()
	stop := p.operate(t)
	defer stop()
	must(t, p.Client.Delete(t.Context(), c))
	must(t, p.WaitGone(t.Context(), c, 2*time.Minute))
}

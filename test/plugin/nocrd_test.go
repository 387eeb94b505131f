package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func TestAClusterWithoutTheOperatorIsToldInOneLine(t *testing.T) {
	t.Parallel()
	s := onStage(t)
	bare := &envtest.Environment{BinaryAssetsDirectory: filepath.Dir(s.plane.KubectlPath())}
	_, err := bare.Start()
	must(t, err)
	running := true
	defer func() {
		if running {
			_ = bare.Stop()
		}
	}()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(file, bare.KubeConfig, 0o600))
	for _, arguments := range [][]string{
		{"list", "-A"}, {"status", "x"}, {"wait", "x"}, {"authorize", "x"}, {"refresh", "x"}, {"suspend", "x"},
		{"report", "x"}, {"doctor", "x"},
		{"create", "x", "https://mcp.example.com/mcp", "--no-discovery", "--apply"},
	} {
		r := s.run(t.Context(), append(arguments, "--kubeconfig", file)...).want(t, 1)
		if !strings.HasPrefix(r.err, "kubectl mcpc: this cluster does not know MCPConnections: install the operator first") ||
			strings.Count(r.err, "\n") != 1 {
			t.Errorf("%q says\n%s", arguments, r.err)
		}
	}
	must(t, bare.Stop())
	running = false
	s.run(t.Context(), "list", "--kubeconfig", file).want(t, 1).says(t, "kubectl mcpc: the cluster's API server "+
		"does not answer")
}

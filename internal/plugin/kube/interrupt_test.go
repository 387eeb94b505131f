//go:build unix

package kube_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

func TestASignalEndsAContextWithItsNumber(t *testing.T) {
	ctx, stop := kube.WithSignals(t.Context())
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if code := kube.ExitCode(kube.Interrupted(ctx)); code != 129 {
		t.Errorf("exit code %d", code)
	}
	if code := kube.ExitCode(kube.Interrupted(t.Context())); code != 1 {
		t.Errorf("exit code %d without a signal", code)
	}
}

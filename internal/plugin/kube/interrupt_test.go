//go:build unix

package kube_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

func TestASignalEndsAContextWithItsNumber(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP) // which this test ignores too, where it was started with nohup
	defer signal.Stop(heard)
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

func TestASignalThatIsIgnoredStaysIgnored(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // as nohup does
	defer signal.Reset(syscall.SIGHUP)
	ctx, stop := kube.WithSignals(t.Context())
	defer stop()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	<-ctx.Done()
	if code := kube.ExitCode(kube.Interrupted(ctx)); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

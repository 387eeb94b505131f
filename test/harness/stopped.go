package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// errOrphaned is why a program stops whose parent is gone: "go run" that is terminated does not pass that on.
var errOrphaned = errors.New("the process that started this one is gone")

// UntilStopped is the context of a program that runs for long. It ends with Ctrl-C, SIGTERM and SIGHUP, with the
// process that started this one, and with stop; its cause says which.
func UntilStopped() (ctx context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, orphaned := context.WithCancelCause(ctx)
	go watchParent(ctx, func() { orphaned(errOrphaned) })
	return ctx, stop
}

func watchParent(ctx context.Context, gone func()) {
	parent := os.Getppid()
	for Pause(ctx, time.Second) == nil {
		if os.Getppid() != parent {
			gone()
			return
		}
	}
}

// Pause waits, or returns the error of a context that ends before.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Stderr is a Logf of a program whose standard output is for its results: it prints the time, and to standard error.
func Stderr(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

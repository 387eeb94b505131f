package kube_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

func TestExitCodesAreThoseOfTheContract(t *testing.T) {
	for want, err := range map[int]error{
		0: nil,
		1: fmt.Errorf("an API server that does not answer: %w", context.DeadlineExceeded),
		2: kube.Exit(kube.ExitUsage, "usage"),
		3: kube.Exit(kube.ExitTimedOut, "late"),
		4: fmt.Errorf("wrapped: %w", kube.Exit(kube.ExitDenied, "denied")),
	} {
		if got := kube.ExitCode(err); got != want {
			t.Errorf("%v ends with %d, not %d", err, got, want)
		}
		if got := kube.ExitCode(kube.Explain(err)); got != want {
			t.Errorf("%v explained ends with %d, not %d", err, got, want)
		}
	}
}

func TestAnExplanationIsOneLineAndKeepsTheCause(t *testing.T) {
	cause := errors.New("first\n\tsecond")
	got := kube.Explain(fmt.Errorf("read: %w", cause))
	if got.Error() != "read: first second" || !errors.Is(got, cause) {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoTerminalHasEightyColumnsAndNoColours(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = read.Close(), write.Close() }()
	for _, stream := range []any{&bytes.Buffer{}, write, nil} {
		if got := kube.TerminalOf(stream); got != (kube.Terminal{Width: 80}) {
			t.Errorf("%T is taken for %+v", stream, got)
		}
	}
}

func TestATimeoutIsToldFromAnInterruption(t *testing.T) {
	ctx, cancel := kube.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if context.Cause(ctx).Error() != "--timeout passed" {
		t.Error(context.Cause(ctx))
	}
	ctx, cancel = kube.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, ends := ctx.Deadline(); ends {
		t.Error("0 is a timeout")
	}
}

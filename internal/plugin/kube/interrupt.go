package kube

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// SignalError is the cause of a context that a signal ended.
type SignalError struct{ Signal syscall.Signal }

// Error names the signal in words.
func (e *SignalError) Error() string { return "interrupted (" + e.Signal.String() + ")" }

// WithSignals is a context that ends with the first signal: ctrl-C, a request to end, a terminal that is closed. A
// second one ends the process as it would any other. Signals that the process was told to ignore, as nohup does, stay
// ignored.
func WithSignals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		select {
		case s := <-signals:
			number, _ := s.(syscall.Signal)
			signal.Stop(signals)
			cancel(&SignalError{Signal: number})
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// Interrupted is the error of a context that is over, with the exit code that shells give to the signal that ended it.
func Interrupted(ctx context.Context) error {
	var by *SignalError
	if cause := context.Cause(ctx); errors.As(cause, &by) {
		return &ExitError{Code: 128 + int(by.Signal), Err: errors.New("interrupted")}
	}
	return &ExitError{Code: ExitFailed, Err: errors.New("interrupted")}
}

package kube

import (
	"errors"
	"fmt"
)

// Exit codes of every verb.
const (
	// ExitReady means that what was asked for is done; for verbs that wait, that the connection is Ready.
	ExitReady = 0
	// ExitFailed means that it is not done, and why stands on stderr.
	ExitFailed = 1
	// ExitUsage means that the command line says nothing that can be done.
	ExitUsage = 2
	// ExitTimedOut means that --timeout passed.
	ExitTimedOut = 3
	// ExitDenied means that the person, or the authorization server, said no.
	ExitDenied = 4
)

// ExitError is an error with the exit code that it ends with.
type ExitError struct {
	Code int
	Err  error
}

// Error is the sentence for a person.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Exit gives an error made from a format an exit code.
func Exit(code int, format string, arguments ...any) error {
	return &ExitError{Code: code, Err: fmt.Errorf(format, arguments...)}
}

// ExitCode is what the process ends with: 0 without an error, ExitFailed for one that names no code.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return ExitReady
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitFailed
}

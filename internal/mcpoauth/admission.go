package mcpoauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// errNotAdmitted is in the error of a request that WithAdmission kept back.
var errNotAdmitted = errors.New("the request was not admitted")

type admissionKey struct{}

// WithAdmission returns a context whose requests are sent only if admit says so of their URL; it is asked before each,
// for what a chain of requests leads to is known on the way only. One that is kept back ends its chain with Busy.
func WithAdmission(ctx context.Context, admit func(rawURL string) bool) context.Context {
	return context.WithValue(ctx, admissionKey{}, admit)
}

func admitted(ctx context.Context, u *url.URL) bool {
	admit, is := ctx.Value(admissionKey{}).(func(string) bool)
	return !is || admit(u.String())
}

func busy(what string, u *url.URL) *Error {
	return &Error{
		Kind: Transient, Code: Busy, Outcome: NotSent,
		Message: fmt.Sprintf("%s %s waits: as many requests to its host as may be are under way", what, showURL(u)),
	}
}

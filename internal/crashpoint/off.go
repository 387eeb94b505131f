//go:build !faults

package crashpoint

import "context"

// Reached does nothing.
func Reached(Point) {}

// WhenSent returns ctx.
func WhenSent(ctx context.Context) context.Context { return ctx }

//go:build !faults

package crashpoint

import "context"

// Hit does nothing.
func Hit(Point) {}

// WithAfterSend returns ctx.
func WithAfterSend(ctx context.Context) context.Context { return ctx }

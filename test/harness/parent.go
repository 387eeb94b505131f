package harness

import (
	"context"
	"os"
	"time"
)

// WatchParent calls gone when the process that started this one is gone: "go run" that is
// terminated does not pass that on.
func WatchParent(ctx context.Context, gone func()) {
	parent := os.Getppid()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if os.Getppid() != parent {
				gone()
				return
			}
		}
	}
}

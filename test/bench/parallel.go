package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// parallel calls f for every number below n, width at a time, until one fails, and returns the errors, at most a few.
func parallel(ctx context.Context, n, width int, f func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var next atomic.Int64
	var mu sync.Mutex
	var errs []error
	var wait sync.WaitGroup
	for range min(width, n) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					stop()
				}
			}
		})
	}
	wait.Wait()
	if len(errs) > 0 {
		return errors.Join(errs[:min(3, len(errs))]...)
	}
	return ctx.Err()
}

// spread describes durations in milliseconds.
type spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func spreadOf(durations []time.Duration) spread {
	if len(durations) == 0 {
		return spread{}
	}
	slices.Sort(durations)
	at := func(share float64) float64 {
		i := min(len(durations)-1, int(share*float64(len(durations))))
		return float64(durations[i].Microseconds()) / 1000
	}
	return spread{P50: at(0.5), P99: at(0.99), Max: at(1)}
}

package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/lifecycle"
)

func TestAClaimDoesNotOutliveWhatItIsFor(t *testing.T) {
	if claims.TakeoverAfter >= finalizeWithin || claims.TakeoverAfter >= lifecycle.CodeLifetime ||
		claims.ResponseTimeout >= discoverTimeout {
		t.Error("a claim outlives what it is for")
	}
}

func TestASpendIsNeitherBegunAfterAStopNorEndedByOne(t *testing.T) {
	r := &Reconciler{}
	ctx, stop := context.WithCancel(context.Background())
	wanted := errors.New("wanted")
	err := r.spend(ctx, &work{State: &lifecycle.State{}}, func(inner context.Context) error {
		stop()
		if inner.Err() != nil {
			t.Error("the stop ended a spend halfway")
		}
		if r.Drain(0) {
			t.Error("an answer is not saved, and nobody waits for it")
		}
		return wanted
	})
	if !errors.Is(err, wanted) || !r.Drain(time.Minute) {
		t.Errorf("it ended with %v", err)
	}
	err = r.spend(ctx, &work{State: &lifecycle.State{}}, func(context.Context) error {
		t.Error("a spend began after the stop")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestAPanicInASpendReachesItsReconcile(t *testing.T) {
	r := &Reconciler{}
	defer func() {
		if p, is := recover().(string); !is || !strings.Contains(p, "boom") {
			t.Errorf("it ended with %v", p)
		}
		if !r.Drain(time.Minute) {
			t.Error("a stop would wait for it")
		}
	}()
	_ = r.spend(t.Context(), &work{State: &lifecycle.State{}}, func(context.Context) error { panic("boom") })
}

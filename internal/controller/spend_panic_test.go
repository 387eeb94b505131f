package controller

import (
	"context"
	"strings"
	"testing"
	"time"
)

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
	_ = r.spend(t.Context(), &work{observed: &observed{}}, func(context.Context) error { panic("boom") })
}

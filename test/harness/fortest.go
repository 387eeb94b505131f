package harness

import (
	"context"
	"testing"
)

// StartForTest starts a control plane and the operator, until the test ends.
func StartForTest(ctx context.Context, t testing.TB) (*ControlPlane, *Operator) {
	t.Helper()
	plane, err := StartControlPlane(ctx, ControlPlaneOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	operator, err := StartOperator(ctx, plane)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := operator.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane, operator
}

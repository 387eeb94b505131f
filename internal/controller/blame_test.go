package controller

import (
	"testing"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestARefusalOfAnotherKindDoesNotTakeAGrantBack(t *testing.T) {
	o := given(granted(isSetAside, func(g *credential.Grant) { g.SetAside.Retried = true }), published)
	r := &Reconciler{Clock: clocktesting.NewFakePassiveClock(epoch)}
	for _, e := range []struct {
		status int
		code   string
	}{{400, "invalid_request"}, {500, ""}} {
		err := refusing(e.status, e.code)
		r.blame(o.stored(), o.grant(), &err)
		if o.grant().SetAside == nil {
			t.Errorf("a %d took it back", e.status)
		}
	}
}

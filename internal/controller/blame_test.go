package controller

import (
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestARefusalOfAnotherKindDoesNotTakeAGrantBack(t *testing.T) {
	o := given(granted(isSetAside, func(g *credential.Grant) { g.SetAside.Retried = true }), published)
	for _, e := range []struct {
		status int
		code   string
	}{{400, "invalid_request"}, {500, ""}} {
		err := refusing(e.status, e.code)
		blame(epoch, o.stored(), o.grant(), &err)
		if o.grant().SetAside == nil {
			t.Errorf("a %d took it back", e.status)
		}
	}
}

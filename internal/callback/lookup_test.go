package callback

import (
	"context"
	"net/http"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// behind is a cache that has heard of nothing yet.
type behind struct{}

func (behind) Lookup(context.Context, types.UID) (Meta, bool, error) { return Meta{}, false, nil }

// counted is a Lookup that counts.
type counted struct {
	of Lookup
	n  int
}

func (c *counted) Lookup(ctx context.Context, uid types.UID) (Meta, bool, error) {
	c.n++
	return c.of.Lookup(ctx, uid)
}

// TestALinkWorksThoughTheCacheHasNotHeardOfIt: status shows it as soon as it is stored, and another replica's cache may be late.
func TestALinkWorksThoughTheCacheHasNotHeardOfIt(t *testing.T) {
	f := newFixture(t, func(o *Options, _ *v1alpha1.MCPConnection, _ *credential.Offer) { o.Secrets = behind{} })
	b := f.browser()
	expect(f, b.open(), http.StatusOK, "files")
	if w := b.answer(b.begin(), "code", "code"); w.Code != http.StatusSeeOther {
		t.Errorf("the answer is met with %d", w.Code)
	}
}

func TestTicketsThatStrangersMakeUpCostFewCalls(t *testing.T) {
	f := newFixture(t, func(o *Options, _ *v1alpha1.MCPConnection, _ *credential.Offer) { o.Secrets = behind{} })
	live := &counted{of: f.server.o.Live}
	f.server.o.Live = live
	f.server.perAddress = newLimits(addressRate, 10*unknownBurst)
	b, made := f.browser(), credential.NewTicket("00000000-0000-4000-8000-000000000000")
	for range unknownBurst {
		expect(f, b.get("/connect/"+made), http.StatusNotFound)
	}
	for range unknownBurst {
		expect(f, b.get("/connect/"+made), http.StatusTooManyRequests, "tries again by itself")
	}
	if live.n != unknownBurst {
		t.Errorf("%d calls, want %d", live.n, unknownBurst)
	}
	f.now = f.now.Add(time.Second)
	expect(f, b.open(), http.StatusOK)
	f.server.o.Secrets = NewLookup(f.client, operatorNamespace) // what the cache knows costs none of them
	for range 2 * unknownBurst {
		expect(f, b.open(), http.StatusOK)
		f.now = f.now.Add(time.Second / connectionRate)
	}
	if live.n != unknownBurst+1 {
		t.Errorf("%d calls, want %d", live.n, unknownBurst+1)
	}
}

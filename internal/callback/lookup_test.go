package callback

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

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

var _ = Describe("A cache that has heard of nothing", func() {
	late := func(o *Options, _ *credential.Offer) { o.Secrets = behind{} }

	// Status shows a link as soon as it is stored, and another replica's cache may be late.
	It("keeps no link from working", func() {
		f := newFixture(late)
		b := f.browser()
		expect(f, b.open(), http.StatusOK, "files")
		expect(f, b.answer(b.begin(), "code", "code"), http.StatusSeeOther)
	})

	It("costs few calls for tickets that strangers make up", Label("security"), func() {
		f := newFixture(late)
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
		Expect(live.n).To(Equal(unknownBurst))
		f.now = f.now.Add(time.Second)
		expect(f, b.open(), http.StatusOK)
		f.server.o.Secrets = NewLookup(f.client, operatorNamespace) // what the cache knows costs none of them
		for range 2 * unknownBurst {
			expect(f, b.open(), http.StatusOK)
			f.now = f.now.Add(time.Second / connectionRate)
		}
		Expect(live.n).To(Equal(unknownBurst + 1))
	})
})

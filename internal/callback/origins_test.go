package callback

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		// every so many requests come from somebody else; 0: none.
		others  int
		largest string
		said    bool
	}{
		"one address alone is named":                  {0, "10.0.0.1", true},
		"one address with few others beside is named": {20, "10.0.0.1", true},
		"one address among others is not":             {10, "10.0.0.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			for i := range 3 * originWindow {
				client := "10.0.0.1"
				if c.others > 0 && i%c.others == c.others-1 {
					client = fmt.Sprintf("192.0.2.%d", i%250)
				}
				f.server.countOrigin(netip.MustParseAddr(client))
			}
			want := 0
			if c.said {
				want = 1
			}
			if n := strings.Count(f.logs.String(), "--trusted-proxy-cidrs"); n != want ||
				(c.said && !strings.Contains(f.logs.String(), `"client"="`+c.largest+`"`)) {
				t.Errorf("said %d times, want %d:\n%s", n, want, f.logs.String())
			}
		})
	}
}

func TestAWindowOfOriginsIsForgottenWhenItIsComplete(t *testing.T) {
	var o origins
	for window, addresses := range []int{1, originWindow, 4} {
		for i := range originWindow {
			_, share, complete := o.count(fmt.Sprint(window, i%addresses))
			if complete != (i == originWindow-1) || (complete && share != 1/float64(addresses)) {
				t.Fatalf("window %d, request %d: share %v, complete %t", window, i, share, complete)
			}
		}
	}
}

func TestAProxyThatIsNamedIsNotTheOrigin(t *testing.T) {
	f := newFake(t, func(o *Options, _ *credential.Offer) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	b := f.browser()
	b.from = "10.0.0.1:1"
	for i := range originWindow {
		b.get("/", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i%200))
	}
	if strings.Contains(f.logs.String(), "nearly all requests") {
		t.Error("a proxy that is named is taken for a client")
	}
}

// It may be one stranger after all.
func TestOneAddressOfNearlyAllRequestsIsLimitedAsBefore(t *testing.T) {
	f := newFake(t)
	b := f.browser()
	b.from = "10.0.0.1:1"
	for range 2 * originWindow {
		b.get("/")
	}
	expect(f, b.get("/"), http.StatusTooManyRequests)
	if !strings.Contains(f.logs.String(), "nearly all requests") {
		t.Error("nothing is said")
	}
}

func TestRefusalsCloseTheConnectionsOfStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		from, target string
		status       int
		closed       bool
	}{
		"a page that there is not":             {"192.0.2.1:1", "/nonsense", http.StatusNotFound, true},
		"an answer without a state":            {"192.0.2.1:1", "/oauth/callback", http.StatusBadRequest, true},
		"a query without end":                  {"192.0.2.1:1", "/?" + longText, http.StatusRequestURITooLong, true},
		"a page of a private address":          {"10.0.0.1:1", "/nonsense", http.StatusNotFound, true},
		"a page through a proxy of ours":       {"203.0.113.1:1", "/nonsense", http.StatusNotFound, false},
		"a page through a proxy that names us": {"198.51.100.7:1", "/nonsense", http.StatusNotFound, false},
		"a document":                           {"192.0.2.1:1", documents[0], http.StatusOK, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, behindProxy, func(o *Options, _ *credential.Offer) {
				o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			})
			b := f.browser()
			b.from = c.from
			w := b.get(c.target)
			expect(f, w, c.status)
			if got := w.Header().Get("Connection") == "close"; got != c.closed {
				t.Errorf("closed: %t, want %t", got, c.closed)
			}
		})
	}
}

func TestAFloodOfPagesTakesNoDocumentFromAnybody(t *testing.T) {
	f := newFake(t)
	f.sign()
	b := f.browser()
	_, w := b.flood("/")
	if w.Header().Get("Connection") != "close" {
		t.Error("a flood keeps its connection")
	}
	for _, path := range documents {
		expect(f, b.get(path), http.StatusOK)
	}
	for range readerBurst {
		b.get(documents[0])
	}
	expect(f, b.get(documents[0]), http.StatusTooManyRequests)
}

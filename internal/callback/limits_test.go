package callback

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/credential"
)

// flood makes requests until one is answered 429, and returns how many were let through.
func (b *browser) flood(target string) (int, *httptest.ResponseRecorder) {
	b.f.Helper()
	for n := range 2 * (addressBurst + connectionBurst) {
		if w := b.get(target); w.Code == http.StatusTooManyRequests {
			return n, w
		}
	}
	b.f.Fatal("a flood is let through")
	return 0, nil
}

// elsewhere makes an address that shares no bucket with another one.
func (f *fixture) elsewhere(address, format string) string {
	f.Helper()
	l := f.server.perAddress
	for i := range 9 {
		other := fmt.Sprintf(format, i+2)
		if l.bucket(addressKey(netip.MustParseAddr(other))) != l.bucket(addressKey(netip.MustParseAddr(address))) {
			return other
		}
	}
	f.Fatal("all addresses share one bucket")
	return ""
}

func TestOneAddressIsLimitedAndComesBackInTime(t *testing.T) {
	f := newFake(t)
	b := f.browser()
	reads := f.reads.Load()
	n, w := b.flood("/connect/hello")
	expect(f, w, http.StatusTooManyRequests, "tries again by itself", `http-equiv="refresh"`)
	after, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if n != addressBurst || err != nil || after < 1 {
		t.Fatalf("%d requests were let through, want %d; Retry-After %q", n, addressBurst, w.Header().Get("Retry-After"))
	}
	f.unchanged(func() {
		for range addressBurst { // asking on does not make the wait longer
			expect(f, b.open(), http.StatusTooManyRequests)
		}
		expect(f, b.do(http.MethodPost, "/connect/"+f.ticket, ""), http.StatusTooManyRequests)
		expect(f, b.get("/oauth/callback?state=x&code=c"), http.StatusTooManyRequests)
	})
	if f.reads.Load() != reads+2 { // those of unchanged
		t.Error("a request that was turned away cost a call to the API server")
	}
	other := f.browser()
	other.from = f.elsewhere("192.0.2.1", "192.0.2.%d") + ":1"
	expect(f, other.open(), http.StatusOK)
	f.now = f.now.Add(time.Duration(after) * time.Second)
	expect(f, b.open(), http.StatusOK)
}

func TestAnAnswerTurnedAwayIsNotLost(t *testing.T) {
	f := newFake(t)
	b := f.browser()
	state := b.begin()
	b.flood("/")
	expect(f, b.answer(state, "code", "c"), http.StatusTooManyRequests)
	f.now = f.now.Add(time.Second)
	expect(f, b.answer(state, "code", "c"), http.StatusSeeOther)
}

func TestAnIPv6NetworkIsOneClient(t *testing.T) {
	f := newFake(t)
	b := f.browser()
	for i := range addressBurst {
		b.from = fmt.Sprintf("[2001:db8:1:2::%x]:1", i+1)
		expect(f, b.get("/"), http.StatusNotFound)
	}
	b.from = "[2001:db8:1:2:ffff::1]:1"
	expect(f, b.get("/"), http.StatusTooManyRequests)
	b.from = "[" + f.elsewhere("2001:db8:1:2::", "2001:db8:2:%d::1") + "]:1"
	expect(f, b.get("/"), http.StatusNotFound)
}

func TestOneConnectionIsLimitedWhoeverAsks(t *testing.T) {
	f := newFake(t)
	for i := range connectionBurst {
		b := f.browser()
		b.from = fmt.Sprintf("192.0.2.%d:1", i%200)
		expect(f, b.get("/connect/"+credential.NewTicket(f.uid)), http.StatusNotFound)
	}
	b := f.browser()
	b.from = "203.0.113.9:1"
	reads := f.reads.Load()
	w := b.open()
	expect(f, w, http.StatusTooManyRequests)
	if w.Header().Get("Retry-After") != "1" || f.reads.Load() != reads {
		t.Errorf("Retry-After %q, %d reads", w.Header().Get("Retry-After"), f.reads.Load()-reads)
	}
	expect(f, b.get("/oauth/client-metadata.json"), http.StatusOK)
	f.now = f.now.Add(time.Second)
	expect(f, b.open(), http.StatusOK)
}

func TestOneAddressCannotUseUpAConnectionsShare(t *testing.T) {
	f := newFake(t)
	stranger, person := f.browser(), f.browser()
	person.from = f.elsewhere("192.0.2.1", "192.0.2.%d") + ":1"
	turnedAway := 0
	for second := range 60 {
		for range 2 * connectionBurst {
			if stranger.get("/connect/"+credential.NewTicket(f.uid)).Code == http.StatusTooManyRequests {
				turnedAway++
			}
		}
		if w := person.open(); w.Code != http.StatusOK {
			t.Fatalf("after %d seconds of a stranger's flood the person is answered %d", second, w.Code)
		}
		f.now = f.now.Add(time.Second)
	}
	if turnedAway == 0 {
		t.Error("the flood was let through")
	}
}

func TestAClientIsTheLastAddressThatIsNoProxyOfOurs(t *testing.T) {
	trusted := func(o *Options, _ *credential.Offer) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		o.UserHeader, o.UserProxies = userHeader, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	}
	s := newFake(t, trusted).server
	for name, c := range map[string]struct {
		from      string
		forwarded []string
		want      string
	}{
		"a stranger's claim is not believed":           {"192.0.2.1:9", []string{"203.0.113.1"}, "192.0.2.1"},
		"a proxy is believed":                          {"10.1.1.1:9", []string{"203.0.113.1"}, "203.0.113.1"},
		"an authenticating proxy is believed":          {"198.51.100.7:9", []string{"203.0.113.1"}, "203.0.113.1"},
		"a chain of proxies":                           {"198.51.100.7:9", []string{"203.0.113.1, 10.2.2.2"}, "203.0.113.1"},
		"what the client wrote itself is not believed": {"10.1.1.1:9", []string{"127.0.0.1, 203.0.113.1"}, "203.0.113.1"},
		"nor in a header of its own":                   {"10.1.1.1:9", []string{"127.0.0.1", "203.0.113.1"}, "203.0.113.1"},
		"a client that calls itself a proxy": {"10.1.1.1:9", []string{"1.1.1.1, 10.9.9.9, 203.0.113.1"},
			"203.0.113.1"},
		"proxies all the way":      {"10.1.1.1:9", []string{"10.2.2.2,10.3.3.3"}, "10.2.2.2"},
		"no header":                {"10.1.1.1:9", nil, "10.1.1.1"},
		"nonsense ends the search": {"10.1.1.1:9", []string{"203.0.113.1, unknown"}, "10.1.1.1"},
		"markup ends the search":   {"10.1.1.1:9", []string{"203.0.113.1, <script>"}, "10.1.1.1"},
		"a port":                   {"10.1.1.1:9", []string{"203.0.113.1:4711"}, "203.0.113.1"},
		"IPv6":                     {"[fd00::1]:9", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 in brackets":         {"[fd00::1]:9", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		"IPv4 in IPv6 is IPv4":     {"[::ffff:10.1.1.1]:9", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		"a zone is dropped":        {"[fe80::1%eth0]:9", nil, "fe80::1"},
		"Forwarded and X-Real-IP are nobody's business":  {"192.0.2.1:9", nil, "192.0.2.1"},
		"an address that cannot be read is nobody's own": {"@", []string{"203.0.113.1"}, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = c.from
			r.Header["X-Forwarded-For"] = c.forwarded
			r.Header.Set("Forwarded", "for=127.0.0.1")
			r.Header.Set("X-Real-IP", "127.0.0.1")
			if got := s.clientAddress(r).String(); got != c.want {
				t.Errorf("client %s, want %s", got, c.want)
			}
		})
	}
}

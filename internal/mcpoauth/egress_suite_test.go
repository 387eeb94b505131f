package mcpoauth

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The egress suite: addresses and tricks by which a tenant, a server or a name could make the operator call what it
// must not. Every one goes through the public API and the real dialer.

// closedWorld allows what an administrator of a cluster would, and denies its API server.
func closedWorld(resolver Resolver) *Client {
	return NewClient(Options{
		AllowInsecureHTTP: true, Now: time.Now, Timeout: 20 * time.Second, Resolver: resolver,
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("169.254.0.0/16"),
			netip.MustParsePrefix("100.64.0.0/10")},
		DenyAddrs: []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443"), netip.MustParseAddrPort("[fd00:96::1]:443")},
	})
}

// alwaysRefused are hosts that no allow-list opens.
var alwaysRefused = map[string][]string{
	"metadata services of clouds": {
		"169.254.169.254", "169.254.169.252", "169.254.169.253", "169.254.170.2", "169.254.170.23", "169.254.0.23",
		"169.254.42.42", "100.100.100.200", "168.63.129.16",
		"192.0.0.192", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd00:ec2::253]", "[fd20:ce::254]", "[fd00:42::42]",
		"[fd00:c1::a9fe:a9fe]", "[fe80::a9fe:a9fe%25eth0]",
	},
	"metadata services within an IPv6 address": {
		"[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[::ffff:0:169.254.169.254]",
		"[64:ff9b::169.254.169.254]", "[64:ff9b:1::169.254.169.254]",
		"[64:ff9b:1:a9fe:a9:fe00::]", "[2002:a9fe:a9fe::1]", "[2001:0:1:2:3:4:5601:5601]", "[2001:0:a9fe:a9fe::]",
		"[fd00::5efe:169.254.169.254]", "[fd00::200:5efe:169.254.169.254]",
	},
	"the API server": {
		"10.96.0.1", "[::ffff:10.96.0.1]", "[::ffff:a60:1]", "[fd00:96::1]", "[fd00:96:0:0::0001]", "[fd00:96::1%25lo]",
		"[64:ff9b::10.96.0.1]", "kubernetes.default.svc", "KUBERNETES.default.svc.cluster.local.",
	},
	"loopback, from elsewhere": {
		"127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"[::1%25lo]", "localhost", "localhost.", "loopback.example",
	},
	"what Linux connects to loopback": {"0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "zero.example"},
	"numbers that are addresses elsewhere": {
		"2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.0x0.0x0.0x1", "127.1", "127.0.1", "127.0.0.1.",
		"0251.0376.0251.0376", "2852039166", "0xA9FEA9FE", "169.254.43518",
		"8.8.8.010", "256.256.256.256", "1.1.1.1.1",
	},
	"addresses in other letters": {"１６９.254.169.254", "169。254。169。254", "①②⑦.0.0.1", "ⅼocalhost"},
}

// refusedByDefault are hosts that only an allow-list opens; none of these is in that of closedWorld.
var refusedByDefault = []string{
	"192.168.0.1", "172.16.0.1", "172.31.255.254", "0.1.2.3", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
	"198.19.255.255", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "[::ffff:192.168.0.1]", "[::8.8.8.8]",
	"[::ffff:0:8.8.8.8]", "[64:ff9b::c0a8:1]", "[64:ff9b:1::8.8.8.8]", "[2002:c0a8:1::1]",
	"[2001:0:808:808::1]", "[2001:2::1]", "[2001:db8::1]", "[3fff::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "[100::1]",
	"[5f00::1]", "[4000::1]", "[2606:4700::5efe:192.168.0.1]", "router.example",
}

func TestEgressSuite(t *testing.T) {
	resolver := fakeResolver{
		"kubernetes.default.svc": {"10.96.0.1"}, "kubernetes.default.svc.cluster.local.": {"fd00:96::1"},
		"KUBERNETES.default.svc.cluster.local.": {"fd00:96::1"},
		"localhost":                             {"127.0.0.1", "::1"}, "localhost.": {"127.0.0.1"},
		"loopback.example": {"127.0.0.1"}, "zero.example": {"0.0.0.0"},
		"router.example": {"192.168.0.1", "::ffff:192.168.0.1"},
	}
	c := closedWorld(resolver).For("https://mcp.example.com/mcp")
	refuse := func(host, want string) {
		t.Run(host, func(t *testing.T) {
			_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://" + host + "/mcp?hunter2"})
			checkHostile(t, err, Misconfigured, EgressDenied, want)
			e := hostileError(t, refreshAt(t, c, "https://"+host+"/token?hunter2"), Misconfigured, EgressDenied, want)
			if e.Outcome != NotSent {
				t.Errorf("outcome %v", e.Outcome)
			}
		})
	}
	for _, hosts := range alwaysRefused {
		for _, host := range hosts {
			refuse(host, "never called")
		}
	}
	for _, host := range refusedByDefault {
		refuse(host, "--egress-allow-cidrs")
	}
}

func TestWhatIsNoHostIsNoURL(t *testing.T) {
	c := closedWorld(fakeResolver{})
	for _, host := range []string{"", ".", "..", "a..b", ".a", "a b", "[::1", "::1", "[fe80::1%eth0]", "a%00b", "a%2eb",
		"a\\b", "user@a", "a:0", "a:65536", "a:-1", "a,b", "evil.c℀.example", "a\u00adb:0"} {
		_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://" + host + ":443/mcp"})
		if e := AsError(err); e == nil || e.Kind == Rejected || e.Code == "" {
			t.Errorf("%q: %v", host, err)
		} else if e.Code != InsecureURL {
			t.Errorf("%q got as far as %v: %s", host, e.Code, e.Message)
		}
	}
}

// rebinding answers a name with a public address first, then with another.
type rebinding struct {
	first, later string
	asked        atomic.Int32
}

func (r *rebinding) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	if r.asked.Add(1) == 1 {
		return []netip.Addr{netip.MustParseAddr(r.first)}, nil
	}
	return []netip.Addr{netip.MustParseAddr(r.later)}, nil
}

func TestANameThatChangesItsMindGainsNothing(t *testing.T) {
	var reached atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer victim.Close()
	_, port, _ := net.SplitHostPort(victim.Listener.Addr().String())
	// The first answer is checked and dialled as it is: nothing listens there, and the name is not asked again.
	d := &dialer{rules: egress{}, resolver: &rebinding{first: "10.0.0.1", later: "127.0.0.1"}}
	for range 3 {
		if conn, err := d.DialContext(t.Context(), "tcp", "rebinding.example:"+port); err == nil {
			_ = conn.Close()
			t.Error("connected")
		}
	}
	c := closedWorld(&rebinding{first: "192.168.0.1", later: "127.0.0.1"}).For("https://mcp.example.com/")
	for range 3 {
		wantError(t, refreshAt(t, c, "http://rebinding.example:"+port+"/token"), Misconfigured, EgressDenied)
	}
	if reached.Load() != 0 {
		t.Error("the victim was called")
	}
}

func TestEveryHopIsCheckedAtTheSocket(t *testing.T) {
	var reached atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer victim.Close()
	target, _ := url.Parse(victim.URL)
	for _, location := range []string{
		"https://inside.example:" + target.Port() + "/", "https://169.254.169.254/", "https://[::ffff:169.254.169.254]/",
		"https://2130706433:" + target.Port() + "/", "https://10.96.0.1/",
	} {
		w := newWorld(t, hostileResource, redirect("/hop"))
		w.answers["/hop"] = redirect("/hop/again")
		w.answers["/hop/again"] = redirect(location)
		c := w.client(func(o *Options) {
			o.AllowCIDRs = append(o.AllowCIDRs, netip.MustParsePrefix("10.0.0.0/8"))
			o.DenyAddrs = []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443"),
				netip.MustParseAddrPort("127.0.0.1:" + target.Port())}
			o.Resolver = fakeResolver{"inside.example": {"127.0.0.1"}}
		})
		_, err := w.discover(t, c)
		checkHostile(t, err, Misconfigured, EgressDenied, "never called")
	}
	if reached.Load() != 0 {
		t.Error("the victim was called")
	}
}

func TestAnAddressThatIsRefusedDoesNotHideOneThatIsNot(t *testing.T) {
	backend := httptest.NewServer(body(200, asJSON, `{"access_token":"a"}`))
	defer backend.Close()
	_, port, _ := net.SplitHostPort(backend.Listener.Addr().String())
	c := closedWorld(fakeResolver{"mixed.example": {"169.254.169.254", "192.168.0.1", "127.0.0.1"}}).For(
		"http://localhost/mcp")
	if err := refreshAt(t, c, "http://mixed.example:"+port+"/token"); err != nil {
		t.Error(err)
	}
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	var reached atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	wantError(t, refreshAt(t, closedWorld(fakeResolver{}), "http://as.example/token"), Transient, TokenRequestFailing, "")
	if reached.Load() != 0 {
		t.Error("the proxy was asked")
	}
}

func TestTheMessageTellsNoAddressThatANameHas(t *testing.T) {
	c := closedWorld(fakeResolver{"router.example": {"192.168.17.42"}})
	_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://router.example/mcp"})
	if e := hostileError(t, err, Misconfigured, EgressDenied, "router.example"); strings.Contains(e.Message, "192.168") {
		t.Error(e.Message)
	}
}

func TestHostsHaveOneSpelling(t *testing.T) {
	for want, spellings := range map[string][]string{
		"as.example:443": {"https://as.example", "HTTPS://AS.Example:/x", "https://as.example.:0443/y?z",
			"https://ａｓ.example"},
		"as.example:80":             {"http://as.example", "http://AS.EXAMPLE.:80"},
		"as.example:8443":           {"https://as.example:8443", "https://as.example:08443"},
		"[fd00::1]:443":             {"https://[fd00::1]", "https://[FD00:0::0001%25eth0]:443"},
		"127.0.0.1:443":             {"https://127.0.0.1", "https://[::ffff:7f00:1]"},
		"xn--bcher-kva.example:443": {"https://bücher.example", "https://BÜCHER.example", "https://xn--bcher-kva.example"},
		"%zz":                       {"%zz"},
	} {
		if i := slices.IndexFunc(spellings, func(s string) bool { return Host(s) != want }); i >= 0 {
			t.Errorf("%s is %s, want %s", spellings[i], Host(spellings[i]), want)
		}
	}
}

package mcpoauth

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPortsOfKubernetesWantToBeNamed(t *testing.T) {
	rules := egress{
		allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		ports: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.5:6443"), netip.MustParseAddrPort("192.168.1.1:8443")},
	}
	for target, ok := range map[string]bool{
		"10.0.0.4:443": true, "10.0.0.4:8443": true, // of the range
		"10.0.0.4:6443": false, "10.0.0.4:10250": false, "10.0.0.4:2379": false, "10.0.0.4:2380": false,
		"[::ffff:10.0.0.4]:6443": false, "[64:ff9b::10.0.0.4]:10250": false,
		"10.0.0.5:6443": true, "[::ffff:10.0.0.5]:6443": true, "10.0.0.5:10250": false, // named
		"192.168.1.1:8443": true, "192.168.1.1:443": false, "192.168.1.2:8443": false, // named without a range
		"8.8.8.8:6443": true, // a public server may listen where it likes
	} {
		denied := rules.check(netip.MustParseAddrPort(target))
		if (denied == nil) != ok {
			t.Errorf("%s: %v", target, denied)
		}
		if strings.HasPrefix(target, "10.0.0.4:6") && !strings.Contains(denied.of(&url.URL{Host: target}), "with the port") {
			t.Errorf("%s: %s", target, denied.of(&url.URL{Host: target}))
		}
	}
}

func TestWhereTheAPIServerListensWantsToBeNamed(t *testing.T) {
	listens := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.7:8443"), netip.MustParseAddrPort("[fd00::7]:8443"),
		netip.MustParseAddrPort("8.8.4.4:443"), netip.MustParseAddrPort("10.0.0.8:8443")}
	rules := egress{
		allow:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		ports:   []netip.AddrPort{netip.MustParseAddrPort("10.0.0.8:8443")},
		cluster: func() []netip.AddrPort { return listens },
	}
	for target, ok := range map[string]bool{
		"10.0.0.7:8443": false, "[::ffff:10.0.0.7]:8443": false, "[64:ff9b::10.0.0.7]:8443": false, "[fd00::7]:8443": false,
		"8.8.4.4:443":  false,
		"10.0.0.7:443": true, "10.0.0.6:8443": true, "[fd00::6]:8443": true, "8.8.8.8:443": true, // its neighbours
		"10.0.0.8:8443": true, // named
	} {
		denied := rules.check(netip.MustParseAddrPort(target))
		if (denied == nil) != ok {
			t.Errorf("%s: %v", target, denied)
		}
		if denied != nil && !strings.Contains(denied.of(&url.URL{Host: target}), "add the address with the port") {
			t.Errorf("%s: %s", target, denied.of(&url.URL{Host: target}))
		}
	}
	listens = nil
	if denied := rules.check(netip.MustParseAddrPort("10.0.0.7:8443")); denied != nil {
		t.Error("where it listens is asked once only:", denied)
	}
}

func TestEgressRules(t *testing.T) {
	prefixes := func(all ...string) (out []netip.Prefix) {
		for _, p := range all {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	closed := egress{}
	everything := egress{allow: prefixes("0.0.0.0/0", "::/0"),
		deny: []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443")}}
	loopback := egress{allow: prefixes("127.0.0.0/8", "::1/128"), loopback: true}
	private := egress{allow: prefixes("10.1.0.0/16"), loopback: true}
	for _, tt := range []struct {
		name  string
		rules egress
		ok    bool
		addrs []string
	}{
		{"public addresses are allowed", closed, true, []string{
			"8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111",
			"2a00:1450::1",
			"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
		}},
		{"special addresses are refused", closed, false, []string{
			"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.1.1", "172.16.0.1",
			"172.31.255.255", "192.0.0.1", "192.0.2.1",
			"192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
			"239.1.1.1", "240.0.0.1", "255.255.255.255",
			"::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001::1", "2001:db8::1",
			"3fff::1", "100::1", "5f00::1", "4000::1", "::8.8.8.8", "::ffff:0:8.8.8.8",
		}},
		{"embedded addresses are unwrapped", closed, false, []string{
			"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::8.8.8.8",
			"2002:a00:1::1", "2002:7f00:1::", "2002:c0a8:101::",
		}},
		{"metadata addresses are refused always", everything, false, []string{
			"169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200", "::ffff:169.254.169.254",
			"64:ff9b::169.254.169.254",
			"64:ff9b:1::169.254.169.254", "64:ff9b:1:a9fe:a9:fe00::", "2002:a9fe:a9fe::1", "fd00:ec2::254%eth0",
		}},
		{"the API server, unspecified and loopback are refused always", everything, false, []string{
			"10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1", "0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1",
			"64:ff9b::127.0.0.1",
		}},
		{"allowed addresses are allowed", everything, true, []string{"10.0.0.1", "192.168.1.1", "fd12::1",
			"64:ff9b:1::10.0.0.1", "fe80::1"}},
		{"loopback is allowed where wanted and allowed", loopback, true, []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"}},
		{"nothing else is allowed with it", loopback, false, []string{"0.0.0.0", "10.0.0.1"}},
		{"loopback needs the allow-list", private, false, []string{"127.0.0.1", "::1"}},
		{"an allowed range also counts when embedded", private, true,
			[]string{"10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::"}},
		{"but not its neighbours", private, false, []string{"10.2.0.1", "64:ff9b::10.2.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, text := range tt.addrs {
				if denied := tt.rules.check(netip.AddrPortFrom(netip.MustParseAddr(text), 443)); (denied == nil) != tt.ok {
					t.Errorf("%s: %v", text, denied)
				}
			}
		})
	}
	if denied := everything.check(netip.MustParseAddrPort("10.96.0.1:8443")); denied != nil {
		t.Error("another port of the API server's address is another service:", denied)
	}
}

type fakeResolver map[string][]string

func (f fakeResolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, a := range f[host] {
		all = append(all, netip.MustParseAddr(a))
	}
	if all == nil {
		return nil, errors.New("unknown host")
	}
	return all, nil
}

func TestNamesAreCheckedByTheirAddresses(t *testing.T) {
	resolver := fakeResolver{
		"private.example":  {"10.0.0.1"},
		"metadata.example": {"169.254.169.254"},
		"mixed.example":    {"10.0.0.1", "fd00::1"},
		"loopback.example": {"127.0.0.1"},
	}
	c := NewClient(Options{Now: time.Now, Resolver: resolver, Timeout: 5 * time.Second})
	for host, help := range map[string]string{
		"private.example": "--egress-allow-cidrs", "mixed.example": "--egress-allow-cidrs",
		"metadata.example": "never", "loopback.example": "loopback", "10.0.0.1": "--egress-allow-cidrs",
		"[::ffff:10.0.0.1]": "--egress-allow-cidrs",
	} {
		_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://" + host + "/mcp?token=hunter2"})
		wantError(t, err, Misconfigured, EgressDenied, help, "host ")
	}
	_, err := c.Discover(t.Context(), DiscoveryRequest{ServerURL: "https://unknown.example/mcp"})
	wantError(t, err, Transient, ServerUnreachable)
}

func TestOneAllowedAddressIsEnough(t *testing.T) {
	d := &dialer{rules: egress{}, resolver: fakeResolver{"h": {"10.0.0.1"}}}
	_, err := d.DialContext(t.Context(), "tcp", "h:443")
	var denied *deniedError
	if !errors.As(err, &denied) || denied.never {
		t.Error(err)
	}
	// The socket itself is checked too, whatever the look-up said.
	if err := d.control("tcp4", "10.0.0.1:443", nil); !errors.As(err, &denied) {
		t.Error(err)
	}
	if err := d.control("tcp4", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
}

package mcpoauth

import (
	"net/netip"
	"slices"
)

// egress decides which addresses may be dialled. The zero value allows public addresses only.
type egress struct {
	allow []netip.Prefix
	// ports are addresses that may be dialled at one port each, those of Kubernetes' own included.
	ports []netip.AddrPort
	deny  []netip.AddrPort
	// cluster returns where the API server listens, which has to be named like the ports of Kubernetes; nil: that is not
	// known.
	cluster func() []netip.AddrPort
	// loopback permits loopback addresses that allow covers.
	loopback bool
}

// metadataAddrs hand out credentials of the machine to whoever asks; no setting opens them.
var metadataAddrs = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"),    // AWS, Azure, Google Cloud, OpenStack and others
	netip.MustParseAddr("169.254.169.252"),    // Google Kubernetes Engine
	netip.MustParseAddr("169.254.169.253"),    // AWS resolver
	netip.MustParseAddr("169.254.170.2"),      // AWS ECS task credentials
	netip.MustParseAddr("169.254.170.23"),     // AWS EKS Pod Identity
	netip.MustParseAddr("169.254.0.23"),       // Tencent Cloud
	netip.MustParseAddr("169.254.42.42"),      // Scaleway
	netip.MustParseAddr("100.100.100.200"),    // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"),      // Azure wire server
	netip.MustParseAddr("192.0.0.192"),        // Oracle Cloud
	netip.MustParseAddr("fd00:ec2::254"),      // AWS
	netip.MustParseAddr("fd00:ec2::23"),       // AWS EKS Pod Identity
	netip.MustParseAddr("fd00:ec2::253"),      // AWS resolver
	netip.MustParseAddr("fd20:ce::254"),       // Google Cloud
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle Cloud
	netip.MustParseAddr("fe80::a9fe:a9fe"),    // OpenStack
	netip.MustParseAddr("fd00:42::42"),        // Scaleway
}

// apiServer is a class of addresses by its owner.
const apiServer = "the Kubernetes API server's"

// clusterPorts are Kubernetes' own, on nodes and control planes: API server, kubelet and etcd. A range that is allowed
// may well hold them.
var clusterPorts = []uint16{6443, 10250, 2379, 2380}

// specialPrefixes are not public (IANA special-purpose address registries). IPv6 outside 2000::/3 needs no entry.
var specialPrefixes = []struct {
	prefix netip.Prefix
	name   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "a reserved"},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a private"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "a reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "a documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "a benchmarking"},
	{netip.MustParsePrefix("198.51.100.0/24"), "a documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "a documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved"},
	{netip.MustParsePrefix("::1/128"), "a loopback"},
	{netip.MustParsePrefix("fc00::/7"), "a private"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast"},
	{netip.MustParsePrefix("2001::/23"), "a reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "a documentation"},
	{netip.MustParsePrefix("3fff::/20"), "a documentation"},
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local    = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour     = netip.MustParsePrefix("2002::/16")
	teredo        = netip.MustParsePrefix("2001::/32")
	// compatible and translated addresses end in an IPv4 address (RFC 4291, section 2.5.5.1; RFC 2765, section 2.1).
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96")
)

// deniedError says why an address may not be dialled. It does not name the address: that would tell whoever may create
// a connection what internal names resolve to.
type deniedError struct {
	class string
	// never is true where no setting helps.
	never bool
	// port is true where a setting helps that names the port too.
	port bool
}

func (e *deniedError) Error() string { return "the address is " + e.class + " address" }

// faces are all the addresses that one may stand for: itself without a zone, and the IPv4 address within.
func faces(addr netip.Addr) []netip.Addr {
	addr = addr.Unmap().WithZone("")
	return append([]netip.Addr{addr}, embedded(addr)...)
}

// inside is true for an address that is not public and may be called because the allow-list says so.
func (e egress) inside(target netip.AddrPort) bool {
	return e.check(target) == nil && slices.ContainsFunc(faces(target.Addr()), func(face netip.Addr) bool {
		return special(face) != "" && e.allowed(netip.AddrPortFrom(face, target.Port()))
	})
}

// check returns nil if the address may be dialled. It is looked at in every form.
func (e egress) check(target netip.AddrPort) *deniedError {
	faces := faces(target.Addr())
	addr := faces[0]
	for _, face := range faces {
		if denied := e.never(netip.AddrPortFrom(face, target.Port())); denied != nil {
			return denied
		}
	}
	if e.allowed(netip.AddrPortFrom(addr, target.Port())) {
		return nil
	}
	for _, face := range faces {
		// The well-known NAT64 prefix and 6to4 are as public as what they embed.
		if face == addr && (nat64.Contains(addr) || sixToFour.Contains(addr)) {
			continue
		}
		target := netip.AddrPortFrom(face, target.Port())
		switch class := special(face); {
		case e.allowed(target):
		case class != "":
			return &deniedError{class: class, port: slices.Contains(clusterPorts, target.Port()) || e.servesCluster(target)}
		case e.servesCluster(target):
			return &deniedError{class: apiServer, port: true}
		}
	}
	return nil
}

// checkLiteral is check for a host that is an address, or localhost; other names have none by themselves.
func (e egress) checkLiteral(host string, port uint16) (denied *deniedError) {
	literals := []string{host}
	if host == "localhost" {
		literals = []string{"127.0.0.1", "::1"}
	}
	for _, literal := range literals {
		addr, err := netip.ParseAddr(literal)
		if err != nil {
			return nil
		}
		if denied = e.check(netip.AddrPortFrom(addr, port)); denied == nil {
			return nil
		}
	}
	return denied
}

// never holds the rules that no allow-list opens.
func (e egress) never(target netip.AddrPort) *deniedError {
	addr := target.Addr()
	switch {
	case slices.Contains(metadataAddrs, addr):
		return &deniedError{class: "a cloud metadata", never: true}
	case slices.ContainsFunc(e.deny, func(d netip.AddrPort) bool {
		return d.Addr().Unmap() == addr && d.Port() == target.Port()
	}):
		return &deniedError{class: apiServer, never: true}
	case addr.IsUnspecified():
		// Linux connects it to loopback.
		return &deniedError{class: "an unspecified", never: true}
	case addr.IsLoopback() && !e.loopback:
		return &deniedError{class: "a loopback", never: true}
	}
	return nil
}

// allowed reports whether the allow-list opens an address at a port. Where Kubernetes itself listens has to be named.
func (e egress) allowed(target netip.AddrPort) bool {
	if slices.Contains(e.ports, target) {
		return true
	}
	return !slices.Contains(clusterPorts, target.Port()) && !e.servesCluster(target) &&
		slices.ContainsFunc(e.allow, func(p netip.Prefix) bool { return p.Contains(target.Addr()) })
}

// servesCluster reports whether the API server is known to listen at an address and port.
func (e egress) servesCluster(target netip.AddrPort) bool {
	return e.cluster != nil && slices.Contains(e.cluster(), target)
}

// special returns what kind of address this is, empty for a public one.
func special(addr netip.Addr) string {
	for _, s := range specialPrefixes {
		if s.prefix.Contains(addr) {
			return s.name
		}
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return "a reserved"
	}
	return ""
}

// embedded returns the IPv4 addresses that an IPv6 address may stand for: IPv4-compatible, IPv4-translated, NAT64
// (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380) and ISATAP (RFC 5214) addresses. IPv4-mapped ones are unmapped before.
func embedded(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsUnspecified() || addr.IsLoopback() {
		return nil
	}
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:16]))
	switch {
	case nat64.Contains(addr), compatible.Contains(addr), translated.Contains(addr), isatap(b):
		return []netip.Addr{last}
	case nat64Local.Contains(addr):
		return localForms(b)
	case sixToFour.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:6]))}
	case teredo.Contains(addr):
		// The server, and the client with all bits turned over.
		return []netip.Addr{netip.AddrFrom4([4]byte(b[4:8])), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	}
	return nil
}

// isatap looks at the interface identifier; any prefix may come before it.
func isatap(b [16]byte) bool {
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// localForms are those within a NAT64 prefix of a site, which chooses the length (RFC 6052, section 2.2).
func localForms(b [16]byte) []netip.Addr {
	forms := []netip.Addr{
		netip.AddrFrom4([4]byte(b[12:16])),
		netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}),
		netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}),
		netip.AddrFrom4([4]byte{b[9], b[10], b[11], b[12]}),
	}
	// A form that is not in use reads as 0.0.0.0.
	return slices.DeleteFunc(forms, netip.Addr.IsUnspecified)
}

package callback

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peer is the other end of the TCP connection; the zero address if it has none.
func peer(r *http.Request) netip.Addr { return remoteAddress(r.RemoteAddr) }

// remoteAddress reads an address with a port; the zero address if it is none.
func remoteAddress(text string) netip.Addr {
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// clientAddress is the last address on the way here that is not a proxy of ours. What X-Forwarded-For says beyond it
// was written by strangers.
func (s *Server) clientAddress(r *http.Request) netip.Addr {
	addr := peer(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !s.proxy(addr) {
			return addr
		}
		next, ok := hopAddress(strings.TrimSpace(hop))
		if !ok {
			return addr
		}
		addr = next
	}
	return addr
}

// proxy reports whether an address is a proxy of ours.
func (s *Server) proxy(addr netip.Addr) bool {
	return within(s.o.TrustedProxies, addr) || within(s.o.UserProxies, addr)
}

// hopAddress reads one entry of X-Forwarded-For, to which some proxies add a port.
func hopAddress(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

func within(ranges []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(addr) })
}

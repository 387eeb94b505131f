package mcpoauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// dialTimeout of one connection with all its addresses, and of one TLS handshake.
	dialTimeout = 10 * time.Second
	// minAddressTimeout keeps one silent address from using up the time of the others, and the others from having none.
	minAddressTimeout = 2 * time.Second
)

// dialer opens connections to addresses that the rules allow. Names are resolved here and the address itself is checked
// again on the socket, so a name that changes its mind between look-up and dial gains nothing.
type dialer struct {
	rules    egress
	resolver Resolver
	// proxy to public hosts; nil: none.
	proxy *proxy
}

// DialContext has the signature of net.Dialer.DialContext. A refused address is a *deniedError, unless the host has
// another that works or fails in its own way.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, port, err := splitAddress(address)
	if err != nil {
		return nil, err
	}
	if d.proxy != nil {
		return d.dialOut(ctx, network, host, port)
	}
	targets, err := d.resolve(ctx, host, port)
	if err != nil {
		return nil, err
	}
	allowed, denied := d.sift(targets)
	switch {
	case len(allowed) > 0:
		return d.dialAny(ctx, network, allowed)
	case denied != nil:
		return nil, denied
	}
	return nil, errors.New("the host has no address")
}

// splitAddress refuses what is no address to us but may be one to a name service or a proxy: 127.1, 0x7f000001,
// 017700000001.
func splitAddress(address string) (host string, port uint16, err error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New("the host or port is not valid")
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port is not valid")
	}
	if _, err := netip.ParseAddr(host); err != nil && endsInNumber(host) {
		return "", 0, &deniedError{class: "a disguised", never: true}
	}
	return host, uint16(n), nil
}

// endsInNumber is true for hosts that browsers and C libraries read as an IPv4 address; no top-level domain is a
// number.
func endsInNumber(host string) bool {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	last := labels[len(labels)-1]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

func (d *dialer) resolve(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr, port)}, nil
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, addr := range addrs {
		targets = append(targets, netip.AddrPortFrom(addr.Unmap(), port))
	}
	return targets, nil
}

// sift returns the allowed ones, and why another is not.
func (d *dialer) sift(targets []netip.AddrPort) (allowed []netip.AddrPort, denied error) {
	for _, t := range targets {
		if e := d.rules.check(t); e != nil {
			denied = e
			continue
		}
		allowed = append(allowed, t)
	}
	return allowed, denied
}

// dialAny tries one after the other. The error is the first one's.
func (d *dialer) dialAny(ctx context.Context, network string, targets []netip.AddrPort) (net.Conn, error) {
	var first error
	for i, t := range targets {
		conn, err := d.dialOne(ctx, network, t, len(targets)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (d *dialer) dialOne(ctx context.Context, network string, target netip.AddrPort, left int) (net.Conn, error) {
	nd := net.Dialer{Control: d.control}
	if left > 1 {
		nd.Timeout = max(dialTimeout/time.Duration(left), minAddressTimeout)
	}
	return nd.DialContext(ctx, network, target.String())
}

// control sees the address of the socket itself.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if denied := d.rules.check(target); denied != nil {
		return denied
	}
	return nil
}

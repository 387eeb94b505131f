package mcpoauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
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
}

// DialContext has the signature of net.Dialer.DialContext. A refused address is a *deniedError, unless the host has
// another that works or fails in its own way.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	targets, err := d.resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	var first, denied error
	allowed := targets[:0:0]
	for _, t := range targets {
		if e := d.rules.check(t); e != nil {
			denied = e
			continue
		}
		allowed = append(allowed, t)
	}
	for i, t := range allowed {
		conn, err := d.dialOne(ctx, network, t, len(allowed)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return nil, first
	}
	if denied != nil {
		return nil, denied
	}
	return nil, errors.New("the host has no address")
}

func (d *dialer) resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.New("the host or port is not valid")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, errors.New("the port is not valid")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr, uint16(port))}, nil
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, addr := range addrs {
		targets = append(targets, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
	}
	return targets, nil
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

package mcpoauth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// ParseAllowed reads --egress-allow-cidrs, for Options.AllowCIDRs and AllowAddrs: ranges, and addresses with a port,
// between commas. The error is one line for a person.
func ParseAllowed(text string) (cidrs []netip.Prefix, addrs []netip.AddrPort, err error) {
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			cidrs = append(cidrs, prefix.Masked())
			continue
		}
		addr, err := netip.ParseAddrPort(entry)
		if err != nil {
			return nil, nil, fmt.Errorf("--egress-allow-cidrs: %q is not an address range such as 10.0.0.0/8, nor an address "+
				"with a port such as 10.0.0.5:6443", entry)
		}
		addrs = append(addrs, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	}
	return cidrs, addrs, nil
}

// ParseProxyURL reads --egress-proxy-url, for Options.ProxyURL: nil if it is empty. The error does not repeat the
// value, which may hold a password.
func ParseProxyURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		strings.Trim(u.Path, "/") != "" || strings.ContainsAny(text, "?#") {
		return nil, errors.New("--egress-proxy-url is not a URL such as http://proxy.example.com:3128")
	}
	return u, nil
}

// LoadRootCAs reads --ca-file, for Options.RootCAs: the system's with those of the PEM file, nil if there is none.
func LoadRootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file) //nolint:gosec // whoever starts the program names the file
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-file: %s holds no PEM certificate", file)
	}
	return pool, nil
}

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/textproto"

	"github.com/spf13/pflag"
	"golang.org/x/net/http/httpguts"
)

// consentOptions say who stands between browsers and the pages.
type consentOptions struct {
	userHeader     string
	userProxies    ranges
	trustedProxies ranges
}

func (c *consentOptions) register(fs *pflag.FlagSet) {
	fs.StringVar(&c.userHeader, "consent-user-header", "", "Header in which an authenticating proxy names the person "+
		"who consents, such as X-Forwarded-User. They then need the verb authorize on the connection. Wants "+
		"--consent-proxy-cidrs, and no loopback --external-url.")
	fs.Var(&c.userProxies, "consent-proxy-cidrs", "Comma-separated addresses of the authenticating proxy; the header is "+
		"believed from nowhere else.")
	fs.Var(&c.trustedProxies, "trusted-proxy-cidrs", "Comma-separated addresses of ingresses and load balancers whose "+
		"X-Forwarded-For is believed, for rate limits and the audit log.")
}

// check finds contradictions, and ranges that would have every visitor believed.
func (c *consentOptions) check() error {
	switch {
	case (c.userHeader == "") != (len(c.userProxies) == 0):
		return usageError{errors.New("--consent-user-header and --consent-proxy-cidrs must be given together")}
	case c.userHeader != "" && !httpguts.ValidHeaderFieldName(c.userHeader):
		return usageError{fmt.Errorf("--consent-user-header: %q is not the name of a header", c.userHeader)}
	}
	c.userHeader = textproto.CanonicalMIMEHeaderKey(c.userHeader)
	for name, given := range map[string]ranges{"--consent-proxy-cidrs": c.userProxies,
		"--trusted-proxy-cidrs": c.trustedProxies} {
		for _, prefix := range given {
			if prefix.Bits() == 0 {
				return usageError{fmt.Errorf("%s: %s would have everybody believed; name the addresses of the proxy", name, prefix)}
			}
		}
	}
	return nil
}

// ranges is the value of a flag: address ranges in a list.
type ranges []netip.Prefix

func (r *ranges) String() string { return "" }

// Type is what --help calls the value.
func (r *ranges) Type() string { return "string" }

func (r *ranges) Set(text string) error {
	*r = nil
	for _, item := range list(text) {
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			return fmt.Errorf("%q is not an address range such as 10.0.0.0/8", item)
		}
		*r = append(*r, prefix.Masked())
	}
	return nil
}

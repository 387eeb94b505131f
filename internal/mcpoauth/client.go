package mcpoauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

const (
	// defaultTimeout of a whole request, from the look-up of the name to the last byte.
	defaultTimeout = 30 * time.Second
	// maxBody is what is read of an answer, after decompression.
	maxBody = 1 << 20
	// maxHeader is what is read of an answer's header.
	maxHeader = 64 << 10
	// maxRedirects of a metadata request.
	maxRedirects = 3
)

// Resolver looks up the addresses of a host; *net.Resolver is one. network is "ip".
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options of a Client. All but Now have a default that works.
type Options struct {
	// UserAgent of every request, default "mcp-connection-operator".
	UserAgent string
	// AllowInsecureHTTP permits http URLs everywhere.
	AllowInsecureHTTP bool
	// AllowCIDRs may be dialled although they are not public. Cloud metadata addresses stay refused.
	AllowCIDRs []netip.Prefix
	// AllowAddrs may be dialled although they are not public, at one port each. The ports of Kubernetes' own (6443, 10250,
	// 2379, 2380) of an address that is not public are open in no other way.
	AllowAddrs []netip.AddrPort
	// DenyAddrs are refused whatever AllowCIDRs says: the API server.
	DenyAddrs []netip.AddrPort
	// ClusterAddrs returns where the API server listens besides, unmapped: what is dialled only if AllowAddrs names it. It
	// is asked for every connection, from several goroutines. Nil: none.
	ClusterAddrs func() []netip.AddrPort
	// ProxyURL of an http or https proxy to all public hosts, with its user name and password; nil: none. Addresses that
	// are not public and that AllowCIDRs holds are called directly.
	ProxyURL *url.URL
	// RootCAs that sign servers' certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Timeout of one request with its answer, default 30 s.
	Timeout time.Duration
	// Now is the clock. Required; it must return monotonic times for SendBy to mean anything.
	Now func() time.Time
	// Resolver of host names, default the system's.
	Resolver Resolver
	// Observe wraps the transport of the requests that may be repeated, which discovery is made of, for somebody who wants
	// to tell of them. Nil: nobody does.
	Observe func(http.RoundTripper) http.RoundTripper
}

// Client speaks OAuth for MCP to servers that are strangers. It is safe for concurrent use.
type Client struct {
	o      Options
	egress egress
	tls    *tls.Config
	proxy  *proxy
	// Connections are pooled per rule set, so that a view never inherits a connection it may not open.
	strict, loopback http.RoundTripper
	nonces           *nonces
}

// NewClient returns a client that dials public addresses and those of Options.AllowCIDRs, never loopback (see For).
// It panics without Options.Now.
func NewClient(o Options) *Client {
	if o.Now == nil {
		panic("mcpoauth: Options.Now is required")
	}
	if o.UserAgent == "" {
		o.UserAgent = "mcp-connection-operator"
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	o.AllowCIDRs, o.AllowAddrs, o.DenyAddrs = slices.Clone(o.AllowCIDRs), slices.Clone(o.AllowAddrs),
		slices.Clone(o.DenyAddrs)
	c := &Client{
		o:      o,
		egress: egress{allow: o.AllowCIDRs, ports: o.AllowAddrs, deny: o.DenyAddrs, cluster: o.ClusterAddrs},
		tls:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		nonces: &nonces{byOrigin: map[string]string{}},
	}
	c.proxy = newProxy(o.ProxyURL, c.tls, o.UserAgent)
	c.strict = c.pooled(c.egress)
	open := c.egress
	open.loopback = true
	c.loopback = c.pooled(open)
	return c
}

// For returns a view of the client for one connection. Loopback addresses may be dialled only through a view whose
// serverURL has a loopback host itself (localhost, 127.0.0.0/8, ::1), and only if Options.AllowCIDRs holds them: nobody
// reaches the operator's own pod by naming it in metadata or DNS.
func (c *Client) For(serverURL string) *Client {
	view := *c
	u, err := url.Parse(serverURL)
	view.egress.loopback = err == nil && IsLoopback(u.Hostname())
	return &view
}

// pooled transport, for requests that may be repeated without harm. Few idle connections: there are many hosts, and
// each is asked rarely.
func (c *Client) pooled(rules egress) http.RoundTripper {
	transport := &http.Transport{
		DialContext:            c.dialer(rules).DialContext,
		TLSClientConfig:        c.tls.Clone(),
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	if c.o.Observe != nil {
		return c.o.Observe(transport)
	}
	return transport
}

func (c *Client) dialer(rules egress) *dialer {
	return &dialer{rules: rules, resolver: c.o.Resolver, proxy: c.proxy}
}

// roundTrip sends a repeatable request and follows nothing. There is no http.Client: no cookies, no redirects, and no
// proxy but Options.ProxyURL.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if !admitted(req.Context(), req.URL) {
		return nil, errNotAdmitted
	}
	c.identify(req)
	if c.egress.loopback {
		return c.loopback.RoundTrip(req)
	}
	return c.strict.RoundTrip(req)
}

func (c *Client) identify(req *http.Request) {
	req.Header.Set("User-Agent", c.o.UserAgent)
}

func (c *Client) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.o.Timeout)
}

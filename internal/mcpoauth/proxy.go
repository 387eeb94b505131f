package mcpoauth

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// proxyLookupTimeout of a name that the proxy will look up anyway: behind a proxy there may be no name service for it.
const proxyLookupTimeout = 3 * time.Second

// proxy is a server that opens connections on our behalf (CONNECT: RFC 9110, section 9.3.6).
type proxy struct {
	address   string
	authority http.Header
	// tls is nil for an http proxy.
	tls *tls.Config
}

// newProxy returns nil without a URL.
func newProxy(u *url.URL, config *tls.Config, userAgent string) *proxy {
	if u == nil {
		return nil
	}
	p := &proxy{address: Host(u.String()), authority: http.Header{"User-Agent": {userAgent}}}
	if u.Scheme == "https" {
		p.tls = config.Clone()
		p.tls.ServerName, p.tls.NextProtos = u.Hostname(), []string{"http/1.1"}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		p.authority.Set("Proxy-Authorization", "Basic "+basic)
	}
	return p
}

// dialOut connects to public hosts through the proxy, and directly to those inside that the allow-list names. The proxy
// looks names up by itself, so all that can be checked is what they resolve to here: one refused address is enough
// then, for nobody knows which one the proxy takes.
func (d *dialer) dialOut(ctx context.Context, network, host string, port uint16) (net.Conn, error) {
	lookup, cancel := context.WithTimeout(ctx, proxyLookupTimeout)
	targets, err := d.resolve(lookup, host, port)
	cancel()
	if (err != nil || len(targets) == 0) && isInternalName(host) {
		return nil, &deniedError{class: "an internal", never: true}
	}
	inside := slices.DeleteFunc(slices.Clone(targets), func(t netip.AddrPort) bool { return !d.rules.inside(t) })
	if len(inside) > 0 {
		return d.dialAny(ctx, network, inside)
	}
	if _, denied := d.sift(targets); denied != nil {
		return nil, denied
	}
	return d.proxy.connect(ctx, net.JoinHostPort(host, strconv.Itoa(int(port))))
}

// isInternalName is true for names that mean something to the proxy's surroundings only, such as its metadata service
// (RFC 6761, RFC 6762; .internal is reserved by ICANN).
func isInternalName(host string) bool {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	return len(labels) == 1 || slices.Contains([]string{"localhost", "local", "internal", "svc"}, labels[len(labels)-1])
}

// connect asks the proxy for a connection. Until it has one nothing of a request is sent.
func (p *proxy) connect(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, &proxyError{err: err}
	}
	// Reading and writing end with ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	secured, err := p.handshake(ctx, conn)
	if err == nil {
		err = p.ask(secured, address)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		return nil, &proxyError{err: errors.Join(err, conn.Close())}
	}
	return secured, nil
}

func (p *proxy) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if p.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, p.tls)
	return secured, secured.HandshakeContext(ctx)
}

func (p *proxy) ask(conn net.Conn, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: p.authority}
	if err := req.Write(conn); err != nil {
		return err
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxHeader))
	resp, err := http.ReadResponse(answer, req) //nolint:bodyclose // what follows is the connection
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusedByProxy(resp.StatusCode)
	}
	if answer.Buffered() > 0 {
		return errors.New("the proxy speaks before it is asked")
	}
	return nil
}

// refusedByProxy is the status of its answer.
type refusedByProxy int

func (status refusedByProxy) Error() string { return "it answered " + showStatus(int(status)) }

// proxyError is about the proxy, not about the server behind it.
type proxyError struct{ err error }

func (e *proxyError) Unwrap() error { return e.err }

func (e *proxyError) Error() string {
	var refused refusedByProxy
	if errors.As(e.err, &refused) {
		return "the egress proxy refused the connection: " + refused.Error()
	}
	return "the egress proxy failed: " + cause(e.err)
}

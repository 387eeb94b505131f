package mcpoauth

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// answer is a whole HTTP answer.
type answer struct {
	status      int
	contentType string
	body        []byte
	retryAfter  time.Duration
	dpopNonce   string
	receivedAt  time.Time
}

// postOnce is sendOnce for token requests and registrations.
func (c *Client) postOnce(ctx context.Context, u *url.URL, body []byte, header http.Header, sendBy time.Time,
	code Code) (*answer, *Error) {
	return c.sendOnce(ctx, http.MethodPost, u, body, header, sendBy, code)
}

// sendOnce sends a request that must not be repeated: a spent code or refresh token is gone. It goes over a connection
// of its own, by HTTP/1.1, so that net/http has no reason to send it again, and follows no redirect. The error's
// Outcome is exact: NotSent means that not one byte of the request was given to the socket, nor will be.
func (c *Client) sendOnce(ctx context.Context, method string, u *url.URL, body []byte, header http.Header,
	sendBy time.Time, code Code) (*answer, *Error) {
	if !admitted(ctx, u) {
		return nil, busy(method, u)
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		e := misconfigured(code, "%s %s cannot be sent: its URL is not valid", method, showURL(u))
		e.Outcome = NotSent
		return nil, e
	}
	// Without GetBody, net/http cannot send the body twice.
	req.GetBody = nil
	req.Header = header
	req.Header.Set("Accept", "application/json")
	c.identify(req)
	g := &gate{method: method, now: c.o.Now, sendBy: sendBy}
	resp, err := c.single(g).RoundTrip(req)
	if err != nil {
		return nil, g.failure(err, u, code)
	}
	defer resp.Body.Close()
	a := &answer{
		status:      resp.StatusCode,
		contentType: resp.Header.Get("Content-Type"),
		retryAfter:  c.retryAfter(resp.Header),
		dpopNonce:   resp.Header.Get("DPoP-Nonce"),
	}
	a.body, err = readBody(resp.Body)
	a.receivedAt = c.o.Now()
	// Where the status says it all, the body may be broken.
	if err != nil && a.status < 300 {
		e := g.failure(err, u, code)
		e.Status = a.status
		if errors.Is(err, errTooLarge) {
			e.Message = fmt.Sprintf("%s %s answered more than 1 MiB", method, showURL(u))
		}
		return nil, e
	}
	return a, nil
}

// single returns a transport for one request.
func (c *Client) single(g *gate) *http.Transport {
	d := c.dialer(c.egress)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := g.bound(ctx)
		defer cancel()
		return d.DialContext(ctx, network, address)
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &gatedConn{Conn: conn, gate: g}, nil
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return c.handshake(ctx, g, conn, address)
		},
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// handshake puts the gate above TLS, so that only the request itself counts as sent.
func (c *Client) handshake(ctx context.Context, g *gate, conn net.Conn, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	config := c.tls.Clone()
	config.ServerName = host
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, config)
	ctx, cancel := g.bound(ctx)
	defer cancel()
	ctx, cancelHandshake := context.WithTimeout(ctx, dialTimeout)
	defer cancelHandshake()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &gatedConn{Conn: secured, gate: g}, nil
}

var (
	errTooLate = errors.New("it is too late to send the request")
	errShut    = errors.New("the request was given up")
)

// gate stands before the socket: it lets a request through until sendBy and until it is given up, and knows whether it
// did. httptrace would tell when a request was buffered, which is before it is sent and cannot be taken back.
type gate struct {
	method string
	now    func() time.Time
	sendBy time.Time

	mu   sync.Mutex
	sent bool
	shut error
}

// pass is called before bytes of the request are written.
func (g *gate) pass() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.sent:
		return nil
	case g.shut != nil:
		return g.shut
	case g.late():
		g.shut = errTooLate
		return errTooLate
	}
	g.sent = true
	return nil
}

func (g *gate) late() bool { return !g.sendBy.IsZero() && g.now().After(g.sendBy) }

// close gives the request up, for net/http may return before it has stopped writing.
func (g *gate) close() (sent, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	late = g.shut != nil || g.late()
	if g.shut == nil {
		g.shut = errShut
	}
	return g.sent, late
}

// bound ends connecting when sendBy passes.
func (g *gate) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.sendBy.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, g.sendBy.Sub(g.now()))
}

func (g *gate) failure(err error, u *url.URL, code Code) *Error {
	sent, late := g.close()
	e := networkError(err, g.method, u, code)
	e.Outcome = Unknown
	if !sent {
		e.Outcome = NotSent
		if late && e.Code != EgressDenied {
			e.Message = fmt.Sprintf("%s %s was not sent: connecting took too long", g.method, showURL(u))
		}
	}
	return e
}

// gatedConn asks the gate before it writes.
type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if err := c.gate.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

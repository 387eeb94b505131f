package callback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"github.com/mcp-connection/operator/internal/credential"
)

var documents = []string{"/oauth/client-metadata.json", "/oauth/client-metadata-jwt.json", jwksPath}

// street is a listener to which connections come from any address. Its time may be that of a bubble.
type street struct {
	*fixture
	coming chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (s *street) Accept() (net.Conn, error) {
	select {
	case conn := <-s.coming:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *street) Close() error { s.once.Do(func() { close(s.closed) }); return nil }

func (s *street) Addr() net.Addr { return &net.TCPAddr{} }

// visitor is the server's end of a connection.
type visitor struct {
	net.Conn
	from net.Addr
}

func (v visitor) RemoteAddr() net.Addr { return v.from }

// newStreet leads to a server that counts no requests: only their connections keep strangers out.
func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{coming: make(chan net.Conn), closed: make(chan struct{})}
	s.fixture = newFake(t, unlogged)
	s.server.perAddress, s.server.perConnection = newLimits(rate.Inf, 1), newLimits(rate.Inf, 1)
	s.sign()
	s.keys()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.server.serve(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		s.must(<-done)
	})
	return s
}

// unlogged is for many requests at once.
func unlogged(o *Options, _ *credential.Offer) { o.Log = logr.Discard() }

// come opens a connection and sends what is given, unless the server turns it away before that. It is closed in the
// end.
func (s *street) come(from, send string) net.Conn {
	s.Helper()
	here, there := net.Pipe()
	s.coming <- visitor{there, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))}
	s.Cleanup(func() { _ = here.Close() })
	if send != "" {
		if _, err := io.WriteString(here, send); !errors.Is(err, io.ErrClosedPipe) {
			s.must(err)
		}
	}
	return here
}

func request(method, path string, headers string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: connect.example.com\r\n" + headers + "\r\n"
}

// ask is an honest visitor, who is answered before any time has passed.
func (s *street) ask(from, path string) *http.Response {
	s.Helper()
	began := time.Now()
	conn := s.come(from, request(http.MethodGet, path, ""))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	s.must(err)
	_, err = io.Copy(io.Discard, resp.Body)
	s.must(err)
	s.must(resp.Body.Close())
	if waited := time.Since(began); waited != 0 {
		s.Errorf("%s waited %v for %s", from, waited, path)
	}
	return resp
}

// open counts the connections that the server has not closed.
func open(conns []net.Conn) int {
	n := 0
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			n++
		}
	}
	return n
}

func TestSilentConnectionsOfOneAddressAreCappedAndKeepNobodyOut(t *testing.T) {
	for name, c := range map[string]struct {
		from, half string
		want       int
	}{
		"a public address":             {"192.0.2.66", "", 64},
		"a public network":             {"2001:db8::66", "", 64},
		"a private address":            {"10.1.2.3", "", 512},
		"an address of a carrier":      {"100.64.1.1", "", 512},
		"halves of headers":            {"192.0.2.66", "GET / HTTP/1.1\r\nHost:", 64},
		"bodies that were announced":   {"192.0.2.66", request(http.MethodPost, "/connect/x", "Content-Length: 1\r\n"), 64},
		"documents that nobody awaits": {"192.0.2.66", request(http.MethodGet, documents[0], ""), 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t)
				var held []net.Conn
				for range maxConnections {
					held = append(held, s.come(c.from, c.half))
				}
				synctest.Wait()
				if resp := s.ask("198.51.100.2", "/connect/"+s.ticket); resp.StatusCode != http.StatusOK {
					t.Errorf("an honest visitor is answered %d", resp.StatusCode)
				}
				if name == "documents that nobody awaits" {
					return // their answers lie there to be read
				}
				if n := open(held); n != c.want {
					t.Errorf("%d connections are open, want %d", n, c.want)
				}
			})
		})
	}
}

func TestConnectionsOfManyAddressesKeepNobodyOut(t *testing.T) {
	for name, send := range map[string]string{"silence": "",
		"a body that was announced": request(http.MethodPost, "/connect/x", "Content-Length: 1\r\n"),
		"a body in pieces":          request(http.MethodPost, "/connect/x", "Transfer-Encoding: chunked\r\n"),
		"a page that nobody reads":  request(http.MethodGet, "/", ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t)
				for i := range maxConnections {
					s.come(fmt.Sprintf("192.0.2.%d", i/32), send)
				}
				synctest.Wait()
				for _, path := range append(documents, "/connect/"+s.ticket) {
					if resp := s.ask("198.51.100.2", path); resp.StatusCode != http.StatusOK {
						t.Errorf("%s is answered %d", path, resp.StatusCode)
					}
				}
			})
		})
	}
}

// Every connection waits for the API server, so that none can be told to go.
func TestDocumentsAreServedWhileEveryOtherConnectionIsBusy(t *testing.T) {
	for name, c := range map[string]struct {
		busy func(int) string
		from string
		// page is what a page is answered.
		page int
	}{
		"fifteen strangers": {func(i int) string { return fmt.Sprintf("192.0.2.%d", i/64) }, "198.51.100.2",
			http.StatusServiceUnavailable},
		"two ingresses": {func(i int) string { return fmt.Sprintf("10.0.0.%d", i/512) }, "198.51.100.2",
			http.StatusServiceUnavailable},
		"an ingress by itself": {func(int) string { return "10.0.0.1" }, "10.0.0.1", http.StatusServiceUnavailable},
		"somebody else":        {func(int) string { return "10.0.0.1" }, "198.51.100.2", http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t)
				release := make(chan struct{})
				s.onRead = func() error { <-release; return nil }
				for i := range maxConnections {
					s.come(c.busy(i), request(http.MethodGet, "/connect/"+s.ticket, ""))
				}
				synctest.Wait()
				for _, path := range documents {
					if resp := s.ask(c.from, path); resp.StatusCode != http.StatusOK || resp.Close == (c.page == http.StatusNotFound) {
						t.Errorf("%s is answered %d, and then closed: %t", path, resp.StatusCode, resp.Close)
					}
				}
				if resp := s.ask(c.from, "/"); resp.StatusCode != c.page || !resp.Close {
					t.Errorf("a page is answered %d, and then closed: %t", resp.StatusCode, resp.Close)
				}
				close(release)
			})
		})
	}
}

func TestConnectionsThatWaitForTheirClientEndSoon(t *testing.T) {
	for name, c := range map[string]struct {
		from, send string
		want       time.Duration
	}{
		"a connection that says nothing":  {"192.0.2.1", "", 5 * time.Second},
		"a connection with half a header": {"192.0.2.1", "GET / HTTP/1.1\r\nHost:", 5 * time.Second},
		"a connection that has been answered": {"192.0.2.1", request(http.MethodGet, documents[0], ""),
			15 * time.Second},
		"a connection that asked for nonsense":          {"192.0.2.1", request(http.MethodGet, "/nonsense", ""), 0},
		"a connection of an ingress that says nothing":  {"10.0.0.1", "", 5 * time.Second},
		"a connection of an ingress with half a header": {"10.0.0.1", "GET / HTTP/1.1\r\nHost:", 5 * time.Second},
		"a connection of an ingress, once it has been answered": {"10.0.0.1", request(http.MethodGet, documents[0], ""),
			5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t)
				conn := s.come(c.from, c.send)
				began := time.Now()
				if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(began) != c.want {
					t.Errorf("it ended after %v (%v), want %v", time.Since(began), err, c.want)
				}
			})
		})
	}
}

// The same over a network: requests that are refused and connections that say nothing.
func TestOneAddressThatOpensEveryConnectionKeepsNobodyOut(t *testing.T) {
	for name, send := range map[string]string{"silence": "", "requests for nonsense": request(http.MethodGet, "/", "")} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, unlogged)
			f.sign()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			f.must(err)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- f.server.serve(ctx, listener) }()
			defer func() {
				cancel()
				f.must(<-done)
			}()
			stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
			for range maxConnections {
				conn, err := stranger.DialContext(ctx, "tcp", listener.Addr().String())
				f.must(err)
				defer func() { _ = conn.Close() }()
				if send != "" {
					_, err = io.WriteString(conn, send)
					f.must(err)
					_, err = bufio.NewReader(conn).ReadString('\n')
					f.must(err)
				}
			}
			f.server.places.mu.Lock()
			n := f.server.places.pages.of("127.0.0.66")
			f.server.places.mu.Unlock()
			if n > sharedConnections {
				t.Errorf("one address holds %d connections", n)
			}
			honest := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
				DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}}
			defer honest.CloseIdleConnections()
			for _, path := range append(documents, "/connect/"+f.ticket) {
				resp, err := honest.Get("http://" + listener.Addr().String() + path)
				f.must(err)
				_, _ = io.Copy(io.Discard, resp.Body)
				f.must(resp.Body.Close())
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s is answered %d", path, resp.StatusCode)
				}
			}
		})
	}
}

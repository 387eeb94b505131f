package mcpoauth

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// connectProxy answers CONNECT with a connection to one backend, whatever it was asked for.
type connectProxy struct {
	*httptest.Server
	backend string

	mu    sync.Mutex
	asked []string
	basic string
}

func newConnectProxy(t *testing.T, useTLS bool, backend string) *connectProxy {
	t.Helper()
	p := &connectProxy{backend: backend}
	p.Server = httptest.NewUnstartedServer(p)
	if useTLS {
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(p.Close)
	return p
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked, p.basic = append(p.asked, r.Method+" "+r.Host), r.Header.Get("Proxy-Authorization")
	p.mu.Unlock()
	out, err := net.Dial("tcp", p.backend)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	_, _ = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(out, in) }()
	_, _ = io.Copy(in, out)
}

func (p *connectProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// through is a client that reaches public hosts through the proxy.
func through(t *testing.T, proxyURL string, resolver Resolver, roots *x509.CertPool, change ...func(*Options)) *Client {
	t.Helper()
	u, err := url.Parse(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{AllowInsecureHTTP: true, ProxyURL: u, Resolver: resolver, RootCAs: roots, Now: time.Now,
		Timeout: 5 * time.Second}
	for _, f := range change {
		f(&o)
	}
	return NewClient(o)
}

func refreshAt(t *testing.T, c *Client, endpoint string) error {
	t.Helper()
	_, err := c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: endpoint}, RefreshToken: "hunter2"})
	return err
}

func pool(servers ...*httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	for _, s := range servers {
		if cert := s.Certificate(); cert != nil {
			roots.AddCert(cert)
		}
	}
	return roots
}

func TestPublicHostsAreReachedThroughTheProxy(t *testing.T) {
	resolver := fakeResolver{"example.com": {"93.184.216.34"}, "dns64.example.com": {"64:ff9b::5db8:d822"}}
	for name, tt := range map[string]struct{ proxyTLS, backendTLS bool }{
		"http through http":   {false, false},
		"https through http":  {false, true},
		"http through https":  {true, false},
		"https through https": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var path string
			backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path = r.Host + r.URL.Path + r.Header.Get("Proxy-Authorization")
				_, _ = io.WriteString(w, `{"access_token":"a"}`)
			}))
			scheme := "http"
			if tt.backendTLS {
				scheme = "https"
				backend.StartTLS()
			} else {
				backend.Start()
			}
			defer backend.Close()
			p := newConnectProxy(t, tt.proxyTLS, backend.Listener.Addr().String())
			proxyURL := strings.Replace(p.URL, "://", "://operator:secret@", 1)
			for _, allow := range []string{"10.0.0.0/8", "0.0.0.0/0"} {
				c := through(t, proxyURL, resolver, pool(backend, p.Server),
					func(o *Options) { o.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix(allow)} })
				if err := refreshAt(t, c, scheme+"://example.com/token"); err != nil {
					t.Fatal(err)
				}
			}
			port := map[string]string{"http": ":80", "https": ":443"}[scheme]
			if want := "CONNECT example.com" + port; !slices.Equal(p.requests(), []string{want, want}) ||
				path != "example.com/token" {
				t.Errorf("the proxy saw %q, the server %q", p.requests(), path)
			}
			if p.basic != "Basic b3BlcmF0b3I6c2VjcmV0" {
				t.Errorf("Proxy-Authorization %q", p.basic)
			}
		})
	}
}

func TestWhatCannotBeLookedUpHereIsLeftToTheProxy(t *testing.T) {
	backend := httptest.NewServer(body(200, "application/json", `{"access_token":"a"}`))
	defer backend.Close()
	p := newConnectProxy(t, false, backend.Listener.Addr().String())
	c := through(t, p.URL, fakeResolver{"dns64.example.com": {"64:ff9b::5db8:d822"}}, nil)
	for _, host := range []string{"nowhere.example.com", "dns64.example.com", "93.184.216.34", "[2606:4700::1111]"} {
		if err := refreshAt(t, c, "http://"+host+"/token"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if asked := p.requests(); len(asked) != 4 {
		t.Errorf("the proxy saw %q", asked)
	}
}

func TestTheProxyIsNotAskedForWhatIsRefused(t *testing.T) {
	p := newConnectProxy(t, false, "127.0.0.1:1")
	resolver := fakeResolver{
		"private.example": {"10.0.0.1"}, "metadata.example": {"169.254.169.254"},
		"mixed.example":  {"93.184.216.34", "10.0.0.1"},
		"mapped.example": {"::ffff:127.0.0.1"}, "api.example": {"93.184.216.35"}, "kubernetes.default.svc": {"10.96.0.1"},
	}
	deny := func(o *Options) { o.DenyAddrs = []netip.AddrPort{netip.MustParseAddrPort("93.184.216.35:80")} }
	c := through(t, p.URL, resolver, nil, deny)
	for _, host := range []string{
		"private.example", "metadata.example", "mixed.example", "mapped.example", "api.example", "kubernetes.default.svc",
		"10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "127.0.0.1", "[::1]", "0.0.0.0",
		"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "0x7f.0.0.0x1", "１２７.0.0.1",
		"localhost", "localhost.", "me.localhost", "metadata", "metadata.google.internal", "printer.local",
		"other.default.svc", "x.svc.cluster.local",
	} {
		e := errorLike(t, refreshAt(t, c, "http://"+host+"/token"), Misconfigured, EgressDenied, "host ")
		if e.Outcome != NotSent {
			t.Errorf("%s: outcome %v", host, e.Outcome)
		}
	}
	if asked := p.requests(); asked != nil {
		t.Errorf("the proxy saw %q", asked)
	}
}

func TestWhatTheAllowListNamesIsCalledDirectly(t *testing.T) {
	backend := httptest.NewServer(body(200, "application/json", `{"access_token":"a"}`))
	defer backend.Close()
	p := newConnectProxy(t, false, "127.0.0.1:1")
	_, port, _ := net.SplitHostPort(backend.Listener.Addr().String())
	c := through(t, p.URL, fakeResolver{"inside.example": {"127.0.0.1"}}, nil, func(o *Options) {
		o.AllowCIDRs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	if err := refreshAt(t, c.For("http://localhost/mcp"), "http://inside.example:"+port+"/token"); err != nil {
		t.Error(err)
	}
	wantError(t, refreshAt(t, c, "http://inside.example:"+port+"/token"), Misconfigured, EgressDenied)
	if asked := p.requests(); asked != nil {
		t.Errorf("the proxy saw %q", asked)
	}
}

func TestAProxyThatFailsIsNamedAndNothingIsSent(t *testing.T) {
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}
		}
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"it refuses":                {status(403), "refused the connection: it answered 403 Forbidden"},
		"it wants a password":       {status(407), "407 Proxy Authentication Required"},
		"it redirects":              {status(302), "302 Found"},
		"it closes the connection":  {dropConnection, "the egress proxy failed"},
		"it answers something else": {raw("SSH-2.0-hunter2\r\n\r\n"), "the egress proxy failed"},
		"its answer never ends": {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader)),
			"the egress proxy failed"},
		"it answers more than the head": {raw("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"forged\"}"),
			"the egress proxy failed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.handler)
			defer s.Close()
			c := through(t, strings.Replace(s.URL, "://", "://operator:hunter2@", 1), fakeResolver{}, nil)
			if e := errorLike(t, refreshAt(t, c, "http://as.example/token"), Transient, TokenRequestFailing, "egress proxy",
				tt.want); e.Outcome != NotSent {
				t.Errorf("outcome %v", e.Outcome)
			}
		})
	}
}

func TestAProxyThatHangsIsGivenUp(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := newProxy(u, nil, "test").connect(ctx, "as.example:443")
	if text := cause(err); text != "the egress proxy failed: it took too long" {
		t.Error(text)
	}
}

func TestAProxyThatCannotBeReachedIsNamed(t *testing.T) {
	s := httptest.NewUnstartedServer(status(200))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := through(t, s.URL, fakeResolver{}, nil)
	wantError(t, refreshAt(t, c, "http://as.example/token"), Transient, TokenRequestFailing, "egress proxy", "--ca-file")
	s.Close()
	wantError(t, refreshAt(t, c, "http://as.example/token"), Transient, TokenRequestFailing, "egress proxy",
		"connection refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Discover(ctx, DiscoveryRequest{ServerURL: "https://mcp.example/mcp"})
	wantError(t, err, Transient, ServerUnreachable, "cancelled")
	if !errors.Is(&proxyError{err: net.ErrClosed}, net.ErrClosed) {
		t.Error("the cause is hidden")
	}
}

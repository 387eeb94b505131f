package mcpoauth

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestARequestThatCannotConnectIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := oauthtest.New(t)
	_, err = refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{URL: "http://" + addr + "/token"}})
	if e := errorLike(t, err, Transient, TokenRequestFailing, "connection refused"); e.Outcome != NotSent {
		t.Errorf("outcome %v", e.Outcome)
	}
	_, err = refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{URL: "http://nowhere.invalid/token"}},
		func(o *Options) { o.Resolver = fakeResolver{} })
	if e := errorLike(t, err, Transient, TokenRequestFailing); e.Outcome != NotSent {
		t.Errorf("outcome %v", e.Outcome)
	}
}

func TestARequestWithoutAnAnswerInTimeIsUnknown(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/token", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := refreshWith(t, s, RefreshRequest{}, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	if e := errorLike(t, err, Transient, TokenRequestFailing, "too long"); e.Outcome != Unknown {
		t.Errorf("outcome %v", e.Outcome)
	}
	if s.Count("/token") != 1 {
		t.Error("it was not sent, or sent twice")
	}
}

func TestALostAnswerIsUnknownAndTheRequestNotRepeated(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		s := oauthtest.New(t, func(c *oauthtest.Config) { c.TLS = useTLS })
		c := newTestClient(t, s)
		d, client, code, verifier := authorize(t, c, s)
		ep := TokenEndpoint{URL: d.AuthorizationServer.TokenEndpoint, Client: *client, Resource: d.Resource}
		tokens, err := c.Exchange(t.Context(), CodeRequest{TokenEndpoint: ep, Code: code, CodeVerifier: verifier,
			RedirectURI: testRedirectURI})
		if err != nil {
			t.Fatal(err)
		}
		s.Lose("/token", 1)
		_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: tokens.RefreshToken})
		if e := errorLike(t, err, Transient, TokenRequestFailing); e.Outcome != Unknown {
			t.Errorf("outcome %v", e.Outcome)
		}
		if s.Count("/token") != 2 || s.Grants()[0].Refreshes != 1 || s.Grants()[0].Reused {
			t.Errorf("requests %q, grants %+v", paths(s), s.Grants())
		}
	}
}

// stepResolver moves a clock when a name is looked up.
type stepResolver struct{ step func() }

func (r stepResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.step()
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func TestSendBy(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		t.Run("a request in time is sent", func(t *testing.T) {
			s, err := refreshAfter(t, useTLS, time.Second)
			if e := AsError(err); e == nil || e.OAuthError != "invalid_client" || s.Count("/token") != 1 {
				t.Errorf("error %+v, requests %q", e, paths(s))
			}
		})
		t.Run("a request that is late after connecting is dropped", func(t *testing.T) {
			s, err := refreshAfter(t, useTLS, 11*time.Second)
			if e := errorLike(t, err, Transient, TokenRequestFailing, "not sent"); e.Outcome != NotSent ||
				s.Count("/token") != 0 {
				t.Errorf("error %+v, requests %q", e, paths(s))
			}
		})
	}
}

// refreshAfter refreshes with ten seconds until SendBy, and lets connecting take so long by a clock of its own.
func refreshAfter(t *testing.T, useTLS bool, connecting time.Duration) (*oauthtest.Server, error) {
	t.Helper()
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.TLS = useTLS })
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var passed atomic.Int64
	r := RefreshRequest{TokenEndpoint: TokenEndpoint{
		URL: u.Scheme + "://example.com:" + u.Port() + "/token", SendBy: start.Add(10 * time.Second),
	}}
	_, err = refreshWith(t, s, r, func(o *Options) {
		o.Now = func() time.Time { return start.Add(time.Duration(passed.Load())) }
		o.Resolver = stepResolver{func() { passed.Store(int64(connecting)) }}
	})
	return s, err
}

func TestSendByThatHasPassedMeansNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := oauthtest.New(t)
	r := RefreshRequest{TokenEndpoint: TokenEndpoint{URL: "http://" + l.Addr().String() + "/token",
		SendBy: time.Now().Add(-time.Second)}}
	_, err = refreshWith(t, s, r)
	if e := errorLike(t, err, Transient, TokenRequestFailing, "not sent"); e.Outcome != NotSent {
		t.Errorf("outcome %v", e.Outcome)
	}
}

func TestAGateThatWasClosedStaysClosed(t *testing.T) {
	g := &gate{now: time.Now}
	if sent, _ := g.close(); sent {
		t.Error("sent before it was passed")
	}
	if g.pass() == nil {
		t.Error("passed after it was closed")
	}
	g = &gate{now: time.Now}
	for range 2 {
		if g.pass() != nil {
			t.Error("an open gate does not let pass")
		}
	}
	if sent, _ := g.close(); !sent {
		t.Error("what passed counts as sent")
	}
}

func TestOnlyOneOfPassAndCloseWins(t *testing.T) {
	for range 1000 {
		g := &gate{now: time.Now}
		var passed, sent atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() { passed.Store(g.pass() == nil) })
		wg.Go(func() { s, _ := g.close(); sent.Store(s) })
		wg.Wait()
		if passed.Load() != sent.Load() {
			t.Fatalf("passed %v, sent %v", passed.Load(), sent.Load())
		}
	}
}

func TestTokenRequestsUseConnectionsOfTheirOwn(t *testing.T) {
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.TLS = true })
	var remote sync.Map
	s.Handle("/token", func(w http.ResponseWriter, r *http.Request) {
		if _, twice := remote.LoadOrStore(r.RemoteAddr, true); twice || r.ProtoMajor != 1 {
			t.Errorf("%s by %s", r.RemoteAddr, r.Proto)
		}
		_, _ = io.WriteString(w, `{"access_token":"a"}`)
	})
	c := newTestClient(t, s)
	for range 3 {
		if _, err := c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token"},
			RefreshToken: "r"}); err != nil {
			t.Fatal(err)
		}
	}
}

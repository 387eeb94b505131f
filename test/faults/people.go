package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/test/harness"
)

// newFront stands for the Service in front of all pods: a request goes to any that serves, one after the other.
func newFront(f *fleet) (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.external = "http://" + listener.Addr().String()
	var mu sync.Mutex
	next := 0
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			mu.Lock()
			defer mu.Unlock()
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "127.0.0.1:1", r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			for range f.pods {
				p := f.pods[next%len(f.pods)]
				if next++; p.serves() {
					r.Out.URL.Host = p.callback
					return
				}
			}
		},
		Transport:    &http.Transport{ResponseHeaderTimeout: 5 * time.Second},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

// people consent where a consent is wanted: at the beginning, when they were asked, and when a family was revoked. They
// do not where the operator only doubts: it is to help itself.
type people struct {
	w      *world
	walker *harness.Walker

	mu     sync.Mutex
	wanted map[int]bool
	tried  map[int]time.Time
}

func newPeople(w *world) *people {
	return &people{w: w, wanted: map[int]bool{}, tried: map[int]time.Time{},
		walker: harness.NewWalker(w.settings.connections, 10*time.Second)}
}

// ask wants a consent for a connection.
func (p *people) ask(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted[i] = true
}

// asked is how many consents are wanted and not given yet.
func (p *people) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.wanted)
}

// run looks for links until ctx ends.
func (p *people) run(ctx context.Context) {
	for harness.Pause(ctx, 500*time.Millisecond) == nil {
		all, err := p.w.connections(ctx)
		if err != nil {
			continue // the API server is away
		}
		var wait sync.WaitGroup
		for i := range all {
			n := numberOf(&all[i])
			link := all[i].Status.AuthorizationURL
			if link == "" || !p.due(n, isRejected(&all[i])) {
				continue
			}
			wait.Go(func() {
				if err := p.consent(ctx, n, link); err == nil {
					p.given(n)
				}
			})
		}
		wait.Wait()
	}
}

// isRejected reports whether the operator knows that its grant is over. The server counted that when it refused; a
// consent since then may have come to nothing, if the process was killed while it exchanged the code.
func isRejected(conn *v1alpha1.MCPConnection) bool {
	c := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionAuthorized)
	return c != nil && c.Reason == v1alpha1.ReasonRefreshRejected
}

// due reports whether a consent is wanted and was not tried a moment ago.
func (p *people) due(i int, rejected bool) bool {
	over := rejected || p.w.ledger.over(i)
	p.mu.Lock()
	defer p.mu.Unlock()
	if (!over && !p.wanted[i]) || time.Since(p.tried[i]) < 4*time.Second {
		return false
	}
	p.tried[i] = time.Now()
	return true
}

// given notes a consent that was given; whether it came to anything, the ledger knows.
func (p *people) given(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.wanted, i)
}

// consent gives one at an address of the connection's own (RFC 5737: for examples).
func (p *people) consent(ctx context.Context, i int, link string) error {
	comeBack, err := p.walker.Approve(ctx, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), link)
	if err != nil {
		return err
	}
	for range 5 { // a person whose page does not load tries again
		if err = comeBack(ctx); err == nil {
			return nil
		}
		if err := harness.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return err
}

// over reports whether a connection needs a consent.
func (l *ledger) over(connection int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.families[connection]
	return f == nil || f.revoked
}

// numberOf reads the number of a connection off its name.
func numberOf(conn *v1alpha1.MCPConnection) int {
	var i int
	if _, err := fmt.Sscanf(conn.Name, "c%d", &i); err != nil {
		return -1
	}
	return i
}

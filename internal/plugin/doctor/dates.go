package doctor

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// dateReader is a transport to the API server that keeps the last Date.
type dateReader struct {
	now  func() time.Time
	next http.RoundTripper

	mu   sync.Mutex
	last *clockReading
}

// RoundTrip implements http.RoundTripper.
func (d *dateReader) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if reading, ok := readClock("API server", resp.Header, d.now()); ok {
		d.mu.Lock()
		d.last = &reading
		d.mu.Unlock()
	}
	return resp, nil
}

func (d *dateReader) readings() []clockReading {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		return nil
	}
	return []clockReading{*d.last}
}

// serverTime is the API server's time, as far as it is known.
func (d *dateReader) serverTime() time.Time {
	now := d.now()
	for _, r := range d.readings() {
		return now.Add(r.ahead())
	}
	return now
}

// browser makes the request that a browser would make first: without cookies and proxy, and it follows no redirect.
func browser(rules Rules) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: rules.RootCAs}}
	return &http.Client{
		Timeout: 10 * time.Second, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// compactHosts leaves the first URL of each host and port.
func compactHosts(urls []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, raw := range urls {
		if host := mcpoauth.Host(raw); !seen[host] {
			seen[host] = true
			out = append(out, raw)
		}
	}
	return out
}

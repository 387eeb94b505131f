package doctor

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// maxKept of a body is as much as the operator reads of a metadata document.
const maxKept = 1 << 20

// Exchange is one request and its answer.
type Exchange struct {
	Method string
	// URL without its query, which may hold a secret.
	URL string
	// Status line; empty without an answer.
	Status string
	// Read is what was read of the answer, one thing a line.
	Read []string

	// denied says that the address was refused before anything was sent.
	denied bool
	raw    string
	code   int
	header http.Header
	body   bytes.Buffer
	cut    bool
	// broken says that the body did not come to its end.
	broken bool
	sentAt time.Time
	// receivedAt is when the header was there.
	receivedAt time.Time
}

func (e *Exchange) outcome() string {
	switch {
	case e.denied:
		return "not sent"
	case e.Status == "":
		return "no answer"
	}
	return e.Status
}

// recorder is a transport that tells of each request. It is safe for concurrent use.
type recorder struct {
	now  func() time.Time
	next http.RoundTripper

	mu  *sync.Mutex
	all *[]*Exchange
}

func newRecorder(now func() time.Time) *recorder {
	return &recorder{now: now, mu: &sync.Mutex{}, all: &[]*Exchange{}}
}

// wrap has the recorder tell of what goes through a transport. Several may be wrapped.
func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	wrapped := *r
	wrapped.next = next
	return &wrapped
}

// exchanges so far, in order.
func (r *recorder) exchanges() []*Exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Exchange(nil), *r.all...)
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	e := &Exchange{Method: req.Method, URL: shown(req.URL), raw: req.URL.String(), sentAt: r.now()}
	r.mu.Lock()
	*r.all = append(*r.all, e)
	r.mu.Unlock()
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	e.receivedAt = r.now()
	e.code, e.header = resp.StatusCode, resp.Header
	e.Status = mcpoauth.Sanitize(strings.TrimSpace(resp.Status), 80)
	resp.Body = &kept{ReadCloser: resp.Body, of: e}
	return resp, nil
}

// kept copies what is read of a body.
type kept struct {
	io.ReadCloser
	of *Exchange
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	room := min(n, maxKept-k.of.body.Len())
	k.of.body.Write(p[:room])
	k.of.cut = k.of.cut || room < n
	k.of.broken = k.of.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

// shown is a URL without user name, password, query and fragment.
func shown(u *url.URL) string {
	short := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	text := mcpoauth.Sanitize(short.String(), 512)
	if u.RawQuery != "" {
		text += "?..."
	}
	return text
}

// shownText is shown for a stranger's text.
func shownText(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	return shown(u)
}

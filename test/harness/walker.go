package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// Walker gives consents as fast as it can: start page, button, an authorization server that approves at once, callback.
// It looks at no page. Each consent comes from a browser of its own at an address of its own, as a trusted proxy would
// say: the callback limits what one address may ask for.
type Walker struct{ client *http.Client }

// NewWalker is used by up to width people at a time, who wait for an answer for a time; 0: without end.
func NewWalker(width int, patience time.Duration) *Walker {
	return &Walker{client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: width},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Approve follows a link up to the approval, and returns how to come back to the operator with it, which may be tried
// again.
func (w *Walker) Approve(ctx context.Context, from netip.Addr,
	link string) (comeBack func(context.Context) error, err error) {
	if _, _, err := w.do(ctx, from, http.MethodGet, link, nil, http.StatusOK); err != nil {
		return nil, err
	}
	login, cookies, err := w.do(ctx, from, http.MethodPost, link, nil, http.StatusSeeOther)
	if err != nil {
		return nil, err
	}
	back, _, err := w.do(ctx, from, http.MethodGet, login, nil, http.StatusFound)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, _, err := w.do(ctx, from, http.MethodGet, back, cookies, http.StatusSeeOther)
		return err
	}, nil
}

// Consent follows a link to its end.
func (w *Walker) Consent(ctx context.Context, from netip.Addr, link string) error {
	comeBack, err := w.Approve(ctx, from, link)
	if err != nil {
		return err
	}
	return comeBack(ctx)
}

// do makes one request and returns where it redirects to, and the cookies that it sets.
func (w *Walker) do(ctx context.Context, from netip.Addr, method, url string, cookies []*http.Cookie,
	want int) (string, []*http.Cookie, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("X-Forwarded-For", from.String())
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", nil, err
	}
	if resp.StatusCode != want {
		return "", nil, fmt.Errorf("%s %s answered %d, not %d", method, req.URL.Path, resp.StatusCode, want)
	}
	return resp.Header.Get("Location"), resp.Cookies(), nil
}

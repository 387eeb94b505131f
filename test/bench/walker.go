package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
)

// walker gives consents as fast as it can: start page, button, authorization server, callback. Each consent comes from a
// browser of its own at an address of its own, as a proxy would say, and nobody waits for the outcome page.
type walker struct {
	client   *http.Client
	browsers atomic.Uint32
}

func newWalker(width int) *walker {
	return &walker{client: &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: width},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (w *walker) consent(ctx context.Context, link string) error {
	n := w.browsers.Add(1)
	from := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String()
	if _, _, err := w.do(ctx, from, http.MethodGet, link, nil, http.StatusOK); err != nil {
		return err
	}
	login, cookies, err := w.do(ctx, from, http.MethodPost, link, nil, http.StatusSeeOther)
	if err != nil {
		return err
	}
	back, _, err := w.do(ctx, from, http.MethodGet, login, nil, http.StatusFound)
	if err != nil {
		return err
	}
	_, _, err = w.do(ctx, from, http.MethodGet, back, cookies, http.StatusSeeOther)
	return err
}

// do makes one request and returns where it redirects to, and the cookies that it sets.
func (w *walker) do(ctx context.Context, from, method, url string, cookies []*http.Cookie, want int) (string, []*http.Cookie, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("X-Forwarded-For", from)
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

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxRedirects = 15
	maxPages     = 20
	maxRefreshes = 30
)

// Browser walks through pages as a browser without JavaScript does: cookies, redirects, fetch metadata,
// Origin on POST, forms, and the page's own limit on where its forms may lead.
type Browser struct {
	client *http.Client
}

// NewBrowser makes a browser without cookies.
func NewBrowser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cookiejar.New documents that it never fails
	}
	return &Browser{client: &http.Client{
		Jar:           jar,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Open goes to an address that was typed or pasted.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return b.navigate(ctx, http.MethodGet, target, nil, nil)
}

// Submit sends a form from its page.
func (b *Browser) Submit(ctx context.Context, page *Page, form *Form) (*Page, error) {
	target := *form.Action
	if form.Method == http.MethodGet {
		target.RawQuery = form.Fields.Encode()
		return b.navigate(ctx, http.MethodGet, &target, nil, page)
	}
	return b.navigate(ctx, http.MethodPost, &target, form.Fields, page)
}

// navigate makes one request and follows its redirects.
func (b *Browser) navigate(ctx context.Context, method string, target *url.URL, fields url.Values,
	from *Page) (*Page, error) {
	site := "none"
	if from != nil {
		site = relation(from.URL, target)
	}
	for range maxRedirects {
		request, err := newNavigation(ctx, method, target, fields, from, site)
		if err != nil {
			return nil, err
		}
		answer, err := b.do(request)
		if err != nil {
			return nil, err
		}
		if answer.next == nil {
			return parsePage(target, answer.status, answer.header, answer.body)
		}
		if err := allowedByFormAction(from, fields != nil, answer.next); err != nil {
			return nil, err
		}
		site = worse(site, relation(target, answer.next))
		if answer.status != http.StatusTemporaryRedirect && answer.status != http.StatusPermanentRedirect {
			method = http.MethodGet
		}
		target = answer.next
	}
	return nil, errors.New("too many redirects")
}

func newNavigation(ctx context.Context, method string, target *url.URL, fields url.Values, from *Page,
	site string) (*http.Request, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(fields.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	h := request.Header
	h.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) consent-walker")
	h.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	h.Set("Sec-Fetch-Site", site)
	h.Set("Sec-Fetch-Mode", "navigate")
	h.Set("Sec-Fetch-Dest", "document")
	h.Set("Sec-Fetch-User", "?1")
	if method == http.MethodPost {
		h.Set("Content-Type", "application/x-www-form-urlencoded")
		if from != nil {
			h.Set("Origin", origin(from.URL))
		}
	}
	return request, nil
}

// answer is what came back for one request; next is where a redirect leads.
type answer struct {
	status int
	header http.Header
	body   string
	next   *url.URL
}

func (b *Browser) do(request *http.Request) (*answer, error) {
	response, err := b.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	a := &answer{status: response.StatusCode, header: response.Header, body: string(body)}
	if location := a.header.Get("Location"); location != "" && a.status >= 300 && a.status <= 399 {
		a.next, err = request.URL.Parse(location)
	}
	return a, err
}

// Consent is what a person does between the link and the outcome.
type Consent struct {
	// Expect are words that the start page must show, such as the server's URL.
	Expect []string
	// Answer fills in a form of the authorization server's pages (login, consent) and returns it.
	Answer func(*Page) (*Form, error)
}

// Consent opens the link, checks the start page, presses its button, answers the authorization server's
// pages, comes back, waits for the outcome and returns the last page, whatever it says.
func (b *Browser) Consent(ctx context.Context, link string, c Consent) (*Page, error) {
	start, err := b.Open(ctx, link)
	if err != nil {
		return nil, err
	}
	form, err := startForm(start, c.Expect)
	if err != nil {
		return nil, err
	}
	page, err := b.Submit(ctx, start, form)
	for range maxPages {
		if err != nil {
			return nil, err
		}
		if origin(page.URL) == origin(start.URL) {
			return b.outcome(ctx, page)
		}
		if c.Answer == nil {
			return nil, fmt.Errorf("nobody is there to answer %s (%d): %s", page.URL, page.Status, page.Text)
		}
		if form, err = c.Answer(page); err != nil {
			return nil, fmt.Errorf("at %s (%d): %w: %s", page.URL.Path, page.Status, err, page.Text)
		}
		page, err = b.Submit(ctx, page, form)
	}
	return nil, errors.New("the authorization server asks without end")
}

// startForm checks the start page against the contract: 200, the words, one POST form that sends nothing.
func startForm(page *Page, expect []string) (*Form, error) {
	if page.Status != http.StatusOK {
		return nil, fmt.Errorf("the start page answered %d: %s", page.Status, page.Text)
	}
	for _, word := range expect {
		if !strings.Contains(page.Text, word) {
			return nil, fmt.Errorf("the start page does not show %q: %s", word, page.Text)
		}
	}
	if len(page.Forms) != 1 || page.Forms[0].Method != http.MethodPost || len(page.Forms[0].Fields) != 0 {
		return nil, errors.New("the start page should hold exactly one form, sent by POST, without fields")
	}
	return page.Forms[0], nil
}

// outcome reloads a page as often as it asks for it. Its address must not hold the code, which would stay in the
// history; only a callback that refuses the answer says so at its own address.
func (b *Browser) outcome(ctx context.Context, page *Page) (*Page, error) {
	if page.URL.Query().Has("code") && page.Status < http.StatusBadRequest {
		return nil, fmt.Errorf("the address bar shows a code after the callback (%s answered %d): %s", page.URL.Path,
			page.Status, page.Text)
	}
	for range maxRefreshes {
		if page.Refresh == nil {
			return page, nil
		}
		if err := Pause(ctx, time.Duration(page.Refresh.Seconds)*time.Second); err != nil {
			return nil, err
		}
		next, err := b.navigate(ctx, http.MethodGet, page.Refresh.URL, nil, page)
		if err != nil {
			return nil, err
		}
		page = next
	}
	return nil, fmt.Errorf("the outcome page reloads without end: %s", page.Text)
}

// allowedByFormAction holds a redirect after a form against the page's form-action, as Chromium does.
func allowedByFormAction(from *Page, submitted bool, next *url.URL) error {
	if from == nil || !submitted {
		return nil
	}
	for _, policy := range from.Header.Values("Content-Security-Policy") {
		for directive := range strings.SplitSeq(policy, ";") {
			words := strings.Fields(directive)
			if len(words) == 0 || !strings.EqualFold(words[0], "form-action") {
				continue
			}
			self := origin(next) == origin(from.URL) && slices.Contains(words, "'self'")
			if !self && !slices.Contains(words, "*") && !slices.Contains(words, next.Scheme+":") &&
				!slices.Contains(words, origin(next)) {
				return fmt.Errorf("a browser would not follow the form to %s: %s", origin(next), strings.TrimSpace(directive))
			}
		}
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// relation is the Sec-Fetch-Site of a request from one page to another.
func relation(from, to *url.URL) string {
	switch {
	case origin(from) == origin(to):
		return "same-origin"
	case from.Scheme == to.Scheme && from.Hostname() == to.Hostname():
		return "same-site"
	default:
		return "cross-site"
	}
}

// worse keeps the most distant relation of a chain of redirects.
func worse(a, b string) string {
	order := []string{"none", "same-origin", "same-site", "cross-site"}
	if a == "none" {
		return a // typed addresses stay typed
	}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

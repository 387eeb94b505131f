package mcpoauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"unicode/utf8"
)

// lookup is what one metadata URL had.
type lookup int

const (
	// found: a JSON object.
	found lookup = iota
	// notHere: an answer that is no document, such as a web page.
	notHere
	// cleanlyNotHere: a 4xx answer.
	cleanlyNotHere
)

// getDocument fetches the JSON object at a metadata URL. Only 4xx answers and successful answers that are no object
// mean that the document is elsewhere; everything else is an error, so that an outage is never taken for an answer.
func (c *Client) getDocument(ctx context.Context, raw, what string) ([]byte, lookup, *Error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	next := raw
	for range maxRedirects + 1 {
		u, e := c.parseURL(next, what, InvalidMetadata)
		if e != nil {
			return nil, 0, e
		}
		resp, e := c.get(ctx, u)
		if e != nil {
			return nil, 0, e
		}
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return c.readDocument(resp, u)
		}
		drop(resp)
		target, err := resp.Location()
		if err != nil {
			return nil, 0, misconfigured(InvalidMetadata, "GET %s answered %s without a usable Location; the server has to "+
				"serve its metadata there",
				showURL(u), showStatus(resp.StatusCode))
		}
		if u.Scheme == "https" && target.Scheme == "http" {
			return nil, 0, misconfigured(InsecureURL, "GET %s redirects to http; the server has to serve its metadata by https",
				showURL(u))
		}
		next = target.String()
	}
	return nil, 0, misconfigured(InvalidMetadata, "GET %s redirects more than %d times; the server has to serve its "+
		"metadata there", showRaw(raw), maxRedirects)
}

func (c *Client) get(ctx context.Context, u *url.URL) (*http.Response, *Error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, misconfigured(InvalidMetadata, "GET %s cannot be sent: its URL is not valid", showURL(u))
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, networkError(err, "GET", u, ServerUnreachable)
	}
	return resp, nil
}

func (c *Client) readDocument(resp *http.Response, u *url.URL) ([]byte, lookup, *Error) {
	defer drop(resp)
	status := resp.StatusCode
	switch {
	case mayHeal(status):
		return nil, 0, c.statusError(resp, "GET", u)
	case status >= 400:
		return nil, cleanlyNotHere, nil
	case status < 200:
		return nil, 0, c.statusError(resp, "GET", u)
	}
	body, err := readBody(resp.Body)
	if err == nil { // an answer that ends together with our patience may have been cut off
		err = resp.Request.Context().Err()
	}
	if err != nil && !errors.Is(err, errTooLarge) {
		return nil, 0, networkError(err, "GET", u, ServerUnreachable)
	}
	if !bytes.HasPrefix(body, []byte("{")) {
		return nil, notHere, nil
	}
	if err != nil {
		return nil, 0, misconfigured(InvalidMetadata, "the metadata document %s is larger than 1 MiB", showURL(u))
	}
	return body, found, nil
}

// mayHeal are the statuses that say nothing about the request itself.
func mayHeal(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

var errTooLarge = errors.New("the answer is too large")

// readBody reads at most maxBody bytes, without the byte order mark and blanks around them; with errTooLarge it returns
// the beginning.
func readBody(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\uFEFF"))), err
}

// drop closes the body; a little is read first, so that the connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}

// decodeDocument decodes a metadata document into a struct. encoding/json takes the last of several equal members, in
// any case; two readers could see two documents in one, so both are refused.
func decodeDocument(body []byte, into any, known []string) error {
	if !utf8.Valid(body) {
		return errors.New("it is not UTF-8")
	}
	if deepest(body) > maxDepth {
		return errors.New("it is nested too deeply")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := skipValue(dec); err != nil {
		return errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	short, err := walk(body, known)
	if err != nil {
		return err
	}
	err = json.Unmarshal(short, into)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return fmt.Errorf("member %q is not of type %s", mistyped.Field, jsonType(mistyped.Type.Kind().String()))
	}
	if err != nil {
		return errNotJSON
	}
	return nil
}

var errNotJSON = errors.New("it is not valid JSON")

func jsonType(kind string) string {
	switch kind {
	case "slice":
		return "array of strings"
	case "bool":
		return "boolean"
	case "struct":
		return "object"
	}
	return kind
}

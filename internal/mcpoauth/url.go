package mcpoauth

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// parseURL checks a URL before anything is sent to it: https (or http where that is allowed), a host, no userinfo and no
// fragment. what names the URL in the message, code is the error's unless the scheme is http.
func (c *Client) parseURL(raw, what string, code Code) (*url.URL, *Error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error repeats the whole URL, query included.
		return nil, misconfigured(code, "%s is not a valid URL", what)
	}
	switch {
	case u.Scheme == "http" && !c.o.AllowInsecureHTTP:
		return nil, misconfigured(InsecureURL, "%s %s is not https; use an https URL, or start the operator with --allow-insecure-http", what, showURL(u))
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, misconfigured(code, "%s %s is not an https URL", what, showURL(u))
	case u.Hostname() == "" || u.Opaque != "":
		return nil, misconfigured(code, "%s %s has no host", what, showURL(u))
	case u.User != nil:
		return nil, misconfigured(code, "%s %s holds a user name or password; remove it", what, showURL(u))
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, misconfigured(code, "%s %s has a fragment; remove it", what, showURL(u))
	}
	return u, nil
}

// showURL is a URL for a message: never its query, fragment or userinfo.
func showURL(u *url.URL) string {
	short := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if text := Sanitize(short.String(), 256); text != "" {
		return text
	}
	return "(empty)"
}

// isLoopbackHost is about the name only; the address is checked when it is dialled.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// origin is scheme and host in one spelling: lower case, no default port.
func origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if (scheme == "https" && port == "443") || (scheme == "http" && port == "80") {
		port = ""
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return scheme + "://" + host
}

func misconfigured(code Code, format string, args ...any) *Error {
	return &Error{Kind: Misconfigured, Code: code, Message: fmt.Sprintf(format, args...)}
}

func rejected(code Code, format string, args ...any) *Error {
	return &Error{Kind: Rejected, Code: code, Message: fmt.Sprintf(format, args...)}
}

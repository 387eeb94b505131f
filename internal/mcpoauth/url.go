package mcpoauth

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// maxURL is longer than any link that browsers and servers agree on. What is stored is bounded by it.
const maxURL = 8 << 10

// parseURL checks a URL before anything is sent to it: see checkURL.
func (c *Client) parseURL(raw, what string, code Code) (*url.URL, *Error) {
	return checkURL(raw, what, code, c.o.AllowInsecureHTTP)
}

// checkURL wants https (or http where that is allowed), a host, no userinfo and no fragment. what names the URL in the
// message, code is the error's unless the scheme is http. The host of the result is in ASCII.
func checkURL(raw, what string, code Code, insecure bool) (*url.URL, *Error) {
	if len(raw) > maxURL {
		return nil, misconfigured(code, "%s is longer than 8 KiB", what)
	}
	if e := checkShown(raw, what, code); e != nil {
		return nil, e
	}
	u, err := parse(raw)
	if err != nil {
		// The parser's error repeats the whole URL, query included.
		return nil, misconfigured(code, "%s is not a valid URL", what)
	}
	switch {
	case u.Scheme == "http" && !insecure:
		return nil, misconfigured(InsecureURL, "%s %s is not https; use an https URL, or start the operator with "+
			"--allow-insecure-http", what, showURL(u))
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, misconfigured(code, "%s %s is not an https URL", what, showURL(u))
	case u.Hostname() == "" || u.Opaque != "":
		return nil, misconfigured(code, "%s %s has no host", what, showURL(u))
	case u.User != nil:
		return nil, misconfigured(code, "%s %s holds a user name or password; remove it", what, showURL(u))
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, misconfigured(code, "%s %s has a fragment; remove it", what, showURL(u))
	case !validHost(u.Hostname()) || !validPort(u.Port()):
		return nil, misconfigured(code, "%s %s has a host or port that is not valid", what, showURL(u))
	}
	return u, nil
}

// checkShown refuses an identifier or URL that a reader would take for another: it is stored, compared and shown as it
// is. A host counts as it is decoded, for that is how browsers show it.
func checkShown(raw, what string, code Code) *Error {
	hidden, found := hiddenIn(raw)
	if !found {
		u, err := url.Parse(raw)
		if err != nil {
			return nil // for others to tell
		}
		hidden, found = hiddenIn(u.Host)
	}
	if !found {
		return nil
	}
	return misconfigured(code, "%s is not a valid URL: it holds a character that does not show, or changes how others "+
		"do (%U); remove it", what, hidden)
}

// parse is url.Parse with the host in ASCII (RFC 5891): letters that look alike in two scripts do not when they are
// shown, and what is checked is what net/http dials.
func parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || !strings.ContainsFunc(u.Host, notASCII) {
		return u, err
	}
	host, err := idna.Lookup.ToASCII(u.Hostname())
	if err != nil {
		return nil, err
	}
	if port := u.Port(); port != "" {
		host += ":" + port
	}
	u.Host = host
	return u, nil
}

func notASCII(r rune) bool { return r > unicode.MaxASCII }

// validHost is true for addresses and for names of letters, digits, hyphens, underscores and dots.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	name := strings.TrimSuffix(host, ".")
	return name != "" && len(name) <= 253 && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, ".") &&
		!strings.Contains(name, "..") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r != '.' && notStateChar(r) })
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || (err == nil && n > 0)
}

// Host is the host and port of a URL in one spelling, by which requests to it are counted: ASCII, lower case, no dot at
// the end, always with a port, addresses in canonical form. What is no URL stays as it is: nothing is sent to it.
func Host(rawURL string) string {
	u, err := parse(rawURL)
	if err != nil {
		return rawURL
	}
	host := strings.TrimRight(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().WithZone("").String()
	}
	port := strings.TrimLeft(u.Port(), "0")
	switch {
	case port != "":
	case strings.EqualFold(u.Scheme, "http"):
		port = "80"
	default:
		port = "443"
	}
	return net.JoinHostPort(host, port)
}

// showURL is a URL for a message: never its query, fragment or userinfo.
func showURL(u *url.URL) string {
	short := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if text := Sanitize(short.String(), 256); text != "" {
		return text
	}
	return "(empty)"
}

// showRaw shows a stranger's URL in a message.
func showRaw(raw string) string {
	if u, err := parse(raw); err == nil {
		return showURL(u)
	}
	return "(not a URL)"
}

// IsLoopback reports whether a host is localhost or a loopback address. It is about the name only.
func IsLoopback(host string) bool {
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

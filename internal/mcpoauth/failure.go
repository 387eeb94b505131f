package mcpoauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxRetryAfter is the longest a server may ask us to wait.
const maxRetryAfter = time.Hour

// networkError is a request without an answer. what names the request, code is the error's unless the address was
// refused.
func networkError(err error, what string, u *url.URL, code Code) *Error {
	var denied *deniedError
	switch {
	case errors.As(err, &denied):
		return egressError(denied, what, u)
	case errors.Is(err, errNotAdmitted):
		return busy(what, u)
	}
	return &Error{
		Kind: Transient, Code: code,
		Message: fmt.Sprintf("%s %s got no answer: %s%s", what, showURL(u), cause(err), nameHint(err)),
	}
}

func egressError(denied *deniedError, what string, u *url.URL) *Error {
	e := misconfigured(EgressDenied, "%s %s was not sent: %s", what, showURL(u), denied.of(u))
	e.Outcome = NotSent
	return e
}

// of says whose address is refused, and what helps.
func (e *deniedError) of(u *url.URL) string {
	help := "ask the operator's administrator to add the address to --egress-allow-cidrs, or use a public host"
	switch {
	case e.port:
		help = "Kubernetes itself listens there, or at that port, and an allowed range does not open it: ask the " +
			"operator's administrator to add the address with the port to --egress-allow-cidrs, or use another port"
	case e.never:
		help = "this kind of address is never called; use another host"
	}
	return fmt.Sprintf("host %s has %s address; %s", Sanitize(u.Hostname(), 253), e.class, help)
}

// checkAddress refuses a URL whose host is by its letters an address that may not be called: nobody should consent to
// what ends in a request that is never sent. What names resolve to is checked when they are called.
func (c *Client) checkAddress(u *url.URL, what string) *Error {
	host, port, err := splitAddress(Host(u.String()))
	var denied *deniedError
	if !errors.As(err, &denied) && err == nil {
		denied = c.egress.checkLiteral(host, port)
	}
	if denied == nil {
		return nil
	}
	return misconfigured(EgressDenied, "%s %s cannot be called: %s", what, showURL(u), denied.of(u))
}

// cause says in our own words why there is no answer. Texts of net/http may repeat what the server sent, or a URL with
// its query; only the texts of the name service, the socket and certificates are taken over.
func cause(err error) string {
	var (
		dns       *net.DNSError
		unknownCA x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		record    tls.RecordHeaderError
		errno     syscall.Errno
		proxied   *proxyError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "the request was cancelled"
	case errors.As(err, &proxied):
		return proxied.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name does not resolve"
	case errors.As(err, &dns):
		return "looking up the host name failed"
	case isTimeout(err):
		return "it took too long"
	case errors.As(err, &unknownCA):
		return "its certificate is signed by an unknown authority; add the authority with --ca-file"
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return "its certificate is not valid: " + Sanitize(err.Error(), 160)
	case errors.As(err, &alert), errors.As(err, &record):
		return "the TLS handshake failed"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "the connection was closed or the answer is not HTTP"
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

// statusError is an answer with a status that may heal.
func (c *Client) statusError(resp *http.Response, what string, u *url.URL) *Error {
	return &Error{
		Kind: Transient, Code: ServerUnreachable, Status: resp.StatusCode, RetryAfter: c.retryAfter(resp.Header),
		Message: fmt.Sprintf("%s %s answered %s", what, showURL(u), showStatus(resp.StatusCode)),
	}
}

func showStatus(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3), at most an hour.
func (c *Client) retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		// Compared before multiplying, which could overflow.
		if seconds > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(c.o.Now()), 0), maxRetryAfter)
	}
	return 0
}

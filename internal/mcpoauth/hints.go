package mcpoauth

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
)

// isWebPage is about the label: what a program is answered with a web page was probably sent to the wrong place.
func isWebPage(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return media == "text/html" || media == "application/xhtml+xml"
}

// nameHint is for a host that no name service knows, or that none could be asked about.
func nameHint(err error) string {
	var (
		dns     *net.DNSError
		proxied *proxyError
	)
	switch {
	case errors.As(err, &proxied) || !errors.As(err, &dns):
		return ""
	case dns.IsNotFound:
		return "; check the URL"
	}
	return "; check the URL, and the cluster's name service"
}

// serverHint is for an MCP server's answer that is probably another server's; empty if nothing speaks for that.
func serverHint(server *url.URL, status int, contentType string) string {
	page := isWebPage(contentType)
	switch {
	case !page && status != http.StatusNotFound:
		return ""
	case isBare(server):
		return "; the URL has no path, and most MCP servers have one: " + guess(server)
	case page:
		return ", a web page; check the URL"
	}
	return "; check the URL"
}

func isBare(server *url.URL) bool {
	return (server.Path == "" || server.Path == "/") && server.RawQuery == ""
}

// guess is where most MCP servers are, to be tried by hand: never called before somebody writes it into the spec.
func guess(server *url.URL) string {
	return fmt.Sprintf("try spec.serverURL: %q", showURL(&url.URL{Scheme: server.Scheme, Host: server.Host, Path: "/mcp"}))
}

// endpointHint is for an endpoint of an authorization server that answers with a web page; empty if it does not.
func endpointHint(a *answer) string {
	if !isWebPage(a.contentType) || mayHeal(a.status) {
		return ""
	}
	return ", a web page; check the URL, which is from the server's metadata or spec.authorizationServer, and what may " +
		"answer in its place"
}

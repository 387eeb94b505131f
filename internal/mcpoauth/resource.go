package mcpoauth

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

const resourceWellKnown = "/.well-known/oauth-protected-resource"

var resourceMembers = []string{"resource", "authorization_servers", "scopes_supported",
	"dpop_bound_access_tokens_required"}

// findResource looks for the protected resource metadata: the URL of the challenge, the well-known location of the
// path, then of the root (RFC 9728, sections 3.1 and 5.1). Nil without error means there is none; clean then says that
// every location answered 4xx.
func (c *Client) findResource(ctx context.Context, server *url.URL,
	fromHeader string) (md *ProtectedResourceMetadata, clean bool, e *Error) {
	clean = true
	for _, location := range resourceLocations(server, fromHeader) {
		body, where, e := c.getDocument(ctx, location, "the protected resource metadata URL")
		if e != nil {
			return nil, false, e
		}
		if where == found {
			md, e := parseResource(body, location, server)
			return md, false, e
		}
		clean = clean && where == cleanlyNotHere
	}
	return nil, clean, nil
}

func resourceLocations(server *url.URL, fromHeader string) []string {
	var all []string
	// What is no absolute URL counts as absent.
	if u, err := parse(fromHeader); err == nil && u.Scheme != "" && u.Host != "" {
		all = append(all, fromHeader)
	}
	base := server.Scheme + "://" + server.Host + resourceWellKnown
	path := server.EscapedPath()
	if path == "/" {
		path = ""
	}
	byPath := base + path
	if server.RawQuery != "" {
		byPath += "?" + server.RawQuery
	}
	for _, location := range []string{byPath, base} {
		if !slices.Contains(all, location) {
			all = append(all, location)
		}
	}
	return all
}

func parseResource(body []byte, location string, server *url.URL) (*ProtectedResourceMetadata, *Error) {
	var md ProtectedResourceMetadata
	where := showRaw(location)
	if err := decodeDocument(body, &md, resourceMembers); err != nil {
		return nil, misconfigured(InvalidMetadata, "the protected resource metadata %s is not valid: %s; the server has to "+
			"mend it (RFC 9728)", where, err)
	}
	if md.Resource == "" {
		return nil, misconfigured(InvalidMetadata, "the protected resource metadata %s has no resource; the server has to "+
			"name itself there (RFC 9728, section 2)", where)
	}
	if e := checkShown(md.Resource, "the resource in "+where+",", InvalidMetadata); e != nil {
		return nil, e
	}
	if !resourceCovers(md.Resource, server) {
		return nil, resourceMismatch(where, md.Resource, server)
	}
	return &md, nil
}

func resourceMismatch(where, named string, server *url.URL) *Error {
	if !pasteable(named) {
		return misconfigured(ResourceMismatch, "the protected resource metadata %s is about %s, not about serverURL %s; "+
			"connect to the URL it names, or have the server mend it",
			where, showRaw(named), showURL(server))
	}
	return misconfigured(ResourceMismatch, "the protected resource metadata %s is about another resource than serverURL "+
		"%s; have the server mend it, or connect to the one it names: spec.serverURL: %q",
		where, showURL(server), named)
}

// resourceCovers is true if the resource identifier is the server URL, but for a slash at the end, or an ancestor of it
// at the same origin on a path-segment boundary. RFC 9728 section 3.3 wants them identical; official SDKs and many
// servers name the origin, or leave a slash out.
func resourceCovers(resource string, server *url.URL) bool {
	if resource == server.String() {
		return true
	}
	r, err := parse(resource)
	if err != nil || r.User != nil || r.Opaque != "" || strings.Contains(resource, "#") || origin(r) != origin(server) {
		return false
	}
	if r.RawQuery != "" && r.RawQuery != server.RawQuery {
		return false
	}
	ancestor := strings.TrimSuffix(r.EscapedPath(), "/")
	path := strings.TrimSuffix(server.EscapedPath(), "/")
	if ancestor == path {
		return true
	}
	return r.RawQuery == "" && strings.HasPrefix(path, ancestor+"/") && !hasDotSegment(path)
}

// hasDotSegment finds paths that may mean another place than they spell.
func hasDotSegment(path string) bool {
	plain := strings.ReplaceAll(strings.ToLower(path), "%2e", ".")
	return slices.ContainsFunc(strings.Split(plain, "/"), func(s string) bool { return s == "." || s == ".." })
}

package mcpoauth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// maxServers is how many of the listed authorization servers are tried.
const maxServers = 8

// Discover finds the authorization server of an MCP server, its validated metadata and the resource identifier to ask
// tokens for (MCP authorization specification; RFC 9728, RFC 8414, OpenID Connect Discovery 1.0). Requests are
// sequential and stop at the first valid document.
//
// Errors: ServerUnreachable (Transient) if any location has an outage, for then nothing may be concluded;
// MetadataNotFound, InvalidMetadata, ResourceMismatch, IssuerMismatch, PKCEUnsupported, InsecureURL and EgressDenied
// (Misconfigured).
func (c *Client) Discover(ctx context.Context, r DiscoveryRequest) (*Discovery, error) {
	d, e := c.discover(ctx, r)
	if e != nil {
		return nil, e
	}
	return d, nil
}

func (c *Client) discover(ctx context.Context, r DiscoveryRequest) (*Discovery, *Error) {
	server, e := c.parseURL(r.ServerURL, "serverURL", InsecureURL)
	if e != nil {
		return nil, e
	}
	answer, e := c.probe(ctx, server)
	if e != nil {
		return nil, e
	}
	resource, clean, e := c.findResource(ctx, server, answer.challenge.ResourceMetadata)
	if e != nil {
		return nil, e
	}
	d := &Discovery{AuthorizationRequired: true, Resource: r.ServerURL, ChallengedScopes: answer.challenge.Scopes}
	var as *AuthorizationServerMetadata
	switch {
	case resource != nil:
		d.Resource, d.ResourceScopes = resource.Resource, someScopes(resource.ScopesSupported)
		as, d.Unlisted, e = c.chooseServer(ctx, r, resource.AuthorizationServers)
	case r.LegacyEndpoints && clean && r.Endpoints == nil:
		as, e = c.legacyServer(ctx, r, server)
	case r.Endpoints != nil, r.Issuer != "":
		as, _, e = c.chooseServer(ctx, r, nil)
	case r.MayBePublic && clean && answer.status >= 200 && answer.status < 300:
		return &Discovery{Resource: r.ServerURL}, nil
	default:
		e = notFound(server, answer)
	}
	if e != nil {
		return nil, e
	}
	d.AuthorizationServer, d.DPoPRequired = *as, requiresDPoP(answer.challenges, resource)
	if d.DPoPRequired {
		if e := checkDPoP(as); e != nil {
			return nil, e
		}
	}
	return d, nil
}

func notFound(server *url.URL, answer *probeResult) *Error {
	const (
		setIssuer = "set spec.authorizationServer.issuer"
		setLegacy = "for a server of MCP 2025-03-26, `spec.compatibility.legacyEndpoints: true`"
	)
	answered, page := showStatus(answer.status), isWebPage(answer.contentType)
	if page {
		answered += ", a web page"
	}
	help := "check the URL, or " + setIssuer + " or, " + setLegacy
	if isBare(server) && (page || answer.status == http.StatusNotFound) {
		help = setIssuer + " or, " + setLegacy + "; but the URL has no path, and most MCP servers have one: " + guess(server)
	}
	e := misconfigured(MetadataNotFound,
		"serverURL %s answered %s, and neither its WWW-Authenticate header nor %s names an authorization server; %s",
		showURL(server), answered, resourceWellKnown, help)
	e.Status = answer.status
	return e
}

// IdentityProviderMetadata is the metadata of an identity provider for TokenExchange, where it is known by its issuer
// alone (RFC 8414, OpenID Connect Discovery 1.0). Only a token endpoint is asked of it.
//
// Errors: ServerUnreachable (Transient); MetadataNotFound, InvalidMetadata, IssuerMismatch, InsecureURL and
// EgressDenied (Misconfigured).
func (c *Client) IdentityProviderMetadata(ctx context.Context, issuer string) (*AuthorizationServerMetadata, error) {
	md, e := c.loadServer(ctx, issuer, trust{noCodeFlow: true})
	if e == nil {
		return md, nil
	}
	switch e.Code {
	case MetadataNotFound:
		e.Message = fmt.Sprintf("identity provider %s has no metadata at its well-known locations; set "+
			"spec.identityProvider.tokenEndpoint", showRaw(issuer))
	case IssuerMismatch:
		e.Message = fmt.Sprintf("the metadata of identity provider %s name another issuer; set "+
			"spec.identityProvider.issuer to that one if you trust it, or set spec.identityProvider.tokenEndpoint",
			showRaw(issuer))
	}
	return nil, e
}

// chooseServer returns the pinned authorization server, else the first listed one that validates. An outage of one
// stops the search: which server is used must not depend on the weather. unlisted is set if it is the pinned one and
// the list names only others.
func (c *Client) chooseServer(ctx context.Context, r DiscoveryRequest,
	listed []string) (as *AuthorizationServerMetadata, unlisted string, e *Error) {
	if r.Endpoints != nil {
		as, e = c.givenServer(r)
		return as, "", e
	}
	t := r.trust()
	if r.Issuer != "" && (len(listed) == 0 || slices.Contains(listed, r.Issuer)) {
		as, e = c.loadServer(ctx, r.Issuer, t)
		return as, "", e
	}
	if len(listed) == 0 {
		return nil, "", misconfigured(InvalidMetadata,
			"the protected resource metadata of %s lists no authorization_servers; have the server list one, or set "+
				"spec.authorizationServer.issuer", showRaw(r.ServerURL))
	}
	var first *Error
	for _, identifier := range listed[:min(len(listed), maxServers)] {
		as, e := c.loadServer(ctx, identifier, t)
		if e == nil || e.Kind == Transient {
			return as, "", e
		}
		if first == nil {
			first = e
		}
	}
	if r.Issuer == "" {
		return nil, "", first
	}
	as, e = c.unlistedServer(ctx, r, t, listed)
	return as, listed[0], e
}

// unlistedServer is the pinned one where the protected resource metadata names only others: the spec's author knows
// better.
func (c *Client) unlistedServer(ctx context.Context, r DiscoveryRequest, t trust,
	listed []string) (*AuthorizationServerMetadata, *Error) {
	as, e := c.loadServer(ctx, r.Issuer, t)
	if e == nil || e.Code != MetadataNotFound || !pasteable(listed[0]) {
		return as, e
	}
	return nil, misconfigured(IssuerMismatch,
		"serverURL %s does not name the authorization server %s of the spec, which has no metadata either; remove it, or "+
			"set spec.authorizationServer.issuer: %q",
		showRaw(r.ServerURL), showRaw(r.Issuer), listed[0])
}

// givenServer takes the metadata from the spec.
func (c *Client) givenServer(r DiscoveryRequest) (*AuthorizationServerMetadata, *Error) {
	md := *r.Endpoints
	if r.Issuer != "" {
		md.Issuer = r.Issuer
	}
	if md.Issuer == "" {
		return nil, misconfigured(InvalidMetadata, "spec.authorizationServer has endpoints but no issuer; set "+
			"spec.authorizationServer.issuer")
	}
	if e := checkShown(md.Issuer, "spec.authorizationServer.issuer", InvalidMetadata); e != nil {
		return nil, e
	}
	if e := c.checkServer(&md, "spec.authorizationServer", r.trust()); e != nil {
		return nil, e
	}
	return &md, nil
}

// legacyServer is for MCP specification 2025-03-26, where the MCP server's origin is its authorization server: metadata
// at the root, else default endpoints.
func (c *Client) legacyServer(ctx context.Context, r DiscoveryRequest,
	server *url.URL) (*AuthorizationServerMetadata, *Error) {
	base := server.Scheme + "://" + server.Host
	location := base + serverWellKnown
	body, where, e := c.getDocument(ctx, location, "the authorization server metadata URL")
	if e != nil {
		return nil, e
	}
	switch where {
	case found:
		t := r.trust()
		md, e := c.parseServer(body, location, base, t)
		if e != nil && e.Code == IssuerMismatch && r.Issuer == "" {
			// The identifier was never spelled out by anybody; official SDKs add a slash to it.
			md, e = c.parseServer(body, location, base+"/", t)
		}
		return md, e
	case cleanlyNotHere:
		// That specification demands PKCE of everybody, and there is no document that could say so.
		md := &AuthorizationServerMetadata{
			Issuer: base, AuthorizationEndpoint: base + "/authorize", TokenEndpoint: base + "/token",
			RegistrationEndpoint: base + "/register", CodeChallengeMethodsSupported: []string{"S256"},
		}
		if r.Issuer != "" {
			md.Issuer = r.Issuer
		}
		return md, nil
	case notHere:
	}
	return nil, misconfigured(MetadataNotFound,
		"%s is no metadata document and no 404 either, so the endpoints of MCP 2025-03-26 cannot be assumed; set "+
			"spec.authorizationServer with issuer, authorizationEndpoint and tokenEndpoint",
		showRaw(location))
}

package mcpoauth

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

const (
	serverWellKnown = "/.well-known/oauth-authorization-server"
	openIDWellKnown = "/.well-known/openid-configuration"
)

var serverMembers = []string{
	"issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint",
	"scopes_supported", "code_challenge_methods_supported", "token_endpoint_auth_methods_supported",
	"authorization_response_iss_parameter_supported", "client_id_metadata_document_supported",
	"dpop_signing_alg_values_supported",
}

// trust says which issuer a document may name besides the identifier it was found by.
type trust struct {
	// pinned by the spec; empty: none.
	pinned string
	// assumeS256 accepts a document without code_challenge_methods_supported.
	assumeS256 bool
	// noCodeFlow asks for neither an authorization endpoint nor PKCE.
	noCodeFlow bool
}

func (r DiscoveryRequest) trust() trust {
	return trust{pinned: r.Issuer, assumeS256: r.AssumePKCES256, noCodeFlow: r.NoCodeFlow}
}

// loadServer fetches and validates the metadata of one authorization server (RFC 8414, section 3).
func (c *Client) loadServer(ctx context.Context, identifier string, t trust) (*AuthorizationServerMetadata, *Error) {
	u, e := c.parseURL(identifier, "the authorization server", InvalidMetadata)
	if e != nil {
		return nil, e
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, misconfigured(InvalidMetadata, "the authorization server %s has a query in its issuer identifier, "+
			"which RFC 8414 forbids", showURL(u))
	}
	for _, location := range serverLocations(u) {
		body, where, e := c.getDocument(ctx, location, "the authorization server metadata URL")
		if e != nil {
			return nil, e
		}
		if where == found {
			return c.parseServer(body, location, identifier, t)
		}
	}
	return nil, misconfigured(MetadataNotFound,
		"authorization server %s has no metadata at its well-known locations (RFC 8414); check the issuer, have it publish "+
			"them, or set spec.authorizationServer with issuer, authorizationEndpoint and tokenEndpoint",
		showURL(u))
}

// serverLocations are the three URLs for an issuer with a path, the two for one without, in order. The root document of
// a host is another issuer's.
func serverLocations(issuer *url.URL) []string {
	base := issuer.Scheme + "://" + issuer.Host
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	if path == "" {
		return []string{base + serverWellKnown, base + openIDWellKnown}
	}
	return []string{base + serverWellKnown + path, base + openIDWellKnown + path, base + path + openIDWellKnown}
}

func (c *Client) parseServer(body []byte, location, identifier string, t trust) (*AuthorizationServerMetadata, *Error) {
	var md AuthorizationServerMetadata
	where := showRaw(location)
	if err := decodeDocument(body, &md, serverMembers); err != nil {
		return nil, misconfigured(InvalidMetadata, "the authorization server metadata %s is not valid: %s; the server has "+
			"to mend it (RFC 8414)", where, err)
	}
	switch {
	case md.Issuer == "":
		return nil, misconfigured(InvalidMetadata, "the authorization server metadata %s has no issuer; the server has to "+
			"name itself there (RFC 8414, section 2)", where)
	case t.pinned != "" && (identifier == t.pinned || md.Issuer == t.pinned):
		md.Issuer = t.pinned
	case md.Issuer != identifier || t.pinned != "":
		return nil, issuerMismatch(where, md.Issuer, identifier, t.pinned)
	}
	if e := c.checkServer(&md, where, t); e != nil {
		return nil, e
	}
	md.Documented = md.Issuer == identifier
	return &md, nil
}

// issuerMismatch tells the person how to trust the issuer that the document names.
func issuerMismatch(where, got, identifier, pinned string) *Error {
	want := identifier
	if pinned != "" {
		want = pinned
	}
	if !pasteable(got) {
		return misconfigured(IssuerMismatch, "the authorization server metadata %s names something that is no plain URL "+
			"instead of issuer %s; the server has to mend it", where, showRaw(want))
	}
	return misconfigured(IssuerMismatch,
		"the authorization server metadata %s names another issuer than %s; have the server mend it or, if you trust the "+
			"issuer it names, set spec.authorizationServer.issuer: %q",
		where, showRaw(want), got)
}

// pasteable is true for an issuer that may be shown in a message, which is done whole or not at all: a URL in plain
// ASCII.
func pasteable(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && len(issuer) <= 1024 && (u.Scheme == "https" || u.Scheme == "http") && validHost(u.Hostname()) &&
		!strings.ContainsFunc(issuer, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("?#@", r) })
}

// checkServer validates what this package will use: endpoints and PKCE.
func (c *Client) checkServer(md *AuthorizationServerMetadata, where string, t trust) *Error {
	endpoints := []struct {
		name, value string
		required    bool
		// called by the operator; only browsers go to the authorization endpoint.
		called bool
	}{
		{"authorization_endpoint", md.AuthorizationEndpoint, !t.noCodeFlow, false},
		{"token_endpoint", md.TokenEndpoint, true, true},
		{"registration_endpoint", md.RegistrationEndpoint, false, true},
		{"revocation_endpoint", md.RevocationEndpoint, false, true},
	}
	for _, ep := range endpoints {
		if ep.value == "" {
			if ep.required {
				return misconfigured(InvalidMetadata, "%s has no %s; the authorization server has to publish it", where, ep.name)
			}
			continue
		}
		what := "the " + ep.name + " in " + where + ","
		u, e := c.parseURL(ep.value, what, InvalidMetadata)
		if e == nil && ep.called {
			e = c.checkAddress(u, what)
		}
		if e != nil {
			return e
		}
	}
	return checkPKCE(md, where, t)
}

// checkPKCE wants S256 listed (RFC 7636, section 4.2; RFC 8414, section 2). An absent list can be waived, one without
// S256 cannot.
func checkPKCE(md *AuthorizationServerMetadata, where string, t trust) *Error {
	switch {
	case t.noCodeFlow, slices.Contains(md.CodeChallengeMethodsSupported, "S256"):
		return nil
	case md.CodeChallengeMethodsSupported != nil:
		return misconfigured(PKCEUnsupported, "%s lists no S256 among code_challenge_methods_supported; the authorization "+
			"server has to support PKCE with S256", where)
	case t.assumeS256:
		return nil
	}
	return misconfigured(PKCEUnsupported,
		"%s has no code_challenge_methods_supported; have the authorization server list S256 or, if you know that it "+
			"supports it, set `spec.compatibility.assumePKCES256: true`", where)
}

package doctor

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Findings of a discovery, by their place.
const (
	atServer = iota
	atResource
	atAuthorizationServer
	atIssuer
	atPKCE
)

// failedAt is the finding that the error of a discovery belongs to.
func (a *attempt) failedAt() int {
	switch a.err.Code {
	case mcpoauth.IssuerMismatch:
		return atIssuer
	case mcpoauth.PKCEUnsupported:
		return atPKCE
	case mcpoauth.ResourceMismatch:
		return atResource
	case mcpoauth.MetadataNotFound:
		if len(a.requests.byStage[stageAuthorizationServer]) == 0 {
			return atResource
		}
		return atAuthorizationServer
	}
	all := a.requests.byStage[a.requests.last]
	if len(all) == 0 {
		return atServer
	}
	last := all[len(all)-1]
	refused := a.err.Code == mcpoauth.EgressDenied || a.err.Code == mcpoauth.InsecureURL
	if refused && last.Status != "" && (last.code < 300 || last.code > 399) { // what that answer led to was never sent
		switch {
		case a.requests.last == stageServer:
			return atResource
		case last.document() != nil:
			return atAuthorizationServer
		}
	}
	return int(a.requests.last)
}

// discovered are the five findings of a discovery.
func (a *attempt) discovered() []Finding {
	out := []Finding{a.server(), a.resource(), a.authorizationServer(), a.issuer(), a.pkce()}
	if a.err != nil {
		f := &out[a.failedAt()]
		f.fail("%s", sentence(a.err.Message))
	}
	return out
}

func (a *attempt) server() Finding {
	f := Finding{Title: "MCP server, asked without a token", Requests: a.requests.shown(stageServer)}
	all := a.requests.byStage[stageServer]
	if len(all) == 0 || all[0].Status == "" {
		return f
	}
	e := all[0]
	challenge, challenged := mcpoauth.FindBearer(mcpoauth.ParseChallenges(e.header))
	switch {
	case e.code == 401 && challenge.ResourceMetadata != "":
		f.note("It demands authorization and says where its metadata are (RFC 9728, section 5.1).")
	case e.code == 401 && challenged:
		f.note("It demands authorization, but its WWW-Authenticate names no resource_metadata (RFC 9728, section 5.1): the " +
			"well-known locations are asked.")
	case e.code == 401:
		f.warn("It answers 401 without a WWW-Authenticate that can be used (RFC 9728, section 5.1): the well-known " +
			"locations are asked. The server should name its metadata there.")
	case e.code < 500 && e.isPage():
		f.warn("It answers with a web page: check that the URL is that of an MCP endpoint.")
	case e.code >= 200 && e.code < 300:
		f.note("It answers tools/list without a token.")
	case e.code < 500:
		f.warn("It answers neither 401 nor 2xx: check that the URL is that of an MCP endpoint.")
	}
	return f
}

func (a *attempt) resource() Finding {
	f := Finding{Title: "Protected resource metadata (RFC 9728)", Requests: a.requests.shown(stageResource)}
	all := a.requests.byStage[stageResource]
	switch {
	case a.requests.document(stageResource) != nil:
		f.note("%s", a.whichResource())
	case a.err == nil && !a.found.AuthorizationRequired:
		f.note("There are none, and the server answers without a token: it needs no authorization.")
	case a.err == nil && len(all) > 0:
		f.warn("There are none; the spec says where the authorization server is, or that the server is of MCP 2025-03-26.")
	}
	return f
}

// whichResource says which location the document was at.
func (a *attempt) whichResource() string {
	server, err := url.Parse(a.spec.ServerURL)
	all := a.requests.byStage[stageResource]
	if err != nil || len(all) == 0 {
		return ""
	}
	first := a.requests.byStage[stageServer][0]
	challenge, _ := mcpoauth.FindBearer(mcpoauth.ParseChallenges(first.header))
	redirected := slices.ContainsFunc(all, func(e *Exchange) bool { return e.code >= 300 && e.code < 400 })
	last := all[len(all)-1].raw
	switch {
	case redirected:
		return "Decided by the answer to a redirect (RFC 9728, section 3)."
	case last == challenge.ResourceMetadata:
		return "Decided by the URL in WWW-Authenticate (RFC 9728, section 5.1)."
	case strings.TrimSuffix(server.Path, "/") != "" && strings.HasSuffix(strings.TrimSuffix(last, "?"+server.RawQuery),
		server.EscapedPath()):
		return "Decided by the well-known location of the path (RFC 9728, section 3.1)."
	}
	return "Decided by the well-known location of the host (RFC 9728, section 3.1)."
}

func (a *attempt) authorizationServer() Finding {
	f := Finding{Title: "Authorization server metadata (RFC 8414, OpenID Connect Discovery)",
		Requests: a.requests.shown(stageAuthorizationServer)}
	all := a.requests.byStage[stageAuthorizationServer]
	switch {
	case a.public():
		f.Level = Skipped
		f.note("Not needed.")
	case a.err == nil && len(all) == 0:
		f.note("Not asked for: the spec names the endpoints.")
	case a.err == nil && a.requests.document(stageAuthorizationServer) == nil:
		f.warn("There are none: the endpoints of MCP 2025-03-26 are assumed.")
	case a.requests.document(stageAuthorizationServer) != nil:
		f.note("%s", whichServer(all[len(all)-1].raw))
	}
	if a.err == nil && a.found.Unlisted != "" {
		f.warn("The spec names another authorization server than the protected resource metadata, which name %s.",
			shownText(a.found.Unlisted))
	}
	return f
}

// whichServer says which location the document was at. The order is that of the MCP specification.
func whichServer(raw string) string {
	if strings.Contains(raw, "/.well-known/oauth-authorization-server") {
		return "Decided by the first location that has a document: RFC 8414, section 3."
	}
	return "Decided by the first location that has a document: OpenID Connect Discovery 1.0, section 4."
}

func (a *attempt) public() bool { return a.err == nil && !a.found.AuthorizationRequired }

func (a *attempt) issuer() Finding {
	f := Finding{Title: "Issuer (RFC 8414, section 3.3)"}
	switch {
	case a.public():
		f.Level = Skipped
		f.note("Not needed.")
	case a.err == nil && a.found.AuthorizationServer.Documented:
		f.note("%s names itself in its own document.", shownText(a.found.AuthorizationServer.Issuer))
	case a.err == nil:
		f.note("%s is trusted because the spec names it, or because the server is of MCP 2025-03-26.",
			shownText(a.found.AuthorizationServer.Issuer))
	case a.failedAt() > atIssuer:
		f.note("The document names the issuer that it was asked for.")
	}
	return f
}

func (a *attempt) pkce() Finding {
	f := Finding{Title: "PKCE with S256 (RFC 7636)"}
	switch {
	case a.public():
		f.Level = Skipped
		f.note("Not needed.")
	case discovery.NonInteractive(a.spec):
		f.note("Not needed: nobody consents with grantType %s.", a.spec.GrantType)
	case a.err == nil && slices.Contains(texts(a.requests.document(stageAuthorizationServer),
		"code_challenge_methods_supported"), "S256"):
		f.note("code_challenge_methods_supported lists S256.")
	case a.err == nil:
		f.warn("Taken for granted: no document lists S256.")
	}
	return f
}

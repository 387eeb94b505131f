package mcpoauth

import (
	"slices"
	"strings"
)

const offlineAccess = "offline_access"

// maxScopes is how many bytes of scopes are taken from a stranger: they end in a link, a status and a Secret.
const maxScopes = 8 << 10

// someScopes are those from the left that fit into maxScopes.
func someScopes(scopes []string) []string {
	length := 0
	for i, s := range scopes {
		if length += len(s) + 1; length > maxScopes {
			return scopes[:i]
		}
	}
	return scopes
}

// SelectScopes says which scopes to ask for (RFC 6749, section 3.3; MCP authorization specification, scope selection):
// those of the spec, else those of the challenge, else scopes_supported of the protected resource metadata, else none;
// never the authorization server's list. What is no scope token is left out.
//
// The scope offline_access (OpenID Connect Core 1.0, section 11) is handled by offline alone, whoever names it:
// "Always" asks for it, "Never" does not, anything else ("Auto") does if the authorization server lists it.
func SelectScopes(spec []string, d *Discovery, offline string) []string {
	base := spec
	for _, next := range [][]string{d.ChallengedScopes, d.ResourceScopes} {
		if len(base) == 0 {
			base = next
		}
	}
	var scopes []string
	for _, s := range base {
		if s != offlineAccess && isScopeToken(s) && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	if offline == "Always" || (offline != "Never" && slices.Contains(d.AuthorizationServer.ScopesSupported,
		offlineAccess)) {
		scopes = append(scopes, offlineAccess)
	}
	return scopes
}

func isScopeToken(s string) bool {
	return s != "" && isVisible(s) && !strings.ContainsAny(s, ` "\`)
}

// isVisible is true for what client_id and access_token may hold (VSCHAR: RFC 6749, appendix A).
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

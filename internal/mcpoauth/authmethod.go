package mcpoauth

import (
	"net/url"
	"slices"
)

// SelectAuthMethod says how a pre-registered client authenticates at the token endpoint (RFC 6749, section 2.3): not at
// all without a secret or key, by private_key_jwt with a key alone, else as wanted, else by what the server supports.
// An empty list means client_secret_basic (RFC 8414, section 2). With both methods offered, a secret with special
// characters goes into the body: servers disagree on how Basic encodes them.
func SelectAuthMethod(supported []string, wanted AuthMethod, secret string, hasKey bool) AuthMethod {
	basic := slices.Contains(supported, string(AuthMethodClientSecretBasic))
	post := slices.Contains(supported, string(AuthMethodClientSecretPost))
	switch {
	case wanted == AuthMethodPrivateKeyJWT, hasKey && secret == "" && wanted != AuthMethodNone:
		return AuthMethodPrivateKeyJWT
	case secret == "":
		return AuthMethodNone
	case wanted != "":
		return wanted
	case post && (!basic || url.QueryEscape(secret) != secret):
		return AuthMethodClientSecretPost
	}
	return AuthMethodClientSecretBasic
}

// SelectRegisteredMethod says what to register a client with (RFC 7591, section 2, token_endpoint_auth_method). None is
// best where the server lists it: PKCE protects the code, and no secret can leak or expire. A server that lists nothing
// supports client_secret_basic (RFC 8414, section 2); official SDK servers list what they support.
func SelectRegisteredMethod(supported []string) AuthMethod {
	for _, m := range []AuthMethod{AuthMethodNone, AuthMethodClientSecretBasic, AuthMethodClientSecretPost} {
		if slices.Contains(supported, string(m)) {
			return m
		}
	}
	return AuthMethodClientSecretBasic
}

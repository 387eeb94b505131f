// Package mcpoauth is an OAuth 2.1 client for remote MCP servers, as the MCP authorization specification wants it.
// Requests go in, typed answers come out. It stores nothing and knows no Kubernetes.
//
// The flow, in order:
//
//	Discover                    POST to the MCP server without a token; its 401 names the metadata
//	                            (RFC 6750, RFC 9728 section 5.1)
//	                            protected resource metadata: header URL, path well-known, root well-known
//	                            (RFC 9728 section 3)
//	                            authorization server metadata: two or three URLs
//	                            (RFC 8414 section 3, OpenID Connect Discovery 1.0 section 4)
//	SelectRegistration          pre-registered, client ID metadata document
//	                            (draft-ietf-oauth-client-id-metadata-document), dynamic
//	Register                    dynamic client registration (RFC 7591)
//	SelectAuthMethod            how a pre-registered client authenticates (RFC 6749 section 2.3)
//	SelectScopes                spec, challenge, protected resource metadata (RFC 6749 section 3.3)
//	NewState, NewCodeVerifier   CSRF protection (RFC 6749 section 10.12), PKCE (RFC 7636)
//	AuthorizationURL            where a person consents (RFC 6749 section 4.1.1, resource: RFC 8707)
//	CheckAuthorizationResponse  the answer in the callback, iss first (RFC 6749 section 4.1.2, RFC 9207)
//	Exchange                    code for tokens (RFC 6749 section 4.1.3)
//	Refresh                     refresh token for tokens (RFC 6749 section 6)
//	ClientCredentials           a token on the client's own behalf (RFC 6749 section 4.4)
//	TokenExchange, JWTBearer    an identity for an assertion (RFC 8693), an assertion for a token (RFC 7523 section 2.1)
//	Revoke                      give a token back (RFC 7009)
//	UpdateRegistration,
//	DeleteRegistration          manage a dynamic registration (RFC 7592)
//
// Where Discovery.DPoPRequired, token requests carry a proof of TokenEndpoint.DPoP, and so must requests to the MCP
// server: DPoPKey.Prove signs both (RFC 9449).
//
// Every error is an *Error: who can mend it (Kind), what it was (Code), and for requests that spend a code or a refresh
// token whether they may have reached the server (Outcome). Servers are strangers: every request has a deadline and a
// size limit, every address is checked when it is dialled, and no text of theirs is repeated unsanitised.
package mcpoauth

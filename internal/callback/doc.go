// Package callback is what the internet talks to: the start page of a consent, the redirect URI of authorization
// responses, and the documents by which authorization servers know the operator. It runs on every replica, calls nobody
// but the API server, and uses of a credential Secret the Authorization alone, never a token: it records requests and
// responses there, and the reconciler does the rest.
//
//	GET  /connect/{ticket}   what would be authorized, and a form; nothing is consumed. After a response its outcome,
//	                         which is waited for
//	POST /connect/{ticket}   not from a foreign page, without content: a request with state and code verifier is stored,
//	                         and 303 leads to the authorization server
//	GET  /oauth/callback     the request of that state and this browser gets its response, once; 303 leads back to the
//	                         ticket
//	GET  /oauth/client-metadata.json, /oauth/client-metadata-jwt.json, /oauth/jwks.json
//
// Each guard stands before what costs more than itself:
//
//	places  connections, fair among addresses; some are kept for documents
//	admit   length of the query, requests per client address
//	visit   the UID in the ticket or state, cached metadata of its Secret (few live lookups of what the cache does not
//	        know), requests per connection, the cached MCPConnection; only then the credential Secret, live
//	find    (and OpenOffer) the state or ticket itself, in constant time; the cookie's hash; suspension and deletion
//	permit  the API server's word on whether the person may, where an authenticating proxy names one
//	update  the write: find, or OpenOffer, runs again in it, on what is there then
//
// What a server said is shown cut and stripped (mcpoauth.Sanitize); tickets, states, codes and query strings are never
// logged.
package callback

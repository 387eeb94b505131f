// Package credential keeps what the operator knows of one connection in one Secret that nobody else reads: client
// registrations, grants, and the consent in progress. The pages and the reconciler meet in it, and nowhere else.
//
// A key of the Secret is a part of Credential, as JSON. A part that did not change keeps its bytes, a Secret of a newer
// format is left alone, and annotations repeat what wakes the reconciler, so that nobody reads contents to find out:
//
//	Get                  the Secret, live, refused unless it names the UID of its connection
//	Update               mutate checks its own precondition and changes the Credential; after a conflict it runs again
//	                     on what is there then. It raises Writes, by which a plan of the reconciler is known to be old
//	Save                 Update for the answer of a server: it goes on through every failure that may pass
//	UpdateAuthorization  Update for the pages: the Authorization alone, and Writes stays
//
// A consent, and a token's way through the Secret:
//
//	reconciler  Replace         an Offer: a ticket for one person, bound to issuer, endpoints, client and resource
//	pages       AddRequest      a Request: state, code verifier, hash of the browser's cookie
//	pages       Record          the Response; Revision grows, and its annotation wakes the reconciler
//	reconciler  Response.Claim  the code is claimed and spent; PutGrant stores the answer, Finish forgets the code
//	reconciler  Grant.Claim     the refresh token is claimed and spent; the answer raises Generation
//
// All that pages do is AddRequest and Record; the rest is the reconciler's. The operator's own signing keys are in a
// Secret of their own (SigningKeySecret). What holds secrets prints as something else, and a WriteError hides the
// values of its Secret.
package credential

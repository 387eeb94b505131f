package credential

import "github.com/mcp-connection/operator/internal/mcpoauth"

// What is stored prints without its secrets, whoever logs it or panics with it.

// String keeps what is stored out of whatever prints it.
func (c Credential) String() string { return "a credential" }

// GoString is String, for %#v.
func (c Credential) GoString() string { return c.String() }

// String keeps the client's secrets out of whatever prints them.
func (r Registration) String() string {
	return "registration at " + mcpoauth.Sanitize(r.Issuer, 256)
}

// GoString is String, for %#v.
func (r Registration) GoString() string { return r.String() }

// String keeps keys and secrets out of whatever prints them: those of a Grant too.
func (b Binding) String() string { return "bound to " + mcpoauth.Sanitize(b.Issuer, 256) }

// GoString is String, for %#v.
func (b Binding) GoString() string { return b.String() }

// String keeps tickets, states and codes out of whatever prints them.
func (a Authorization) String() string { return "a consent in progress" }

// GoString is String, for %#v.
func (a Authorization) GoString() string { return a.String() }

// String keeps the ticket out of whatever prints it.
func (o Offer) String() string { return "an offer " + o.Binding.String() }

// GoString is String, for %#v.
func (o Offer) GoString() string { return o.String() }

// String keeps state and code verifier out of whatever prints them.
func (r Request) String() string { return "an authorization request " + r.Binding.String() }

// GoString is String, for %#v.
func (r Request) GoString() string { return r.String() }

// String keeps the code out of whatever prints it.
func (r Response) String() string { return "a response to " + r.Request.String() }

// GoString is String, for %#v.
func (r Response) GoString() string { return r.String() }

// String keeps state and ticket out of whatever prints them.
func (o Outcome) String() string { return "the outcome of a consent" }

// GoString is String, for %#v.
func (o Outcome) GoString() string { return o.String() }

// String keeps the private key out of whatever prints it.
func (k signingKey) String() string { return "signing key " + k.ID }

// GoString is String, for %#v.
func (k signingKey) GoString() string { return k.String() }

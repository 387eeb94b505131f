package mcpoauth

// What holds secrets prints as something else, whoever logs it or panics with it. Requests print as their token
// endpoint.

// String keeps the secret and the registration access token out of whatever prints them.
func (client ClientRegistration) String() string { return "client " + Sanitize(client.ClientID, 64) }

// GoString is String, for %#v.
func (client ClientRegistration) GoString() string { return client.String() }

// String keeps the initial access token out of whatever prints it.
func (r RegistrationRequest) String() string { return "registration at " + showRaw(r.Endpoint) }

// GoString is String, for %#v.
func (r RegistrationRequest) GoString() string { return r.String() }

// String keeps state and code verifier out of whatever prints them.
func (r AuthorizationRequest) String() string {
	return "authorization request to " + showRaw(r.Endpoint)
}

// GoString is String, for %#v.
func (r AuthorizationRequest) GoString() string { return r.String() }

// String keeps what a request spends, and what it authenticates by, out of whatever prints it.
func (ep TokenEndpoint) String() string { return "request to " + showRaw(ep.URL) }

// GoString is String, for %#v.
func (ep TokenEndpoint) GoString() string { return ep.String() }

// String keeps the tokens out of whatever prints them.
func (t TokenResponse) String() string { return "a token response" }

// GoString is String, for %#v.
func (t TokenResponse) GoString() string { return t.String() }

// String keeps the token out of whatever prints it.
func (t ExchangedToken) String() string { return "an exchanged token" }

// GoString is String, for %#v.
func (t ExchangedToken) GoString() string { return t.String() }

// String keeps the token out of whatever prints it.
func (p ServerProbe) String() string { return "probe of " + showRaw(p.ServerURL) }

// GoString is String, for %#v.
func (p ServerProbe) GoString() string { return p.String() }

// String keeps the token out of whatever prints it.
func (p DPoPProof) String() string { return "DPoP proof for " + p.Method }

// GoString is String, for %#v.
func (p DPoPProof) GoString() string { return p.String() }

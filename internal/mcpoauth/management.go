package mcpoauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// manages is true if a registration_client_uri may be used: an URL at the origin of the registration endpoint. RFC 7592
// does not tie the two, but servers manage clients where they register them, and no answer may turn the operator's PUT
// and DELETE on another host. Being of the issuer's origin is not enough: the endpoint need not speak for it.
func (c *Client) manages(uri string, endpoint *url.URL) bool {
	u, e := c.parseURL(uri, "registration_client_uri", RegistrationRefused)
	return e == nil && origin(u) == origin(endpoint)
}

// Managed is true for a client that its server lets itself be changed and deleted (RFC 7592).
func (r *ClientRegistration) Managed() bool {
	return r.RegistrationClientURI != "" && r.RegistrationAccessToken != ""
}

// UpdateRegistration registers r in place of what the server knows of the client (RFC 7592, section 2.2) and returns
// the registration that is valid from now on: servers may renew the secret, its expiry, the registration access token
// and the management URI, and what they leave out stays. The client's authentication method stays unless r names one.
//
// Errors are those of Register; RegistrationRefused also where the registration cannot be managed, or the server does
// not know the client any more.
func (c *Client) UpdateRegistration(ctx context.Context, r RegistrationRequest,
	old *ClientRegistration) (*ClientRegistration, error) {
	u, e := c.managementURL(old)
	if e != nil {
		return nil, e
	}
	method := r.AuthMethod
	if method == "" {
		method = old.AuthMethod
	}
	body, err := json.Marshal(struct {
		ClientID string `json:"client_id"`
		clientMetadata
	}{old.ClientID, r.metadata(method)})
	if err != nil {
		return nil, misconfigured(RegistrationRefused, "the registration request for %s cannot be encoded", showURL(u))
	}
	a, e := c.manage(ctx, http.MethodPut, u, body, old)
	if e != nil {
		return nil, e
	}
	if a.status < 200 || a.status > 299 {
		e = registrationAnswer(a, http.MethodPut, u, old.RegistrationAccessToken, old.ClientSecret)
		if e.Kind != Transient {
			e.Message += ": the authorization server does not update this client; let it be registered anew"
		}
		return nil, e
	}
	updated, e := c.parseUpdate(a.body, u, method, old)
	if e != nil {
		e.Status = a.status
		return nil, e
	}
	return updated, nil
}

// DeleteRegistration deletes a client at its server (RFC 7592, section 2.3). A client that is not there any more is
// success: 404, 410, and 401, for its registration access token ended with it. Errors are those of UpdateRegistration.
func (c *Client) DeleteRegistration(ctx context.Context, r *ClientRegistration) error {
	u, e := c.managementURL(r)
	if e != nil {
		return e
	}
	a, e := c.manage(ctx, http.MethodDelete, u, nil, r)
	if e != nil {
		return e
	}
	switch {
	case a.status >= 200 && a.status <= 299:
		return nil
	case a.status == http.StatusUnauthorized, a.status == http.StatusNotFound, a.status == http.StatusGone:
		return nil
	}
	e = registrationAnswer(a, http.MethodDelete, u, r.RegistrationAccessToken, r.ClientSecret)
	if e.Kind != Transient {
		// 403: it may not delete itself; 405: nobody may.
		e.Message += ": the authorization server does not delete this client; remove it there by hand"
	}
	return e
}

func (c *Client) managementURL(r *ClientRegistration) (*url.URL, *Error) {
	if !r.Managed() {
		return nil, misconfigured(RegistrationRefused, "the authorization server gave no registration_client_uri with a "+
			"registration_access_token for this client (RFC 7592), so it cannot be changed there")
	}
	return c.parseURL(r.RegistrationClientURI, "registration_client_uri", RegistrationRefused)
}

// manage sends a request once: a PUT may have renewed the token that a second one would need.
func (c *Client) manage(ctx context.Context, method string, u *url.URL, body []byte,
	r *ClientRegistration) (*answer, *Error) {
	header := http.Header{}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	bearer(header, r.RegistrationAccessToken)
	return c.sendOnce(ctx, method, u, body, header, time.Time{}, RegistrationFailing)
}

// parseUpdate keeps of the old registration what the answer leaves out. Another client would not have the old one's
// grants.
func (c *Client) parseUpdate(body []byte, u *url.URL, asked AuthMethod,
	old *ClientRegistration) (*ClientRegistration, *Error) {
	m, e := registrationMembers(body, http.MethodPut, u)
	if e != nil {
		return nil, e
	}
	r := readRegistration(m)
	if r.ClientID != "" && r.ClientID != old.ClientID {
		return nil, misconfigured(RegistrationRefused, "PUT %s answered with another client_id; let the client be "+
			"registered anew", showURL(u))
	}
	r.ClientID = old.ClientID
	if r.ClientSecret == "" && asked != AuthMethodNone {
		r.ClientSecret, r.SecretExpiresAt = old.ClientSecret, old.SecretExpiresAt
		if _, said := m["client_secret_expires_at"]; said {
			r.SecretExpiresAt = secretExpiry(m)
		}
	}
	if r.AuthMethod == "" {
		r.AuthMethod = asked
	}
	if r.RegistrationAccessToken == "" {
		r.RegistrationAccessToken = old.RegistrationAccessToken
	}
	if !c.manages(r.RegistrationClientURI, u) {
		r.RegistrationClientURI = old.RegistrationClientURI
	}
	if r.SecretMethod = old.SecretMethod; r.SecretMethod != "" && r.ClientSecret != "" {
		r.AuthMethod = old.AuthMethod // what the token endpoint demanded counts more than what is registered
	}
	return usable(r, http.MethodPut, u, asked)
}

package mcpoauth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// SelectRegistration says how to become a client of an authorization server. want is from the spec, empty for
// automatic: credentials if there are some, else a client ID metadata document if the server supports them and
// metadataDocumentURL is not empty, else dynamic registration (MCP authorization specification, client registration
// approaches). A metadata document asked for by name is used even where the server does not advertise support.
//
// The error is NoRegistrationMethod (Misconfigured) and says what would help.
func SelectRegistration(want RegistrationMethod, hasCredentials bool, metadataDocumentURL string,
	as AuthorizationServerMetadata) (RegistrationMethod, error) {
	switch want {
	case Preregistered:
		if hasCredentials {
			return Preregistered, nil
		}
		return "", misconfigured(NoRegistrationMethod, "spec.client.registration is Preregistered but there are no "+
			"credentials; set spec.client.credentialsSecretRef")
	case MetadataDocument:
		if metadataDocumentURL != "" {
			return MetadataDocument, nil
		}
		return "", misconfigured(NoRegistrationMethod, "spec.client.registration is MetadataDocument but there is no "+
			"document; set spec.client.metadataDocumentURL, or start the operator with a public https --external-url")
	case Dynamic:
		if as.RegistrationEndpoint != "" {
			return Dynamic, nil
		}
		return "", misconfigured(NoRegistrationMethod, "spec.client.registration is Dynamic but authorization server %s "+
			"has no registration endpoint; register a client there by hand and set spec.client.credentialsSecretRef",
			showRaw(as.Issuer))
	}
	switch {
	case hasCredentials:
		return Preregistered, nil
	case as.ClientIDMetadataDocumentSupported && metadataDocumentURL != "":
		return MetadataDocument, nil
	case as.RegistrationEndpoint != "":
		return Dynamic, nil
	}
	help := "register a client there by hand and set spec.client.credentialsSecretRef"
	if as.ClientIDMetadataDocumentSupported {
		help += ", or start the operator with a public https --external-url: the server supports client ID metadata documents"
	}
	return "", misconfigured(NoRegistrationMethod, "authorization server %s has no registration endpoint; %s",
		showRaw(as.Issuer), help)
}

// clientMetadata is the body of a registration request (RFC 7591, section 2; application_type: OpenID Connect Dynamic
// Client Registration 1.0, section 2). Standard members only.
type clientMetadata struct {
	RedirectURIs    []string   `json:"redirect_uris"`
	GrantTypes      []string   `json:"grant_types"`
	ResponseTypes   []string   `json:"response_types"`
	AuthMethod      AuthMethod `json:"token_endpoint_auth_method"`
	ApplicationType string     `json:"application_type"`
	ClientName      string     `json:"client_name,omitempty"`
	ClientURI       string     `json:"client_uri,omitempty"`
	LogoURI         string     `json:"logo_uri,omitempty"`
	Scope           string     `json:"scope,omitempty"`
	// DPoPBound is RFC 9449, section 5.2.
	DPoPBound bool `json:"dpop_bound_access_tokens,omitempty"`
}

func (r RegistrationRequest) metadata(method AuthMethod) clientMetadata {
	application := "web"
	if u, err := url.Parse(r.RedirectURI); err == nil && IsLoopback(u.Hostname()) {
		application = "native"
	}
	return clientMetadata{
		RedirectURIs:    []string{r.RedirectURI},
		GrantTypes:      []string{"authorization_code", "refresh_token"},
		ResponseTypes:   []string{"code"},
		AuthMethod:      method,
		ApplicationType: application,
		ClientName:      r.ClientName,
		ClientURI:       r.ClientURI,
		LogoURI:         r.LogoURI,
		Scope:           strings.Join(r.Scopes, " "),
		DPoPBound:       r.DPoPBound,
	}
}

// Register registers a client (RFC 7591, section 3). What the server answers overrides what was asked.
//
// Errors: RegistrationRefused (Misconfigured) with the redirect URI in the message; RegistrationFailing (Transient) for
// 429, 5xx, network and answers that are not JSON; InsecureURL and EgressDenied (Misconfigured).
func (c *Client) Register(ctx context.Context, r RegistrationRequest) (*ClientRegistration, error) {
	u, e := c.parseURL(r.Endpoint, "the registration endpoint", RegistrationRefused)
	if e != nil {
		return nil, e
	}
	method := r.AuthMethod
	if method == "" {
		method = SelectRegisteredMethod(r.AuthMethods)
	}
	body, err := json.Marshal(r.metadata(method))
	if err != nil {
		return nil, misconfigured(RegistrationRefused, "the registration request for %s cannot be encoded", showURL(u))
	}
	header := http.Header{"Content-Type": {"application/json"}}
	bearer(header, r.InitialAccessToken)
	a, e := c.postOnce(ctx, u, body, header, time.Time{}, RegistrationFailing)
	if e != nil {
		return nil, e
	}
	if a.status < 200 || a.status > 299 {
		return nil, registrationError(a, u, r)
	}
	registration, e := c.parseRegistration(a.body, u, method)
	if e != nil {
		e.Status = a.status
		return nil, e
	}
	if registration.AuthMethod == AuthMethodNone && registration.ClientSecret != "" {
		registration.SecretMethod = SelectAuthMethod(r.AuthMethods, "", registration.ClientSecret, false)
	}
	return registration, nil
}

// WithSecret is a client that was registered with none and got a secret all the same, as it authenticates with that;
// false of any other. What the server answers to a registration is authoritative (RFC 7591, section 3.2.1), but some
// contradict it at the token endpoint.
func (r ClientRegistration) WithSecret() (ClientRegistration, bool) {
	if r.AuthMethod != AuthMethodNone || r.ClientSecret == "" {
		return r, false
	}
	if r.AuthMethod = r.SecretMethod; r.AuthMethod == "" {
		r.AuthMethod = AuthMethodClientSecretBasic
	}
	return r, true
}

// bearer sets the token that a request is made with (RFC 6750, section 2.1).
func bearer(header http.Header, token string) {
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
}

func registrationError(a *answer, u *url.URL, r RegistrationRequest) *Error {
	e := registrationAnswer(a, http.MethodPost, u, r.InitialAccessToken)
	if e.Kind == Transient {
		return e
	}
	const byHand = "register a client by hand and set spec.client.credentialsSecretRef"
	help := byHand + fmt.Sprintf(", or have it allow the callback URL %q", showRaw(r.RedirectURI))
	switch {
	case a.status != http.StatusUnauthorized:
	case r.InitialAccessToken == "":
		help = "it may want an initial access token: set spec.client.initialAccessTokenSecretRef, or " + byHand
	default:
		help = "the initial access token may be wrong, spent or expired, or " + byHand
	}
	e.Message += ": the authorization server does not register this client; " + help
	return e
}

// registrationAnswer classifies an answer that is not 2xx, and says what it was.
func registrationAnswer(a *answer, method string, u *url.URL, secrets ...string) *Error {
	e := &Error{
		Kind: Misconfigured, Code: RegistrationRefused, Status: a.status, RetryAfter: a.retryAfter,
		Message: fmt.Sprintf("%s %s answered %s", method, showURL(u), showStatus(a.status)),
	}
	if mayHeal(a.status) {
		e.Kind, e.Code = Transient, RegistrationFailing
		e.Message += "; registration is retried"
		return e
	}
	if oauth := parseOAuthError(a.body, secrets...); oauth != nil {
		e.OAuthError = oauth.code
		e.Message += " (" + oauth.show() + ")"
	} else {
		e.Message += endpointHint(a)
	}
	return e
}

func registrationMembers(body []byte, method string, u *url.URL) (members, *Error) {
	if bytes.HasPrefix(body, []byte("{")) {
		if m, err := decodeMembers(body); err == nil {
			return m, nil
		}
	}
	return nil, &Error{Kind: Transient, Code: RegistrationFailing, Message: fmt.Sprintf("%s %s answered something that "+
		"is not a JSON object; registration is retried", method, showURL(u))}
}

func (c *Client) parseRegistration(body []byte, u *url.URL, asked AuthMethod) (*ClientRegistration, *Error) {
	members, e := registrationMembers(body, http.MethodPost, u)
	if e != nil {
		return nil, e
	}
	r := readRegistration(members)
	if r.RegistrationAccessToken == "" || !c.manages(r.RegistrationClientURI, u) {
		r.RegistrationClientURI, r.RegistrationAccessToken = "", ""
	}
	if r.ClientID == "" {
		return nil, misconfigured(RegistrationRefused, "POST %s answered without a client_id; the authorization server has "+
			"to mend that (RFC 7591), or register a client by hand and set spec.client.credentialsSecretRef", showURL(u))
	}
	return usable(r, http.MethodPost, u, asked)
}

func readRegistration(m members) *ClientRegistration {
	r := &ClientRegistration{
		Method:                  Dynamic,
		ClientID:                m.text("client_id"),
		ClientSecret:            m.text("client_secret"),
		AuthMethod:              AuthMethod(m.text("token_endpoint_auth_method")),
		RegistrationClientURI:   m.text("registration_client_uri"),
		RegistrationAccessToken: m.text("registration_access_token"),
	}
	if r.ClientSecret != "" {
		r.SecretExpiresAt = secretExpiry(m)
	}
	return r
}

// secretExpiry is zero for a secret that does not expire.
func secretExpiry(m members) time.Time {
	if seconds, ok := m.number("client_secret_expires_at"); ok && seconds > 0 && seconds < 1e11 {
		return time.Unix(int64(seconds), 0).UTC()
	}
	return time.Time{}
}

// maxCredential is longer than any client_id that fits into a link.
const maxCredential = 16 << 10

// usable fails for a client that cannot be stored, named or authenticated.
func usable(r *ClientRegistration, method string, u *url.URL, asked AuthMethod) (*ClientRegistration, *Error) {
	if max(len(r.ClientID), len(r.ClientSecret), len(r.RegistrationAccessToken)) > maxCredential ||
		!isVisible(r.ClientID) {
		return nil, misconfigured(RegistrationRefused, "%s %s registered the client with credentials that are longer than "+
			"16 KiB or a client_id that is not printable ASCII; register a client by hand and set "+
			"spec.client.credentialsSecretRef",
			method, showURL(u))
	}
	switch r.AuthMethod {
	case AuthMethodNone:
	case "", AuthMethodClientSecretBasic, AuthMethodClientSecretPost:
		r.AuthMethod = registeredMethod(r, asked)
	default:
		return nil, misconfigured(RegistrationRefused, "%s %s registered the client with token_endpoint_auth_method %s, "+
			"which is not supported; register a client by hand and set spec.client.credentialsSecretRef",
			method, showURL(u), retell(string(r.AuthMethod), 64, []string{r.ClientSecret, r.RegistrationAccessToken}))
	}
	return r, nil
}

// registeredMethod mends what is missing or contradicts the secret: servers echo a default without issuing a secret.
func registeredMethod(r *ClientRegistration, asked AuthMethod) AuthMethod {
	switch {
	case r.ClientSecret == "":
		return AuthMethodNone
	case r.AuthMethod != "":
		return r.AuthMethod
	case asked == AuthMethodClientSecretPost:
		return asked
	}
	return AuthMethodClientSecretBasic
}

package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// updatingRegistration comes before a refresh, which an expired secret would end.
func updatingRegistration(s *State, _ time.Time) []Task {
	g := s.Grant()
	if !Refreshable(g) || !updatable(&g.Client) || UpdateMoment(&g.Client).IsZero() {
		return nil
	}
	return []Task{{Step: StepUpdateRegistration, since: UpdateMoment(&g.Client), after: []Step{StepUpdateRegistration}}}
}

func unregistering(s *State, _ time.Time) []Task {
	return whenNeeded(StepUnregister, len(s.Unused()) > 0)
}

// signs reports whether a client authenticates with the operator's own key: a metadata document client by
// private_key_jwt.
func signs(c *mcpoauth.ClientRegistration) bool {
	return c.Method == mcpoauth.MetadataDocument && c.AuthMethod == mcpoauth.AuthMethodPrivateKeyJWT
}

// WantsToSign reports whether the spec demands client assertions (RFC 7523, section 2.2).
func WantsToSign(spec *v1alpha1.MCPConnectionSpec) bool {
	return mcpoauth.AuthMethod(ClientSpec(spec).AuthMethod) == mcpoauth.AuthMethodPrivateKeyJWT
}

// documentReplaced reports whether the spec now names another document than the one of a metadata document client, or
// another way to authenticate.
func (s *State) documentReplaced(used *mcpoauth.ClientRegistration) bool {
	named := ClientSpec(s.Spec()).MetadataDocumentURL
	return (named != "" && named != used.ClientID) || WantsToSign(s.Spec()) != signs(used)
}

// KeyNotRegistered says why a client that wants to sign cannot be registered dynamically; nil if it does not.
func KeyNotRegistered(s *State, documentURL string) error {
	if !WantsToSign(s.Spec()) {
		return nil
	}
	why := "the authorization server " + s.Discovery.AuthorizationServer.Issuer +
		" does not advertise client ID metadata documents"
	if documentURL == "" {
		why = "the operator has no public https --external-url for a client metadata document"
	}
	return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: mcpoauth.NoRegistrationMethod,
		Message: "spec.client.authMethod is private_key_jwt, but " + why +
			", and dynamic registration is not used with keys; remove authMethod, or register a client by hand and name its " +
			"Secret, with the key private_key, in spec.client.credentialsSecretRef"}
}

// NeedsSigningKey reports whether something stored, or to be imported, authenticates with the operator's own key.
func (s *State) NeedsSigningKey() bool {
	if s.Imported != nil && WantsToSign(s.Spec()) {
		return true
	}
	c := s.Credential()
	if c == nil {
		return false
	}
	if response := s.Response(); response != nil && signs(&response.Request.Binding.Client) {
		return true
	}
	for i := range c.Grants {
		if signs(&c.Grants[i].Client) {
			return true
		}
	}
	return false
}

// MetadataDocumentURL is the client_id of a metadata document client: that of the spec, or of one of the documents that
// the operator serves; empty without an https address for these.
func (s *State) MetadataDocumentURL() string {
	switch named := ClientSpec(s.Spec()).MetadataDocumentURL; {
	case named != "":
		return named
	case WantsToSign(s.Spec()):
		return credential.ClientMetadataJWTURL(s.ExternalURL)
	}
	return credential.ClientMetadataURL(s.ExternalURL)
}

// clientReplaced reports whether the spec now names another client than the one of a grant or offer.
func (s *State) clientReplaced(used *mcpoauth.ClientRegistration) bool {
	spec := ClientSpec(s.Spec())
	switch {
	case s.Client != nil:
		return s.Client.Missing == "" && s.Client.ID != used.ClientID
	case used.Method == mcpoauth.MetadataDocument && (spec.MetadataDocumentURL != "" || s.documentReplaced(used)):
		return s.documentReplaced(used)
	case spec.Registration != "" && spec.Registration != v1alpha1.RegistrationAuto:
		return string(used.Method) != string(spec.Registration)
	}
	return used.Method == mcpoauth.Preregistered
}

const (
	// MaxExpiredConsents is how many links of one registration may be opened and expire before the client is registered
	// anew.
	MaxExpiredConsents = 3
	// MaxRenewals is how many clients may take the place of one that never completed a flow.
	MaxRenewals = 3
)

// WantedRegistration is the only method that the spec allows; empty if it leaves that open.
func WantedRegistration(spec *v1alpha1.MCPConnectionSpec) mcpoauth.RegistrationMethod {
	if want := ClientSpec(spec).Registration; want != v1alpha1.RegistrationAuto {
		return mcpoauth.RegistrationMethod(want)
	}
	return ""
}

// UsableRegistration reports whether a stored client can begin a consent: its secret outlives the link, and the server
// has probably not forgotten it.
func UsableRegistration(known *credential.Registration, offer *credential.Offer, now time.Time) bool {
	expires, consents := known.Client.SecretExpiresAt, known.ExpiredConsents
	if expiredFor(known, offer, now) {
		consents++ // startAuthorization counts it
	}
	return (consents < MaxExpiredConsents || known.Renewals >= MaxRenewals) && !updateDue(&known.Client, now) &&
		(expires.IsZero() || now.Add(credential.TicketLifetime).Before(expires))
}

// ClientName is what a person reads on the consent page.
func ClientName(spec v1alpha1.ClientSpec) string {
	if spec.Name != "" {
		return spec.Name
	}
	return v1alpha1.ManagedBy
}

// RegistrationRequest is for the authorization server that was discovered (RFC 7591, section 2).
func RegistrationRequest(s *State) mcpoauth.RegistrationRequest {
	spec, as := ClientSpec(s.Spec()), s.Discovery.AuthorizationServer
	return mcpoauth.RegistrationRequest{
		Endpoint: as.RegistrationEndpoint, RedirectURI: s.RedirectURI(),
		ClientName: ClientName(spec), ClientURI: spec.URI, LogoURI: spec.LogoURI,
		Scopes:      requestedScopes(s),
		AuthMethods: as.TokenEndpointAuthMethodsSupported, AuthMethod: mcpoauth.AuthMethod(spec.AuthMethod),
		DPoPBound: s.Discovery.DPoPRequired,
	}
}

// InitialAccessToken is for a protected registration endpoint (RFC 7591, section 3).
type InitialAccessToken struct {
	// Value is empty where the spec names none.
	Value string
	// Where it is, for a person.
	Where string
	// Missing says what is not there; empty if all is.
	Missing string
	// Holder is what it was read from.
	Holder Holder
}

// WithRedirectURI adds to a message that sends somebody to the console of an authorization server what has to be
// entered there.
func (s *State) WithRedirectURI(message string) string {
	uri := s.RedirectURI()
	if uri == "" || s.NonInteractive() || strings.Contains(message, uri) {
		return message
	}
	return Sentence(message) + fmt.Sprintf(" The redirect URI to register there is %q", uri)
}

// unauthorized is the status code 401 (RFC 9110, section 15.5.2): what was sent along is not accepted.
const unauthorized = 401

// RegistrationFailed notes why no client was registered. A token that was refused is named by its place.
func (s *State) RegistrationFailed(now time.Time, token InitialAccessToken, err error) {
	e := mcpoauth.AsError(err)
	if e == nil || (e.Code != mcpoauth.NoRegistrationMethod && e.Code != mcpoauth.RegistrationRefused) {
		s.FailWith(now, StepRegister, err, "")
		return
	}
	message := e.Message
	if e.Status == unauthorized && token.Value != "" {
		message = Sentence(message) + " The initial access token is in the " + token.Where + "."
	}
	s.FailAs(now, StepRegister, e, string(e.Code), s.WithRedirectURI(message))
}

// NotUnregistered tells that a client stays at its server.
func NotUnregistered(err error) Note {
	return Note{Warning: true, Reason: "UnregistrationFailed", Message: "A client could not be deleted; delete it at " +
		"the authorization server: " + err.Error()}
}

// UsePreregistered takes the client that the spec names, if its secret may go to the server that was discovered.
func (s *State) UsePreregistered(now time.Time) {
	if s.Client.Missing != "" {
		s.NoteMissingClient(now, StepRegister)
		return
	}
	if err := s.ClientMayGo(Destinations(&s.Discovery.AuthorizationServer)...); err != nil {
		s.NoteUnmet(now, StepRegister, err)
		return
	}
	wanted := mcpoauth.AuthMethod(ClientSpec(s.Spec()).AuthMethod)
	s.Registered = &mcpoauth.ClientRegistration{
		Method: mcpoauth.Preregistered, ClientID: s.Client.ID, ClientSecret: s.Client.Secret,
		AuthMethod: mcpoauth.SelectAuthMethod(s.Discovery.AuthorizationServer.TokenEndpointAuthMethodsSupported, wanted,
			s.Client.Secret, s.Client.Key != nil),
	}
}

// RegisterNonInteractive takes the client that the spec names. An assertion may need none (RFC 7523, section 3.1).
func (s *State) RegisterNonInteractive(now time.Time) {
	if s.Client != nil {
		s.UsePreregistered(now)
	} else {
		s.Registered = &mcpoauth.ClientRegistration{AuthMethod: mcpoauth.AuthMethodNone}
	}
	if s.Registered != nil {
		s.Failures.Clear(StepRegister)
	}
}

package credential

import (
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// MaxGrants is how many grants are kept: the current one and those of earlier server URLs and issuers, so that
// flipping back needs no consent.
const MaxGrants = 4

// Credential is the decoded content of one credential Secret.
type Credential struct {
	Registrations []Registration
	// Retired are registrations that others took the place of, and that the server still knows.
	Retired       []Registration
	Grants        []Grant
	Named         []NamedIssuer
	Authorization Authorization
	Spent         Spent
	Handled       Handled
	// ProbedAt is when the published token was last tried at the server.
	ProbedAt time.Time
	Deletion Deletion
	// Writes counts the writes of the reconciler. See AnnotationWrites.
	Writes int64
}

// Deletion is what the end of the connection needs to know when the connection itself can tell it no more.
type Deletion struct {
	// Policy is spec.deletionPolicy; empty for Revoke.
	Policy string `json:"policy,omitempty"`
	// BegunAt is when a deletion began that did not end at once: it is given up a while after that.
	BegunAt time.Time `json:"begun_at,omitzero"`
}

// Spent remembers, as SHA-256, what came from outside and is not used a second time.
type Spent struct {
	// Import is the refresh token that was imported last.
	Import string `json:"import,omitempty"`
	// Assertion is the assertion or subject token that a server refused last.
	Assertion string `json:"assertion,omitempty"`
}

// Handled remembers, as SHA-256, the request annotations that were acted on last: status says so too, and can be lost.
type Handled struct {
	Reauthorize string `json:"reauthorize,omitempty"`
	Refresh     string `json:"refresh,omitempty"`
	Revoke      string `json:"revoke,omitempty"`
	Challenge   string `json:"challenge,omitempty"`
}

// Registration is a client of one connection at one issuer and redirect URI. It is saved before it is first used.
type Registration struct {
	Issuer      string                      `json:"issuer"`
	RedirectURI string                      `json:"redirect_uri"`
	Client      mcpoauth.ClientRegistration `json:"client"`
	CreatedAt   time.Time                   `json:"created_at"`
	// ExpiredConsents counts links that somebody opened and that expired, since the last completed flow: the server may
	// have forgotten the client.
	ExpiredConsents int `json:"expired_consents,omitempty"`
	// Completed is set once a flow was completed; Renewals counts the clients before this one of which none was.
	Completed bool `json:"completed,omitempty"`
	Renewals  int  `json:"renewals,omitempty"`
}

// NamedIssuer is the authorization server that an MCP server named when it was last discovered, kept once it was
// another than that of the grant.
type NamedIssuer struct {
	ServerURL string `json:"server_url"`
	Issuer    string `json:"issuer"`
	// Pinned is the issuer of the spec, if the server named that one before and does not any more.
	Pinned string `json:"pinned,omitempty"`
}

// Binding ties every secret of a flow to the place it may be sent to. It is fixed when consent is asked for, and never
// derived from status.
type Binding struct {
	ServerURL string `json:"server_url"`
	Issuer    string `json:"issuer"`
	// GrantType is that of the spec; empty for AuthorizationCode.
	GrantType             string `json:"grant_type,omitempty"`
	IssParameterSupported bool   `json:"iss_parameter_supported,omitempty"`
	// Unlisted is set if the spec pins the issuer and the server's metadata named only others from the beginning.
	Unlisted bool `json:"unlisted,omitempty"`
	// Documented is set if the issuer's own validated metadata name the endpoints.
	Documented            bool                        `json:"documented,omitempty"`
	AuthorizationEndpoint string                      `json:"authorization_endpoint"`
	TokenEndpoint         string                      `json:"token_endpoint"`
	RegistrationEndpoint  string                      `json:"registration_endpoint,omitempty"`
	RevocationEndpoint    string                      `json:"revocation_endpoint,omitempty"`
	Client                mcpoauth.ClientRegistration `json:"client"`
	RedirectURI           string                      `json:"redirect_uri"`
	Scopes                []string                    `json:"scopes,omitempty"`
	// ResourceIdentifier is what the server's metadata names.
	ResourceIdentifier string `json:"resource_identifier,omitempty"`
	// Resource is the parameter sent (RFC 8707); empty if none is.
	Resource   string            `json:"resource,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	// DPoPJWK is the private key that tokens are bound to (RFC 9449); empty where the server does not ask for that.
	DPoPJWK string `json:"dpop_jwk,omitempty"`
}

// AuthorizationRequest is what a browser is sent with, to consent to what is bound.
func (b *Binding) AuthorizationRequest(state, codeVerifier string) mcpoauth.AuthorizationRequest {
	return mcpoauth.AuthorizationRequest{
		Endpoint: b.AuthorizationEndpoint, ClientID: b.Client.ClientID, RedirectURI: b.RedirectURI,
		Scopes: b.Scopes, Resource: b.Resource, State: state, CodeVerifier: codeVerifier, Parameters: b.Parameters,
	}
}

// DPoPKey parses DPoPJWK; nil if there is none. What decodes has been checked.
func (b *Binding) DPoPKey() *mcpoauth.DPoPKey {
	if b.DPoPJWK == "" {
		return nil
	}
	key, err := mcpoauth.ParseDPoPKey([]byte(b.DPoPJWK))
	if err != nil {
		return nil
	}
	return key
}

// Grant is what a person consented to, or what a server gives without one: the tokens, and all that is needed to
// refresh and revoke them.
type Grant struct {
	Binding
	// SpecHash is of the parts of the spec that a token depends on; kept for grants without a person only.
	SpecHash     string `json:"spec_hash,omitempty"`
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	// AuthorizedBy is the user who consented; empty if nobody vouched for one.
	AuthorizedBy string `json:"authorized_by,omitempty"`
	// GrantedScopes as the server said, or as asked for.
	GrantedScopes []string  `json:"granted_scopes,omitempty"`
	IssuedAt      time.Time `json:"issued_at"`
	// ExpiresAt is zero if the server named no lifetime.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// EndsAt is when the refresh token expires by itself, as the server named it at EndNamedAt; zero if no time is known.
	EndsAt     time.Time `json:"ends_at,omitzero"`
	EndNamedAt time.Time `json:"end_named_at,omitzero"`
	// EndStays is set once a refresh left that end where it was.
	EndStays bool `json:"end_stays,omitempty"`
	// RefreshAt is chosen once, when the token is stored; zero without a refresh token.
	RefreshAt time.Time `json:"refresh_at,omitzero"`
	// Generation counts the answers stored; a claim is for one generation.
	Generation int64 `json:"generation"`
	// Claim is set while the refresh token may be on the wire.
	Claim *Claim `json:"claim,omitempty"`
	// UnknownOutcomes counts spends of this refresh token that were sent and not answered.
	UnknownOutcomes int `json:"unknown_outcomes,omitempty"`
	// Rejections counts refusals with the OAuth error Rejected, which is not invalid_grant, since RejectedSince.
	Rejections    int       `json:"rejections,omitempty"`
	Rejected      string    `json:"rejected,omitempty"`
	RejectedSince time.Time `json:"rejected_since,omitzero"`
	// Refusals counts answers that refused a refresh and were no OAuth error, since the last success.
	Refusals int `json:"refusals,omitempty"`
	// SetAside is set once the grant is not used any more; it stays until a new consent succeeds.
	SetAside *SetAside `json:"set_aside,omitempty"`
	// Revoke is the annotation value that asked for revocation; the token is not published any more.
	Revoke string `json:"revoke,omitempty"`
	// Challenge that a consumer received with this grant's token, as long as it means something.
	Challenge *Challenge `json:"challenge,omitempty"`
	// Challenged are granted scopes that challenges demanded: they are asked for again with every consent.
	Challenged []string `json:"challenged,omitempty"`
	// StepUps counts consents in answer to challenges since the last refresh.
	StepUps int `json:"step_ups,omitempty"`
	// Probe of the token at the server; nil before the first.
	Probe *Probe `json:"probe,omitempty"`
	// RefusedBefore is set if the server refused the token of the grant before this one, and has accepted none since: one
	// more consent would not help.
	RefusedBefore bool `json:"refused_before,omitempty"`
	// Public is set for a server that needs no authorization: the grant holds no token.
	Public bool `json:"public,omitempty"`
}

// ConsentAt is when a consent is asked for because the grant ends whatever is done: at two thirds of the life that no
// refresh prolongs. It is zero if no such end is known.
func (g *Grant) ConsentAt() time.Time {
	if !g.EndStays || g.RefreshToken == "" || g.SetAside != nil || g.Revoke != "" {
		return time.Time{}
	}
	return g.EndNamedAt.Add(g.EndsAt.Sub(g.EndNamedAt) * 2 / 3).Truncate(time.Second)
}

// Challenge is what a server answered to a consumer (RFC 6750, section 3).
type Challenge struct {
	// ID is the SHA-256 of its text.
	ID string `json:"id"`
	// Insufficient is set for insufficient_scope; otherwise the token was refused.
	Insufficient bool `json:"insufficient,omitempty"`
	// Scopes that the server demands.
	Scopes []string `json:"scopes,omitempty"`
	// Wants is what is still to be done.
	Wants Want `json:"wants,omitempty"`
}

// Want is what a challenge still calls for.
type Want string

// What a challenge may call for; WantsNothing says that nothing would help.
const (
	WantsNothing   Want = ""
	WantsRefresh   Want = "refresh"
	WantsDiscovery Want = "discovery"
	WantsConsent   Want = "consent"
)

// SetAside says why a grant is not used any more.
type SetAside struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
	// Retried is set if refreshing is tried all the same, slowly: a success takes it all back.
	Retried bool `json:"retried,omitempty"`
	// Tried is set once the published token was tried at the server since: it may have ended with the grant.
	Tried bool `json:"tried,omitempty"`
}

// Authorization is the consent in progress. The callback handler writes requests and the response, the reconciler
// everything else.
type Authorization struct {
	// Revision grows with every response recorded; it is repeated in an annotation that wakes the reconciler.
	Revision int64 `json:"revision,omitempty"`
	// Handled is the last revision that the reconciler has dealt with.
	Handled  int64     `json:"handled,omitempty"`
	Offer    *Offer    `json:"offer,omitempty"`
	Requests []Request `json:"requests,omitempty"`
	Response *Response `json:"response,omitempty"`
	Outcome  *Outcome  `json:"outcome,omitempty"`
	// ClientRefusals counts clients in a row that the server registered and then did not accept at its token endpoint.
	ClientRefusals int `json:"client_refusals,omitempty"`
	// Retired holds the SHA-256 of earlier tickets, newest first, so that they answer 410 and not 404.
	Retired []string `json:"retired,omitempty"`
}

// Offer is a link that a person may open.
type Offer struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expires_at"`
	// SpecHash is of the parts of the spec that bind a consent; another one calls for another offer.
	SpecHash string `json:"spec_hash"`
	// Reauthorize is the annotation value that asked for it; empty if nobody did.
	Reauthorize string `json:"reauthorize,omitempty"`
	// Opened is set once somebody began a request.
	Opened  bool    `json:"opened,omitempty"`
	Binding Binding `json:"binding"`
}

// Request is one authorization request under way in one browser (RFC 6749, section 4.1.1).
type Request struct {
	State        string    `json:"state"`
	CodeVerifier string    `json:"code_verifier"`
	BrowserHash  string    `json:"browser_hash"`
	ExpiresAt    time.Time `json:"expires_at"`
	Ticket       string    `json:"ticket"`
	Binding      Binding   `json:"binding"`
	// User who began it; empty if nobody vouches for one.
	User string `json:"user,omitempty"`
}

// Response is an authorization response (RFC 6749, section 4.1.2) that waits for the reconciler.
type Response struct {
	Request    Request   `json:"request"`
	ReceivedAt time.Time `json:"received_at"`
	// Code is the authorization code; empty if the server answered with an error.
	Code string `json:"code,omitempty"`
	// Reason and Message say what was wrong with the response; empty if it holds a code.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Claim is set while the code may be on the wire.
	Claim *Claim `json:"claim,omitempty"`
}

// Outcome is what became of the last response; the pages show it to the browser that sent it.
type Outcome struct {
	State       string    `json:"state"`
	Ticket      string    `json:"ticket"`
	BrowserHash string    `json:"browser_hash"`
	Succeeded   bool      `json:"succeeded"`
	Reason      string    `json:"reason,omitempty"`
	Message     string    `json:"message,omitempty"`
	At          time.Time `json:"at"`
}

// Claim says that one process is about to spend a single-use secret. Whoever finds a claim of another process waits
// until that process has stored the answer, or must have failed.
type Claim struct {
	// ID is random: it tells this claim from every other.
	ID string `json:"id"`
	// Holder names the process.
	Holder string `json:"holder"`
}

package mcpoauth

import "time"

// ProtectedResourceMetadata is what an MCP server says of itself (RFC 9728, section 2). Only members this package acts
// on are kept.
type ProtectedResourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	// DPoPBoundAccessTokensRequired says that tokens must be bound to a key (RFC 9449).
	DPoPBoundAccessTokensRequired bool `json:"dpop_bound_access_tokens_required,omitempty"`
}

// AuthorizationServerMetadata is what an authorization server says of itself (RFC 8414, section 2, and OpenID Connect
// Discovery 1.0, section 3). Only members this package acts on are kept.
type AuthorizationServerMetadata struct {
	Issuer string `json:"issuer"`
	// Documented is set if a document at a well-known location of the issuer itself says all of this.
	Documented                        bool     `json:"-"`
	AuthorizationEndpoint             string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                     string   `json:"token_endpoint,omitempty"`
	RegistrationEndpoint              string   `json:"registration_endpoint,omitempty"`
	RevocationEndpoint                string   `json:"revocation_endpoint,omitempty"`
	ScopesSupported                   []string `json:"scopes_supported,omitempty"`
	CodeChallengeMethodsSupported     []string `json:"code_challenge_methods_supported,omitempty"`
	TokenEndpointAuthMethodsSupported []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	// AuthorizationResponseIssParameterSupported is RFC 9207, section 3.
	AuthorizationResponseIssParameterSupported bool `json:"authorization_response_iss_parameter_supported,omitempty"`
	// ClientIDMetadataDocumentSupported is draft-ietf-oauth-client-id-metadata-document, section 5.
	ClientIDMetadataDocumentSupported bool `json:"client_id_metadata_document_supported,omitempty"`
	// DPoPSigningAlgValuesSupported is RFC 9449, section 5.1.
	DPoPSigningAlgValuesSupported []string `json:"dpop_signing_alg_values_supported,omitempty"`
}

// DiscoveryRequest says where to begin, and what of the specification is waived.
type DiscoveryRequest struct {
	// ServerURL of the MCP server.
	ServerURL string
	// Issuer, if not empty, is the only authorization server accepted, and is trusted where its document names itself
	// otherwise.
	Issuer string
	// Endpoints, if not nil, replaces fetching metadata of Issuer.
	Endpoints *AuthorizationServerMetadata
	// AssumePKCES256 accepts an authorization server that lists no code challenge method.
	AssumePKCES256 bool
	// NoCodeFlow is for grants without a person: neither an authorization endpoint nor PKCE is asked of the server.
	NoCodeFlow bool
	// LegacyEndpoints accepts an MCP server without protected resource metadata (MCP specification 2025-03-26).
	LegacyEndpoints bool
	// MayBePublic accepts a server that needs no authorization at all.
	MayBePublic bool
}

// Discovery is what was found.
type Discovery struct {
	// AuthorizationRequired is false if the server answered without authorization and no metadata exists.
	AuthorizationRequired bool
	// Resource identifier, verbatim from the protected resource metadata (RFC 8707); the server URL for legacy servers.
	Resource string
	// ChallengedScopes are those of the WWW-Authenticate header; nil if it named none.
	ChallengedScopes []string
	// ResourceScopes are scopes_supported of the protected resource metadata.
	ResourceScopes []string
	// DPoPRequired means that the server accepts only tokens that are bound to a key (RFC 9449).
	DPoPRequired bool
	// Unlisted is the authorization server that the protected resource metadata name first, where they do not name the
	// pinned one that was found all the same; else empty.
	Unlisted string
	// AuthorizationServer metadata, validated.
	AuthorizationServer AuthorizationServerMetadata
}

// RegistrationMethod is how a client came to be.
type RegistrationMethod string

// Registration methods.
const (
	Preregistered    RegistrationMethod = "Preregistered"
	MetadataDocument RegistrationMethod = "MetadataDocument"
	Dynamic          RegistrationMethod = "Dynamic"
)

// AuthMethod is a client authentication method (RFC 7591, section 2, token_endpoint_auth_method).
type AuthMethod string

// Client authentication methods.
const (
	AuthMethodNone              AuthMethod = "none"
	AuthMethodClientSecretBasic AuthMethod = "client_secret_basic"
	AuthMethodClientSecretPost  AuthMethod = "client_secret_post"
	// AuthMethodPrivateKeyJWT is RFC 7523, section 2.2; it wants TokenEndpoint.Key.
	AuthMethodPrivateKeyJWT AuthMethod = "private_key_jwt"
)

// ClientRegistration is a client at one authorization server (RFC 7591, section 3.2.1). It is stored: its JSON form is
// a format.
type ClientRegistration struct {
	Method       RegistrationMethod `json:"method"`
	ClientID     string             `json:"client_id"`
	ClientSecret string             `json:"client_secret,omitempty"`
	AuthMethod   AuthMethod         `json:"auth_method"`
	// SecretMethod is how the secret of a client that registered with none is sent once the server demands it; see
	// WithSecret.
	SecretMethod AuthMethod `json:"secret_method,omitempty"`
	// SecretExpiresAt is zero if the secret does not expire.
	SecretExpiresAt         time.Time `json:"secret_expires_at,omitzero"`
	RegistrationClientURI   string    `json:"registration_client_uri,omitempty"`
	RegistrationAccessToken string    `json:"registration_access_token,omitempty"`
	// UpdateAt is when to update the registration, so that its secret does not expire; zero if it does not. Whoever stores
	// the client chooses it.
	UpdateAt time.Time `json:"update_at,omitzero"`
	// UpdateRefused is set once the server would not update it.
	UpdateRefused bool `json:"update_refused,omitempty"`
}

// RegistrationRequest asks for a client by dynamic registration (RFC 7591, section 2).
type RegistrationRequest struct {
	// Endpoint is the registration endpoint.
	Endpoint    string
	RedirectURI string
	ClientName  string
	ClientURI   string
	LogoURI     string
	Scopes      []string
	// AuthMethods the server supports (token_endpoint_auth_methods_supported); empty means its default,
	// client_secret_basic.
	AuthMethods []string
	// AuthMethod, if not empty, is asked for whatever the server lists.
	AuthMethod AuthMethod
	// DPoPBound says that the client always asks for tokens bound to a key (RFC 9449, section 5.2).
	DPoPBound bool
	// InitialAccessToken for a protected registration endpoint (RFC 7591, section 3); empty: none.
	InitialAccessToken string
}

// AuthorizationRequest holds all that goes into the URL a person is sent to (RFC 6749, section 4.1.1; RFC 7636; RFC
// 8707).
type AuthorizationRequest struct {
	Endpoint     string
	ClientID     string
	RedirectURI  string
	Scopes       []string
	Resource     string // empty: none is sent
	State        string
	CodeVerifier string
	Parameters   map[string]string
}

// TokenEndpoint says where a token request goes and as whom.
type TokenEndpoint struct {
	URL    string
	Client ClientRegistration
	// Issuer of the authorization server, which is the audience of client assertions. Needed for private_key_jwt only.
	Issuer string
	// Key signs client assertions. Needed for private_key_jwt only.
	Key *SigningKey
	// Resource sent (RFC 8707); empty: none.
	Resource string
	// Parameters are added to the form.
	Parameters map[string]string
	// DPoP is the key that tokens are bound to (RFC 9449); nil: none.
	DPoP *DPoPKey
	// SendBy is the instant after which the request is not handed to the network any more (monotonic); zero: none.
	SendBy time.Time
}

// CodeRequest exchanges an authorization code (RFC 6749, section 4.1.3).
type CodeRequest struct {
	TokenEndpoint
	Code         string
	CodeVerifier string
	RedirectURI  string
}

// RefreshRequest refreshes an access token (RFC 6749, section 6).
type RefreshRequest struct {
	TokenEndpoint
	RefreshToken string
	// Scopes sent; empty: none.
	Scopes []string
}

// ClientCredentialsRequest asks for a token on the client's own behalf (RFC 6749, section 4.4.2).
type ClientCredentialsRequest struct {
	TokenEndpoint
	// Scopes sent; empty: none.
	Scopes []string
}

// JWTBearerRequest spends an assertion (RFC 7523, section 2.1).
type JWTBearerRequest struct {
	// TokenEndpoint.Client may be the zero value: no client is named.
	TokenEndpoint
	// Assertion is a JWT whose audience is the authorization server (see AssertionAudience).
	Assertion string
	// Scopes sent; empty: none.
	Scopes []string
}

// TokenExchangeRequest swaps a token (RFC 8693, section 2.1). TokenEndpoint.Resource is where the new token will be
// used.
type TokenExchangeRequest struct {
	TokenEndpoint
	SubjectToken string
	// SubjectTokenType, such as TokenTypeIDToken.
	SubjectTokenType string
	// RequestedTokenType, such as TokenTypeIDJAG; empty: the server chooses.
	RequestedTokenType string
	// Audience is who the new token is for; for an ID-JAG the issuer of an authorization server. Empty: none is sent.
	Audience string
	// Scopes sent; empty: none.
	Scopes []string
}

// ExchangedToken is a successful answer to a token exchange (RFC 8693, section 2.2.1).
type ExchangedToken struct {
	// Token is the access_token member, whatever its type.
	Token string
	// IssuedTokenType is what Token is; empty if the server did not say.
	IssuedTokenType string
	// TokenType says how to present Token; N_A for what is no access token, such as an ID-JAG.
	TokenType string
	// ExpiresAt is the time of receipt plus expires_in; zero if unknown.
	ExpiresAt time.Time
	// ReceivedAt is when the answer came.
	ReceivedAt time.Time
}

// TokenResponse is a successful answer of a token endpoint (RFC 6749, section 5.1).
type TokenResponse struct {
	AccessToken string
	// TokenType as received, in canonical case where it is known ("Bearer"); empty if the server sent none. One over 64
	// bytes is cut, and that of an access token which no Authorization header may hold (outside %x21-7E) says so: neither
	// is Bearer or DPoP.
	TokenType string
	// RefreshToken as received, whatever its characters; empty if the server sent none: the old one stays.
	RefreshToken string
	// ExpiresAt is the time of receipt plus expires_in; zero if unknown.
	ExpiresAt time.Time
	// RefreshExpiresAt is when the refresh token expires by itself: the time of receipt plus refresh_expires_in (Keycloak)
	// or refresh_token_expires_in (GitHub, Microsoft), the shorter of the two; zero if no time is known.
	RefreshExpiresAt time.Time
	// RefreshExpiryNamed says that the answer speaks of that, if only to say that there is no such time.
	RefreshExpiryNamed bool
	// ReceivedAt is when the answer came.
	ReceivedAt time.Time
	// Scopes granted; nil if the server did not say, which means those asked for.
	Scopes []string
	// IssuedTokenType is in answers to a token exchange only (RFC 8693, section 2.2.1).
	IssuedTokenType string
}

// RevocationRequest revokes one token (RFC 7009, section 2.1).
type RevocationRequest struct {
	TokenEndpoint
	Token string
	// TokenTypeHint is access_token or refresh_token.
	TokenTypeHint string
}

package v1alpha1

// Condition types of an MCPConnection.
const (
	// ConditionDiscovered reports whether the authorization server of serverURL is known.
	ConditionDiscovered = "Discovered"
	// ConditionRegistered reports whether the operator has a client at that authorization server.
	ConditionRegistered = "Registered"
	// ConditionAuthorized reports whether there is a usable grant.
	ConditionAuthorized = "Authorized"
	// ConditionProbed reports whether the server accepts the token, as far as is known.
	ConditionProbed = "Probed"
	// ConditionReady reports whether the token Secret holds a token that has not expired.
	ConditionReady = "Ready"
	// ConditionReconciling is present while the operator, or a person, is still to act (kstatus).
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present while nothing goes on before the spec is edited (kstatus).
	ConditionStalled = "Stalled"
)

// Reasons shared by several conditions.
const (
	// ReasonSucceeded: the condition holds and nothing wants attention.
	ReasonSucceeded = "Succeeded"
	// ReasonAuthorizationNotRequired: the server answers without authorization and names no authorization server.
	ReasonAuthorizationNotRequired = "AuthorizationNotRequired"
	// ReasonProgressing: the step has not been tried yet, or waits for an earlier one.
	ReasonProgressing = "Progressing"
)

// Reasons of Discovered=False.
const (
	// ReasonMetadataNotFound: neither the server nor its well-known locations name an authorization server.
	ReasonMetadataNotFound = "MetadataNotFound"
	// ReasonServerUnreachable: the network, TLS or a 5xx answer stood in the way.
	ReasonServerUnreachable = "ServerUnreachable"
	// ReasonInsecureURL: a URL is http, and the operator was not started with --allow-insecure-http.
	ReasonInsecureURL = "InsecureURL"
	// ReasonEgressDenied: a host resolves to an address that the operator may not call.
	ReasonEgressDenied = "EgressDenied"
	// ReasonInvalidMetadata: a metadata document breaks RFC 9728, RFC 8414 or OpenID Connect Discovery.
	ReasonInvalidMetadata = "InvalidMetadata"
	// ReasonResourceMismatch: the protected resource metadata speaks of another resource.
	ReasonResourceMismatch = "ResourceMismatch"
	// ReasonIssuerMismatch: the authorization server metadata names another issuer than was asked for.
	ReasonIssuerMismatch = "IssuerMismatch"
	// ReasonPKCEUnsupported: the authorization server does not list the S256 code challenge method.
	ReasonPKCEUnsupported = "PKCEUnsupported"
)

// Reasons of Registered=False.
const (
	// ReasonNoRegistrationMethod: the server supports none of the ways in that the spec allows.
	ReasonNoRegistrationMethod = "NoRegistrationMethod"
	// ReasonRegistrationRefused: the server refused to register this client.
	ReasonRegistrationRefused = "RegistrationRefused"
	// ReasonRegistrationFailing: registration failed in a way that may heal; it is retried.
	ReasonRegistrationFailing = "RegistrationFailing"
	// ReasonCredentialsMissing: the Secret named by client.credentialsSecretRef, or a key in it, is missing.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsRejected: the authorization server does not accept the client credentials.
	ReasonCredentialsRejected = "CredentialsRejected"
)

// Reasons of Authorized. RefreshFailing and NoRefreshToken go with True, the others with False.
const (
	// ReasonRefreshFailing: the token is still valid; refreshing it fails and is retried.
	ReasonRefreshFailing = "RefreshFailing"
	// ReasonNoRefreshToken: the token is valid but the server gave no refresh token; consent is needed before it expires.
	ReasonNoRefreshToken = "NoRefreshToken"
	// ReasonConsentRequired: a person must open status.authorizationURL.
	ReasonConsentRequired = "ConsentRequired"
	// ReasonConsentUnavailable: consent is needed, but the operator has no --external-url.
	ReasonConsentUnavailable = "ConsentUnavailable"
	// ReasonAccessDenied: the person or the authorization server declined.
	ReasonAccessDenied = "AccessDenied"
	// ReasonAuthorizationRequestRejected: the authorization server refused the request for consent; a field of the spec
	// wants a change.
	ReasonAuthorizationRequestRejected = "AuthorizationRequestRejected"
	// ReasonAuthorizationServerFailing: the authorization server failed while a person consented; another try may succeed.
	ReasonAuthorizationServerFailing = "AuthorizationServerFailing"
	// ReasonIssuerParameterMismatch: the authorization response came from another issuer (RFC 9207).
	ReasonIssuerParameterMismatch = "IssuerParameterMismatch"
	// ReasonCodeRejected: the authorization server did not accept the authorization code.
	ReasonCodeRejected = "CodeRejected"
	// ReasonTokenRequestRejected: the token endpoint refused the request with an OAuth error.
	ReasonTokenRequestRejected = "TokenRequestRejected"
	// ReasonTokenRequestFailing: the token endpoint could not be asked; retried.
	ReasonTokenRequestFailing = "TokenRequestFailing"
	// ReasonRefreshRejected: the authorization server ended the grant.
	ReasonRefreshRejected = "RefreshRejected"
	// ReasonRefreshOutcomeUnknown: a refresh was sent and no answer came; the grant may be lost.
	ReasonRefreshOutcomeUnknown = "RefreshOutcomeUnknown"
	// ReasonTokenExpired: the token expired before it could be refreshed; refreshing goes on.
	ReasonTokenExpired = "TokenExpired"
	// ReasonIssuerChanged: the server now names another authorization server; nothing stored is sent there.
	ReasonIssuerChanged = "IssuerChanged"
	// ReasonUnsupportedTokenType: the server issued a token type that cannot be published.
	ReasonUnsupportedTokenType = "UnsupportedTokenType"
)

// Reasons of Probed. NotProbed goes with Unknown, the others with False, as does ServerUnreachable.
const (
	// ReasonNotProbed: the token has not been tried at the server yet.
	ReasonNotProbed = "NotProbed"
	// ReasonProbeUnauthorized: the server answers 401 to the published token, and a refresh and a new look at its metadata
	// did not help or cannot be had.
	ReasonProbeUnauthorized = "ProbeUnauthorized"
	// ReasonInsufficientScope: the server demands scopes that another consent would not bring.
	ReasonInsufficientScope = "InsufficientScope"
)

// Reasons of Ready alone.
const (
	// ReasonSecretConflict: a Secret of the token Secret's name exists and is not this connection's.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretWriteFailing: the API server refuses to write a Secret of this connection, by a quota, a policy, or
	// because it is immutable. It goes with True as well, while a published token is still valid.
	ReasonSecretWriteFailing = "SecretWriteFailing"
	// ReasonAPIServerFailing: the API server refuses or fails a request of the operator that is no write of a Secret.
	ReasonAPIServerFailing = "APIServerFailing"
	// ReasonSuspended: spec.suspend is true.
	ReasonSuspended = "Suspended"
	// ReasonCredentialUnreadable: the credential Secret in the operator's namespace cannot be used.
	ReasonCredentialUnreadable = "CredentialUnreadable"
	// ReasonInvalidTemplate: a template in spec.tokenSecret.data cannot be rendered.
	ReasonInvalidTemplate = "InvalidTemplate"
)

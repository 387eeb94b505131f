package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GrantType is the way in which the operator obtains a token.
// +kubebuilder:validation:Enum=AuthorizationCode;ClientCredentials;JWTBearer;TokenExchange
type GrantType string

const (
	// GrantTypeAuthorizationCode asks one person for consent (RFC 6749, section 4.1, with PKCE).
	GrantTypeAuthorizationCode GrantType = "AuthorizationCode"
	// GrantTypeClientCredentials asks on the client's own behalf (RFC 6749, section 4.4).
	GrantTypeClientCredentials GrantType = "ClientCredentials"
	// GrantTypeJWTBearer spends an assertion, such as a workload's identity (RFC 7523, section 2.1).
	GrantTypeJWTBearer GrantType = "JWTBearer"
	// GrantTypeTokenExchange has an identity provider issue the assertion (RFC 8693, then RFC 7523).
	GrantTypeTokenExchange GrantType = "TokenExchange"
)

// Registration is the way in which the operator becomes a client of an authorization server.
// +kubebuilder:validation:Enum=Auto;Preregistered;MetadataDocument;Dynamic
type Registration string

const (
	// RegistrationAuto takes the first that applies: pre-registered, metadata document, dynamic.
	RegistrationAuto Registration = "Auto"
	// RegistrationPreregistered uses client.credentialsSecretRef.
	RegistrationPreregistered Registration = "Preregistered"
	// RegistrationMetadataDocument uses an https URL as client_id, at which the server finds the client's metadata.
	RegistrationMetadataDocument Registration = "MetadataDocument"
	// RegistrationDynamic registers by RFC 7591.
	RegistrationDynamic Registration = "Dynamic"
)

// ResourceMode says which resource parameter (RFC 8707) is sent.
// +kubebuilder:validation:Enum=Auto;Omit;Explicit
type ResourceMode string

const (
	// ResourceModeAuto sends what the protected resource metadata names.
	ResourceModeAuto ResourceMode = "Auto"
	// ResourceModeOmit sends none.
	ResourceModeOmit ResourceMode = "Omit"
	// ResourceModeExplicit sends compatibility.resource.value.
	ResourceModeExplicit ResourceMode = "Explicit"
)

// OfflineAccess says when the scope offline_access is asked for.
// +kubebuilder:validation:Enum=Auto;Always;Never
type OfflineAccess string

const (
	// OfflineAccessAuto asks for it only where the authorization server lists it.
	OfflineAccessAuto OfflineAccess = "Auto"
	// OfflineAccessAlways asks for it everywhere.
	OfflineAccessAlways OfflineAccess = "Always"
	// OfflineAccessNever asks for it nowhere.
	OfflineAccessNever OfflineAccess = "Never"
)

// DeletionPolicy says what happens to the grant when the connection is deleted.
// +kubebuilder:validation:Enum=Revoke;Orphan
type DeletionPolicy string

const (
	// DeletionPolicyRevoke revokes the grant at the authorization server (RFC 7009).
	DeletionPolicyRevoke DeletionPolicy = "Revoke"
	// DeletionPolicyOrphan leaves the grant at the authorization server as it is.
	DeletionPolicyOrphan DeletionPolicy = "Orphan"
)

// Scope is one OAuth scope token (RFC 6749, section 3.3).
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
type Scope string

// Endpoint is the URL of an endpoint of an authorization server.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:Pattern=`^https?://[^/?#@]+([/?][^#]*)?$`
type Endpoint string

// ParameterValue is the value of a request parameter.
// +kubebuilder:validation:MaxLength=1024
type ParameterValue string

// LabelValue is the value of a Kubernetes label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`
type LabelValue string

// AnnotationValue is the value of a Kubernetes annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// Template is a text/template that reads the keys of the token Secret.
// +kubebuilder:validation:MaxLength=8192
type Template string

// SecretReference names a Secret in the connection's own namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names one key of a Secret in the connection's own namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// key in the Secret.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// MCPConnectionSpec says which MCP server to connect to, and how.
// +kubebuilder:validation:XValidation:rule="!has(self.client) || !has(self.client.credentialsSecretRef) || has(self.client.issuer) || (has(self.authorizationServer) && has(self.authorizationServer.issuer))",message="client.credentialsSecretRef needs client.issuer (or authorizationServer.issuer): name the issuer that these credentials belong to, so that they are never sent to another"
// +kubebuilder:validation:XValidation:rule="self.grantType != 'ClientCredentials' || (has(self.client) && has(self.client.credentialsSecretRef))",message="grantType ClientCredentials needs client.credentialsSecretRef: name a Secret with the keys client_id and client_secret or private_key"
// +kubebuilder:validation:XValidation:rule="!(self.grantType in ['JWTBearer', 'TokenExchange']) || has(self.serviceAccountName) != (has(self.assertion) && has(self.assertion.secretRef))",message="grantType JWTBearer and TokenExchange need either serviceAccountName or assertion.secretRef: set exactly one of the two"
// +kubebuilder:validation:XValidation:rule="self.grantType in ['JWTBearer', 'TokenExchange'] || !(has(self.serviceAccountName) || has(self.assertion))",message="serviceAccountName and assertion go with grantType JWTBearer or TokenExchange: remove them, or set grantType"
// +kubebuilder:validation:XValidation:rule="(self.grantType == 'TokenExchange') == has(self.identityProvider)",message="identityProvider goes with grantType TokenExchange, and only with it: set both, or none"
// +kubebuilder:validation:XValidation:rule="self.grantType == 'TokenExchange' || !has(self.assertion) || !has(self.assertion.tokenType)",message="assertion.tokenType goes with grantType TokenExchange: remove it"
// +kubebuilder:validation:XValidation:rule="self.grantType == 'AuthorizationCode' || !has(self.importSecretRef)",message="importSecretRef brings a grant of type AuthorizationCode: remove it, or grantType"
// +kubebuilder:validation:XValidation:rule="self.grantType in ['AuthorizationCode', 'ClientCredentials'] || !has(self.client) || has(self.client.credentialsSecretRef) || !(self.client.registration in ['Dynamic', 'MetadataDocument'] || has(self.client.metadataDocumentURL) || has(self.client.initialAccessTokenSecretRef))",message="only grantType AuthorizationCode registers a client: name one in client.credentialsSecretRef instead"
// +kubebuilder:validation:XValidation:rule="self.grantType != 'AuthorizationCode' || !has(self.authorizationServer) || has(self.authorizationServer.authorizationEndpoint) == has(self.authorizationServer.tokenEndpoint)",message="authorizationServer.authorizationEndpoint and tokenEndpoint go together: set both for a server without metadata, or none"
type MCPConnectionSpec struct {
	// serverURL is the full URL of the MCP server, as a client would call it. It has no userinfo and no fragment; a query is allowed.
	// http is refused at run time (reason InsecureURL) unless the operator runs with --allow-insecure-http.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://')",message="serverURL must start with https:// (or http://, which the operator must allow)"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#')",message="serverURL must have no fragment: remove everything from # on"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/?#]*@')",message="serverURL must have no user name or password before the host: remove everything up to @"
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="serverURL must be a URL with a host, such as https://mcp.example.com/mcp"
	ServerURL string `json:"serverURL,omitempty"`

	// suspend stops all network calls, refreshes and consents for this connection. Nothing is deleted.
	// +optional
	// +kubebuilder:default=false
	Suspend *bool `json:"suspend,omitempty"`

	// grantType is the way to a token. AuthorizationCode asks one person for consent at status.authorizationURL; the others
	// need nobody: ClientCredentials is the client's own access, JWTBearer spends an assertion (workload identity), and
	// TokenExchange has an identity provider issue that assertion (enterprise-managed authorization).
	// +optional
	// +kubebuilder:default=AuthorizationCode
	GrantType GrantType `json:"grantType,omitempty"`

	// scopes to ask for. Replaces the automatic choice (the server's challenge, then its metadata, then none).
	// offline_access is handled by compatibility.offlineAccess.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// client says how the operator identifies itself to the authorization server.
	// +optional
	Client *ClientSpec `json:"client,omitempty"`

	// authorizationServer chooses or describes the authorization server, where discovery is not enough.
	// +optional
	AuthorizationServer *AuthorizationServerSpec `json:"authorizationServer,omitempty"`

	// compatibility asks, by name, for deviations from the specification that some servers need.
	// +optional
	Compatibility *CompatibilitySpec `json:"compatibility,omitempty"`

	// serviceAccountName is whose projected token is the assertion (JWTBearer) or the subject token (TokenExchange). The
	// ServiceAccount, in this namespace, must allow the audience in its annotation mcp-connection.dev/allowed-audiences.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// assertion says what is spent (JWTBearer) or exchanged (TokenExchange).
	// +optional
	Assertion *AssertionSpec `json:"assertion,omitempty"`

	// identityProvider issues the assertion for grantType TokenExchange.
	// +optional
	IdentityProvider *IdentityProviderSpec `json:"identityProvider,omitempty"`

	// tokenSecret describes the Secret that workloads mount.
	// +optional
	TokenSecret *TokenSecretSpec `json:"tokenSecret,omitempty"`

	// refresh says when the token is refreshed.
	// +optional
	Refresh *RefreshSpec `json:"refresh,omitempty"`

	// probe says how often the published token is tried at the server.
	// +optional
	Probe *ProbeSpec `json:"probe,omitempty"`

	// importSecretRef names a Secret in this namespace with a grant that exists already, so that nobody has to consent again:
	// the keys refresh_token, client_id and issuer, and client_secret for a confidential client. It is read once, and may be
	// deleted after that. Nothing else may go on using that refresh token.
	// +optional
	ImportSecretRef *SecretReference `json:"importSecretRef,omitempty"`

	// deletionPolicy says what happens to the grant when this object is deleted: Revoke ends it at the
	// authorization server, Orphan leaves it. Both Secrets go in either case.
	// +optional
	// +kubebuilder:default=Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// ClientSpec says how the operator identifies itself to the authorization server.
// +kubebuilder:validation:XValidation:rule="self.registration != 'Preregistered' || has(self.credentialsSecretRef)",message="client.registration Preregistered needs client.credentialsSecretRef: name a Secret with the keys client_id and client_secret"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || self.registration in ['Auto', 'Preregistered']",message="client.credentialsSecretRef goes with client.registration Auto or Preregistered: remove one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.metadataDocumentURL) || self.registration in ['Auto', 'MetadataDocument']",message="client.metadataDocumentURL goes with client.registration Auto or MetadataDocument: remove one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.initialAccessTokenSecretRef) || (self.registration in ['Auto', 'Dynamic'] && !has(self.credentialsSecretRef))",message="client.initialAccessTokenSecretRef is for dynamic registration: remove it, or credentialsSecretRef and registration"
// +kubebuilder:validation:XValidation:rule="!has(self.authMethod) || self.authMethod != 'private_key_jwt' || self.registration != 'Dynamic'",message="client.authMethod private_key_jwt goes with client.credentialsSecretRef (key private_key) or with registration MetadataDocument: change one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.metadataDocumentURL) || !has(self.credentialsSecretRef)",message="client.metadataDocumentURL and client.credentialsSecretRef are two identities: remove one"
type ClientSpec struct {
	// registration is the way to become a client. Auto takes the first that applies: pre-registered credentials,
	// a client metadata document, dynamic registration.
	// +optional
	// +kubebuilder:default=Auto
	Registration Registration `json:"registration,omitempty"`

	// name shown on consent screens. Dynamic registration only. Default: mcp-connection-operator.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`

	// uri of a page about this client, shown on consent screens. Dynamic registration only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://.+$`
	URI string `json:"uri,omitempty"`

	// logoURI of a picture shown on consent screens. Dynamic registration only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://.+$`
	LogoURI string `json:"logoURI,omitempty"`

	// metadataDocumentURL replaces the metadata document hosted by the operator as client_id. The operator never fetches it.
	// With authMethod private_key_jwt its jwks_uri must be the operator's <external-url>/oauth/jwks.json.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://[^/?#@]+/[^#]+$`
	MetadataDocumentURL string `json:"metadataDocumentURL,omitempty"`

	// credentialsSecretRef names a Secret in this namespace with the key client_id, and one of client_secret or private_key
	// (PEM, PKCS#8; key_id names it); a public client has neither.
	// +optional
	CredentialsSecretRef *SecretReference `json:"credentialsSecretRef,omitempty"`

	// issuer that the credentials belong to, as an exact string. They are never sent to another.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^?#]+$`
	Issuer string `json:"issuer,omitempty"`

	// authMethod at the token endpoint. Default: from the registration and the server's metadata.
	// +optional
	// +kubebuilder:validation:Enum=none;client_secret_basic;client_secret_post;private_key_jwt
	AuthMethod string `json:"authMethod,omitempty"`

	// initialAccessTokenSecretRef names the token that a protected registration endpoint asks for (RFC 7591, section 3).
	// +optional
	InitialAccessTokenSecretRef *SecretKeyReference `json:"initialAccessTokenSecretRef,omitempty"`
}

// AuthorizationServerSpec chooses or describes the authorization server.
// +kubebuilder:validation:XValidation:rule="has(self.issuer) || !(has(self.authorizationEndpoint) || has(self.tokenEndpoint) || has(self.registrationEndpoint) || has(self.revocationEndpoint))",message="authorizationServer endpoints need authorizationServer.issuer: name the issuer that these endpoints belong to"
// +kubebuilder:validation:XValidation:rule="has(self.tokenEndpoint) || !(has(self.registrationEndpoint) || has(self.revocationEndpoint))",message="authorizationServer endpoints replace metadata as a whole: set tokenEndpoint too"
type AuthorizationServerSpec struct {
	// issuer as an exact string. Chooses among several authorization servers, and is trusted where documents disagree (even by a slash).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^?#]+$`
	Issuer string `json:"issuer,omitempty"`

	// authorizationEndpoint of the issuer, for servers without metadata.
	// +optional
	AuthorizationEndpoint Endpoint `json:"authorizationEndpoint,omitempty"`

	// tokenEndpoint of the issuer, for servers without metadata.
	// +optional
	TokenEndpoint Endpoint `json:"tokenEndpoint,omitempty"`

	// registrationEndpoint of the issuer, for servers without metadata.
	// +optional
	RegistrationEndpoint Endpoint `json:"registrationEndpoint,omitempty"`

	// revocationEndpoint of the issuer, for servers without metadata.
	// +optional
	RevocationEndpoint Endpoint `json:"revocationEndpoint,omitempty"`
}

// AssertionSpec says what is spent (JWTBearer) or exchanged (TokenExchange).
type AssertionSpec struct {
	// secretRef names the Secret that holds it, instead of a ServiceAccount.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`

	// audience that it is for. Default: the issuer of the authorization server; for TokenExchange that of the identity provider.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Audience string `json:"audience,omitempty"`

	// tokenType of the subject token (RFC 8693, section 3). TokenExchange only. Default: that of an ID token, for a
	// ServiceAccount that of a JWT.
	// +optional
	// +kubebuilder:validation:Enum="urn:ietf:params:oauth:token-type:id_token";"urn:ietf:params:oauth:token-type:jwt";"urn:ietf:params:oauth:token-type:refresh_token";"urn:ietf:params:oauth:token-type:access_token";"urn:ietf:params:oauth:token-type:saml2"
	TokenType string `json:"tokenType,omitempty"`
}

// IdentityProviderSpec says where the assertion for the authorization server comes from (an ID-JAG of enterprise-managed
// authorization).
type IdentityProviderSpec struct {
	// issuer of the identity provider, as an exact string.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^?#]+$`
	Issuer string `json:"issuer,omitempty"`

	// tokenEndpoint of the identity provider. Default: from its metadata.
	// +optional
	TokenEndpoint Endpoint `json:"tokenEndpoint,omitempty"`

	// credentialsSecretRef names a Secret in this namespace with the client at the identity provider: the key client_id, and
	// one of client_secret or private_key (PEM, PKCS#8; key_id names it); a public client has neither.
	// +required
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef,omitzero"`
}

// CompatibilitySpec asks for deviations from the specification, each by name.
type CompatibilitySpec struct {
	// resource is the RFC 8707 parameter: the same on authorization, token and refresh requests.
	// +optional
	Resource *ResourceSpec `json:"resource,omitempty"`

	// assumePKCES256 is for a server that supports the S256 code challenge method but does not advertise any method.
	// +optional
	// +kubebuilder:default=false
	AssumePKCES256 *bool `json:"assumePKCES256,omitempty"`

	// legacyEndpoints is for servers of the 2025-03-26 specification, which have no protected resource metadata.
	// +optional
	// +kubebuilder:default=false
	LegacyEndpoints *bool `json:"legacyEndpoints,omitempty"`

	// authorizationParameters are added to the authorization request, such as access_type: offline. Protocol parameters are refused.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['client_id','redirect_uri','response_type','state','scope','resource','code_challenge','code_challenge_method','grant_type','code','code_verifier','refresh_token','assertion','request','request_uri'] || k.startsWith('client_') || k.startsWith('code_')))",message="authorizationParameters must not hold a protocol parameter (client_id, redirect_uri, response_type, state, scope, resource, code_challenge...): remove it, or use the field made for it"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() > 0 && k.size() <= 64)",message="authorizationParameters names have 1 to 64 characters"
	AuthorizationParameters map[string]ParameterValue `json:"authorizationParameters,omitempty"`

	// tokenParameters are added to token and refresh requests, such as audience. Protocol parameters other than scope are refused.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['redirect_uri','response_type','state','resource','grant_type','code','refresh_token','assertion','subject_token','subject_token_type','actor_token','actor_token_type','requested_token_type'] || k.startsWith('client_') || k.startsWith('code_')))",message="tokenParameters must not hold a protocol parameter (client_id, redirect_uri, grant_type, code, refresh_token, resource, assertion...): remove it, or use the field made for it"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() > 0 && k.size() <= 64)",message="tokenParameters names have 1 to 64 characters"
	TokenParameters map[string]ParameterValue `json:"tokenParameters,omitempty"`

	// scopeOnRefresh sends the granted scope with refresh requests.
	// +optional
	// +kubebuilder:default=false
	ScopeOnRefresh *bool `json:"scopeOnRefresh,omitempty"`

	// offlineAccess says when the scope offline_access is asked for. Auto: only if the authorization server lists it.
	// +optional
	// +kubebuilder:default=Auto
	OfflineAccess OfflineAccess `json:"offlineAccess,omitempty"`
}

// ResourceSpec says which resource parameter (RFC 8707) is sent.
// +kubebuilder:validation:XValidation:rule="(self.mode == 'Explicit') == has(self.value)",message="compatibility.resource.value goes with mode Explicit, and only with it: set both, or remove value"
type ResourceSpec struct {
	// mode of choosing it: Auto sends what the protected resource metadata names, Omit sends none, Explicit sends value.
	// +optional
	// +kubebuilder:default=Auto
	Mode ResourceMode `json:"mode,omitempty"`

	// value sent with mode Explicit: an absolute URI without a fragment.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9+.-]*:[^#]+$`
	Value string `json:"value,omitempty"`
}

// TokenSecretSpec describes the Secret that workloads mount.
type TokenSecretSpec struct {
	// name of the Secret, in this namespace. Default: the connection's name followed by -token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// labels put on the Secret. Those of this operator cannot be replaced.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k != 'app.kubernetes.io/managed-by' && !k.startsWith('mcp-connection.dev/'))",message="tokenSecret.labels must not hold app.kubernetes.io/managed-by or labels of mcp-connection.dev/: the operator finds its Secrets by them"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="tokenSecret.labels must have valid Kubernetes label names"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations put on the Secret. Those of this operator cannot be replaced.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('mcp-connection.dev/'))",message="tokenSecret.annotations must not hold annotations of mcp-connection.dev/: they are the operator's"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'))",message="tokenSecret.annotations must have valid Kubernetes annotation names"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// data holds templates rendered into extra keys of the Secret. A template reads the other keys as fields,
	// such as {{ .authorization }}, {{ .access_token }} or {{ .server_url }}.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['access_token','token_type','authorization','expires_at','scope','server_url','resource','dpop_jwk']))",message="tokenSecret.data must not hold a reserved key (access_token, token_type, authorization, expires_at, scope, server_url, resource, dpop_jwk): choose another name"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 253 && k.matches('^[-._a-zA-Z0-9]+$') && !k.startsWith('..') && k != '.')",message="tokenSecret.data keys are file names of at most 253 letters, digits, '-', '_' and '.'"
	Data map[string]Template `json:"data,omitempty"`
}

// RefreshSpec says when the token is refreshed. The time is chosen when a token is issued: an edit applies from the next one
// on, for which the annotation mcp-connection.dev/refresh asks at once.
type RefreshSpec struct {
	// before is how long before its expiry the token is refreshed. Default: at two thirds of the lifetime, less some jitter.
	// Capped at half the lifetime.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="refresh.before is between 1s and 720h, such as 5m"
	Before *metav1.Duration `json:"before,omitempty"`

	// keepAlive refreshes at least this often, for refresh tokens that die when unused. 0s: only as tokens expire.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",message="refresh.keepAlive is 0s, or between 1m and 8760h, such as 168h"
	KeepAlive *metav1.Duration `json:"keepAlive,omitempty"`
}

// ProbeSpec says how often the published token is tried at the server.
type ProbeSpec struct {
	// interval between probes, after the one that follows each authorization. 0s: none later.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",message="probe.interval is 0s, or between 1m and 8760h, such as 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

package v1alpha1

// ClientSpec says how the operator identifies itself to the authorization server.
// +kubebuilder:validation:XValidation:rule="self.registration != 'Preregistered' || has(self.credentialsSecretRef)",message="client.registration Preregistered needs client.credentialsSecretRef: name a Secret with the keys client_id and client_secret"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsSecretRef) || self.registration in ['Auto', 'Preregistered']",message="client.credentialsSecretRef goes with client.registration Auto or Preregistered: remove one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.metadataDocumentURL) || self.registration in ['Auto', 'MetadataDocument']",message="client.metadataDocumentURL goes with client.registration Auto or MetadataDocument: remove one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.initialAccessTokenSecretRef) || (self.registration in ['Auto', 'Dynamic'] && !has(self.credentialsSecretRef))",message="client.initialAccessTokenSecretRef is for dynamic registration: remove it, or credentialsSecretRef and registration"
// +kubebuilder:validation:XValidation:rule="!has(self.authMethod) || self.authMethod != 'private_key_jwt' || self.registration != 'Dynamic'",message="client.authMethod private_key_jwt goes with client.credentialsSecretRef (key private_key) or with registration MetadataDocument: change one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.metadataDocumentURL) || !has(self.credentialsSecretRef)",message="client.metadataDocumentURL and client.credentialsSecretRef are two identities: remove one"
type ClientSpec struct {
	// registration is the way to become a client. Auto takes the first that applies: pre-registered credentials,
	// a client metadata document, dynamic registration. Default: Auto.
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
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://.+$')",message="client.uri must be an https URL, such as https://app.example.com"
	URI string `json:"uri,omitempty"`

	// logoURI of a picture shown on consent screens. Dynamic registration only.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://.+$')",message="client.logoURI must be an https URL, such as https://app.example.com/logo.png"
	LogoURI string `json:"logoURI,omitempty"`

	// metadataDocumentURL replaces the metadata document hosted by the operator as client_id. The operator never fetches
	// it. With authMethod private_key_jwt its jwks_uri must be the operator's <external-url>/oauth/jwks.json.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https://[^/?#@]+/[^#]+$')",message="client.metadataDocumentURL must be an https URL with a path and without user name and fragment, such as https://app.example.com/oauth/client.json"
	MetadataDocumentURL string `json:"metadataDocumentURL,omitempty"`

	// credentialsSecretRef names a Secret in this namespace with the key client_id, and one of client_secret or
	// private_key (PEM, PKCS#8; key_id names it); a public client has neither.
	// +optional
	CredentialsSecretRef *SecretReference `json:"credentialsSecretRef,omitempty"`

	// issuer that the credentials belong to, as an exact string. They are never sent to another.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^?#]+$')",message="issuer must be a URL without query and fragment, as the authorization server's metadata name it, such as https://auth.example.com"
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
	// issuer as an exact string. Chooses among several authorization servers, and is trusted where documents disagree
	// (even by a slash).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^?#]+$')",message="issuer must be a URL without query and fragment, as the authorization server's metadata name it, such as https://auth.example.com"
	Issuer string `json:"issuer,omitempty"`

	// authorizationEndpoint of the issuer, for servers without metadata.
	// +optional
	AuthorizationEndpoint Endpoint `json:"authorizationEndpoint,omitempty"`

	// tokenEndpoint of the issuer, for servers without metadata. A secret that a reference names, or a ServiceAccount's
	// token, is sent to another origin than the issuer's only if its owner names the endpoint in the annotation
	// mcp-connection.dev/allowed-endpoints.
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

	// audience that it is for. Default: the issuer of the authorization server; for TokenExchange that of the identity
	// provider.
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

// IdentityProviderSpec says where the assertion for the authorization server comes from (an ID-JAG of
// enterprise-managed authorization).
type IdentityProviderSpec struct {
	// issuer of the identity provider, as an exact string.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^?#]+$')",message="issuer must be a URL without query and fragment, as the authorization server's metadata name it, such as https://auth.example.com"
	Issuer string `json:"issuer,omitempty"`

	// tokenEndpoint of the identity provider. Default: from its metadata. Outside of the issuer's origin it receives only
	// what its owner allows in the annotation mcp-connection.dev/allowed-endpoints.
	// +optional
	TokenEndpoint Endpoint `json:"tokenEndpoint,omitempty"`

	// credentialsSecretRef names a Secret in this namespace with the client at the identity provider: the key client_id,
	// and one of client_secret or private_key (PEM, PKCS#8; key_id names it); a public client has neither.
	// +required
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef,omitzero"`
}

// CompatibilitySpec asks for deviations from the specification, each by name.
type CompatibilitySpec struct {
	// resource is the RFC 8707 parameter: the same on authorization, token and refresh requests.
	// +optional
	Resource *ResourceSpec `json:"resource,omitempty"`

	// assumePKCES256 is for a server that supports the S256 code challenge method but does not advertise any method.
	// Default: false.
	// +optional
	// +kubebuilder:default=false
	AssumePKCES256 *bool `json:"assumePKCES256,omitempty"`

	// legacyEndpoints is for servers of the 2025-03-26 specification, which have no protected resource metadata. Default:
	// false.
	// +optional
	// +kubebuilder:default=false
	LegacyEndpoints *bool `json:"legacyEndpoints,omitempty"`

	// authorizationParameters are added to the authorization request, such as access_type: offline. Protocol parameters
	// are refused.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['client_id','redirect_uri','response_type','state','scope','resource','code_challenge','code_challenge_method','grant_type','code','code_verifier','refresh_token','assertion','request','request_uri'] || k.startsWith('client_') || k.startsWith('code_')))",message="authorizationParameters must not hold a protocol parameter (client_id, redirect_uri, response_type, state, scope, resource, code_challenge...): remove it, or use the field made for it"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() > 0 && k.size() <= 64)",message="authorizationParameters names have 1 to 64 characters"
	AuthorizationParameters map[string]ParameterValue `json:"authorizationParameters,omitempty"`

	// tokenParameters are added to token and refresh requests, such as audience. Protocol parameters other than scope are
	// refused.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['redirect_uri','response_type','state','resource','grant_type','code','refresh_token','assertion','subject_token','subject_token_type','actor_token','actor_token_type','requested_token_type'] || k.startsWith('client_') || k.startsWith('code_')))",message="tokenParameters must not hold a protocol parameter (client_id, redirect_uri, grant_type, code, refresh_token, resource, assertion...): remove it, or use the field made for it"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() > 0 && k.size() <= 64)",message="tokenParameters names have 1 to 64 characters"
	TokenParameters map[string]ParameterValue `json:"tokenParameters,omitempty"`

	// scopeOnRefresh sends the granted scope with refresh requests. Default: false.
	// +optional
	// +kubebuilder:default=false
	ScopeOnRefresh *bool `json:"scopeOnRefresh,omitempty"`

	// offlineAccess says when the scope offline_access is asked for. Auto: only if the authorization server lists it.
	// Default: Auto.
	// +optional
	// +kubebuilder:default=Auto
	OfflineAccess OfflineAccess `json:"offlineAccess,omitempty"`
}

// ResourceSpec says which resource parameter (RFC 8707) is sent.
// +kubebuilder:validation:XValidation:rule="(self.mode == 'Explicit') == has(self.value)",message="compatibility.resource.value goes with mode Explicit, and only with it: set both, or remove value"
type ResourceSpec struct {
	// mode of choosing it: Auto sends what the protected resource metadata names, Omit sends none, Explicit sends value.
	// Default: Auto.
	// +optional
	// +kubebuilder:default=Auto
	Mode ResourceMode `json:"mode,omitempty"`

	// value sent with mode Explicit: an absolute URI without a fragment.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9+.-]*:[^#]+$')",message="compatibility.resource.value must be an absolute URI without a fragment, such as https://mcp.example.com/mcp"
	Value string `json:"value,omitempty"`
}

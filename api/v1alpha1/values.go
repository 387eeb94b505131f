package v1alpha1

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
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[\x21\x23-\x5B\x5D-\x7E]+$')`,message="a scope is one word without quotation mark and backslash (RFC 6749): make each an item of the list"
type Scope string

// Endpoint is the URL of an endpoint of an authorization server.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=2048
// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@]+([/?][^#]*)?$')",message="an endpoint is a URL without user name and fragment, such as https://auth.example.com/token"
type Endpoint string

// ParameterValue is the value of a request parameter.
// +kubebuilder:validation:MaxLength=1024
type ParameterValue string

// LabelValue is the value of a Kubernetes label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$')",message="the value of a label is made of letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
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
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="the name of a Secret is made of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
	Name string `json:"name,omitempty"`
}

// SecretKeyReference names one key of a Secret in the connection's own namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="the name of a Secret is made of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
	Name string `json:"name,omitempty"`

	// key in the Secret. Default: token.
	// +optional
	// +kubebuilder:default=token
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="the key of a Secret is made of letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

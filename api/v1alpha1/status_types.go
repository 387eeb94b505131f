package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MCPConnectionStatus is for people and programs to read; the operator never decides from it where a secret is sent.
type MCPConnectionStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of. Default: -1, nobody has looked yet, so
	// that the object is in progress for kstatus, Flux and Argo CD.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// authorizationURL is the link that a person opens to give consent; present whenever that would help.
	// Whoever opens it binds their own account.
	// +optional
	// +kubebuilder:validation:MinLength=1
	AuthorizationURL string `json:"authorizationURL,omitempty"`

	// resource is the identifier of the MCP server, verbatim from its protected resource metadata.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Resource string `json:"resource,omitempty"`

	// authorizationServer that was discovered.
	// +optional
	AuthorizationServer *AuthorizationServerStatus `json:"authorizationServer,omitempty"`

	// client that the operator is at the authorization server.
	// +optional
	Client *ClientStatus `json:"client,omitempty"`

	// scopes that were granted.
	// +optional
	// +listType=atomic
	Scopes []string `json:"scopes,omitempty"`

	// token that the token Secret holds.
	// +optional
	Token *TokenStatus `json:"token,omitempty"`

	// server is what the MCP server said of itself when the token was last tried there.
	// +optional
	Server *ServerStatus `json:"server,omitempty"`

	// authorizedBy is the person who consented, as the authenticating proxy in front of the callback server named them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	AuthorizedBy string `json:"authorizedBy,omitempty"`

	// failure of the step that fails now; absent when nothing fails.
	// +optional
	Failure *Failure `json:"failure,omitempty"`

	// otherFailures are those of further steps that fail at the same time.
	// +optional
	// +listType=map
	// +listMapKey=step
	OtherFailures []Failure `json:"otherFailures,omitempty"`

	// next is what the operator does next by itself, and when; absent when only an edit, a person or a change calls it.
	// +optional
	Next *NextStatus `json:"next,omitempty"`

	// lastHandled holds the annotation values already acted on.
	// +optional
	LastHandled *LastHandled `json:"lastHandled,omitempty"`

	// unknownAnnotations are those of this object that begin with mcp-connection.dev/ and mean nothing here, such as a
	// misspelt one; the first 16.
	// +optional
	// +listType=atomic
	UnknownAnnotations []string `json:"unknownAnnotations,omitempty"`

	// conditions of the connection: Discovered, Registered, Authorized, Probed, Ready; Reconciling or Stalled while they
	// apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AuthorizationServerStatus is the authorization server that was discovered.
type AuthorizationServerStatus struct {
	// issuer identifier, byte for byte.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Issuer string `json:"issuer,omitempty"`
	// authorizationEndpoint of the issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	AuthorizationEndpoint string `json:"authorizationEndpoint,omitempty"`
	// tokenEndpoint of the issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	TokenEndpoint string `json:"tokenEndpoint,omitempty"`
	// registrationEndpoint of the issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	RegistrationEndpoint string `json:"registrationEndpoint,omitempty"`
	// revocationEndpoint of the issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	RevocationEndpoint string `json:"revocationEndpoint,omitempty"`
}

// ClientStatus is the client that the operator is at the authorization server.
type ClientStatus struct {
	// id is the client_id.
	// +optional
	// +kubebuilder:validation:MinLength=1
	ID string `json:"id,omitempty"`
	// registration that led to it: Preregistered, MetadataDocument or Dynamic.
	// +optional
	Registration Registration `json:"registration,omitempty"`
	// authMethod used at the token endpoint.
	// +optional
	// +kubebuilder:validation:MinLength=1
	AuthMethod string `json:"authMethod,omitempty"`
	// redirectURI that the client is registered with; absent where no person's consent is asked for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	RedirectURI string `json:"redirectURI,omitempty"`
	// expiresAt is when the client secret expires; absent if it does not.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// updateAt is when the client that refreshes the token is to be updated at its server, or another one registered,
	// because its secret will expire; absent if there is nothing to do. Chosen once, when the secret is stored.
	// +optional
	UpdateAt *metav1.Time `json:"updateAt,omitempty"`
}

// TokenStatus is the token that the token Secret holds.
type TokenStatus struct {
	// secretName of the token Secret.
	// +optional
	// +kubebuilder:validation:MinLength=1
	SecretName string `json:"secretName,omitempty"`
	// secretResourceVersion that the operator wrote; another one means an edit.
	// +optional
	// +kubebuilder:validation:MinLength=1
	SecretResourceVersion string `json:"secretResourceVersion,omitempty"`
	// issuedAt is when the token was received.
	// +optional
	IssuedAt *metav1.Time `json:"issuedAt,omitempty"`
	// expiresAt is when the token expires; absent if the server named no time.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// refreshAt is when the token will be refreshed; chosen once, when the token is stored.
	// +optional
	RefreshAt *metav1.Time `json:"refreshAt,omitempty"`
	// grantExpiresAt is when the refresh token expires by itself; absent if the server named no time.
	// +optional
	GrantExpiresAt *metav1.Time `json:"grantExpiresAt,omitempty"`
}

// ServerStatus is what the MCP server said of itself.
type ServerStatus struct {
	// name that the server gives itself.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name,omitempty"`
	// version that the server gives itself.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Version string `json:"version,omitempty"`
	// protocolVersion of MCP that was spoken.
	// +optional
	// +kubebuilder:validation:MinLength=1
	ProtocolVersion string `json:"protocolVersion,omitempty"`
	// tools that the server offers to this token.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Tools *int32 `json:"tools,omitempty"`
	// probedAt is when this was found; it changes only when the result does.
	// +optional
	ProbedAt *metav1.Time `json:"probedAt,omitempty"`
}

// LastHandled holds the annotation values already acted on.
type LastHandled struct {
	// reauthorize is the last value of mcp-connection.dev/reauthorize that was acted on.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Reauthorize string `json:"reauthorize,omitempty"`
	// refresh is the last value of mcp-connection.dev/refresh that was acted on.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Refresh string `json:"refresh,omitempty"`
	// revoke is the last value of mcp-connection.dev/revoke that was acted on.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Revoke string `json:"revoke,omitempty"`
	// challenge is the SHA-256 (hex) of the last value of mcp-connection.dev/challenge that was acted on.
	// +optional
	// +kubebuilder:validation:MinLength=1
	Challenge string `json:"challenge,omitempty"`
}

// Rules at the root judge new objects only: they are asked with every write of status and of finalizers, unlike those
// below spec, which an unchanged spec passes.

// MCPConnection keeps an OAuth token for a remote MCP server in a Secret, fresh.
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || self.metadata.name.size() <= 247 || (has(self.spec.tokenSecret) && has(self.spec.tokenSecret.name))",optionalOldSelf=true,fieldPath=".spec.tokenSecret.name",message="metadata.name has more than 247 characters, and with -token after it that is no name for the token Secret: shorten it, or set tokenSecret.name"
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=mcpconnections,singular=mcpconnection,shortName=mcpc,categories=mcp
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the token Secret holds a valid token"
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why; ConsentRequired wants a person at status.authorizationURL"
// +kubebuilder:printcolumn:name="SERVER",type=string,JSONPath=`.spec.serverURL`,description="The MCP server"
// +kubebuilder:printcolumn:name="EXPIRES",type=string,JSONPath=`.status.token.expiresAt`,description="When the token expires; it is refreshed before"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="ISSUER",type=string,priority=1,JSONPath=`.status.authorizationServer.issuer`,description="The authorization server"
// +kubebuilder:printcolumn:name="SCOPES",type=string,priority=1,JSONPath=`.status.scopes`,description="The granted scopes"
// +kubebuilder:printcolumn:name="SECRET",type=string,priority=1,JSONPath=`.status.token.secretName`,description="The Secret that workloads mount"
// +kubebuilder:printcolumn:name="NEXT",type=string,priority=1,JSONPath=`.status.next.step`,description="What the operator does next by itself"
// +kubebuilder:printcolumn:name="DUE",type=string,priority=1,JSONPath=`.status.next.at`,description="When it does that"
type MCPConnection struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec says which MCP server to connect to, and how.
	// +required
	Spec MCPConnectionSpec `json:"spec,omitzero"`

	// status says what was found, whether the token is valid, and what a person should do.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status MCPConnectionStatus `json:"status,omitzero"`
}

// MCPConnectionList is a list of MCPConnection.
// +kubebuilder:object:root=true
type MCPConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MCPConnection `json:"items"`
}

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
	// serverURL is the full URL of the MCP server, as a client would call it. It has no userinfo and no fragment; a query
	// is allowed. http is refused at run time (reason InsecureURL) unless the operator runs with --allow-insecure-http.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://')",message="serverURL must start with https:// (or http://, which the operator must allow)"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#')",message="serverURL must have no fragment: remove everything from # on"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/?#]*@')",message="serverURL must have no user name or password before the host: remove everything up to @"
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="serverURL must be a URL with a host, such as https://mcp.example.com/mcp"
	ServerURL string `json:"serverURL,omitempty"`

	// suspend stops all network calls, refreshes and consents for this connection, but for one: what the annotation
	// mcp-connection.dev/revoke asks for is done. Nothing is deleted, and a deletion is not held up.
	// Default: false.
	// +optional
	// +kubebuilder:default=false
	Suspend *bool `json:"suspend,omitempty"`

	// grantType is the way to a token. AuthorizationCode asks one person for consent at status.authorizationURL; the
	// others need nobody: ClientCredentials is the client's own access, JWTBearer spends an assertion (workload identity),
	// and TokenExchange has an identity provider issue that assertion (enterprise-managed authorization). Default:
	// AuthorizationCode.
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
	// An audience that is not the receiver's issuer wants the endpoint in mcp-connection.dev/allowed-endpoints too.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="the name of a ServiceAccount is made of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
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

	// importSecretRef names a Secret in this namespace with a grant that exists already, so that nobody has to consent
	// again: the keys refresh_token, client_id and issuer, and client_secret for a confidential client. It is read once,
	// and may be deleted after that. Nothing else may go on using that refresh token.
	// +optional
	ImportSecretRef *SecretReference `json:"importSecretRef,omitempty"`

	// deletionPolicy says what happens to the grant when this object is deleted: Revoke ends it at the
	// authorization server, for which the object stays for two minutes at most; Orphan leaves it. Both Secrets go in
	// either case. Default: Revoke.
	// +optional
	// +kubebuilder:default=Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// TokenSecretSpec describes the Secret that workloads mount.
type TokenSecretSpec struct {
	// name of the Secret, in this namespace. Default: the connection's name followed by -token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="the name of a Secret is made of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
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

// RefreshSpec says when the token is refreshed. The time is chosen when a token is issued: an edit applies from the
// next one on, for which the annotation mcp-connection.dev/refresh asks at once.
type RefreshSpec struct {
	// before is how long before its expiry the token is refreshed. Default: at two thirds of the lifetime, less some
	// jitter. Capped at half the lifetime.
	// +optional
	// +kubebuilder:validation:Type=""
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="string(self).matches('^([0-9]{1,5}([.][0-9]+)?h|[0-9]{1,7}([.][0-9]+)?m|[0-9]{1,9}([.][0-9]+)?s|[0-9]{1,12}([.][0-9]+)?ms)+$') && duration(string(self)) >= duration('1s') && duration(string(self)) <= duration('720h')",message="refresh.before is between 1s and 720h, written with its unit (h, m, s or ms), such as 5m"
	Before *metav1.Duration `json:"before,omitempty"`

	// keepAlive refreshes at least this often, for refresh tokens that die when unused. Default: 0s, only as tokens
	// expire.
	// +optional
	// +kubebuilder:validation:Type=""
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="string(self).matches('^([0-9]{1,5}([.][0-9]+)?h|[0-9]{1,7}([.][0-9]+)?m|[0-9]{1,9}([.][0-9]+)?s|[0-9]{1,12}([.][0-9]+)?ms)+$') && (duration(string(self)) == duration('0s') || (duration(string(self)) >= duration('1m') && duration(string(self)) <= duration('8760h')))",message="refresh.keepAlive is 0s, or between 1m and 8760h, written with its unit (h, m, s or ms), such as 168h"
	KeepAlive *metav1.Duration `json:"keepAlive,omitempty"`
}

// ProbeSpec says how often the published token is tried at the server.
type ProbeSpec struct {
	// interval between probes, after the one that follows each authorization. Default: 0s, none later.
	// +optional
	// +kubebuilder:validation:Type=""
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="string(self).matches('^([0-9]{1,5}([.][0-9]+)?h|[0-9]{1,7}([.][0-9]+)?m|[0-9]{1,9}([.][0-9]+)?s|[0-9]{1,12}([.][0-9]+)?ms)+$') && (duration(string(self)) == duration('0s') || (duration(string(self)) >= duration('1m') && duration(string(self)) <= duration('8760h')))",message="probe.interval is 0s, or between 1m and 8760h, written with its unit (h, m, s or ms), such as 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`
}

package v1alpha1

// Prefix starts every label and annotation of this project.
const Prefix = "mcp-connection.dev/"

// Finalizer holds a deleted connection until its grant is revoked.
const Finalizer = Prefix + "finalizer"

// Annotations a person or a program sets on an MCPConnection. A new value is
// one request; values acted on are remembered in status.lastHandled.
const (
	// AnnotationReauthorize asks for a new consent; the old token keeps working until it is replaced.
	AnnotationReauthorize = Prefix + "reauthorize"
	// AnnotationRefresh asks for a refresh now.
	AnnotationRefresh = Prefix + "refresh"
	// AnnotationRevoke revokes the grant, empties the token Secret and asks for consent.
	AnnotationRevoke = Prefix + "revoke"
	// AnnotationChallenge hands over the WWW-Authenticate value that a consumer received on 401 or 403, verbatim. Taken
	// off and set again it is a new request.
	AnnotationChallenge = Prefix + "challenge"
)

// AnnotationAllowedAudiences on a ServiceAccount is its owner's consent that tokens for these audiences, separated by
// commas, may be sent outside the cluster.
const AnnotationAllowedAudiences = Prefix + "allowed-audiences"

// Annotations by which the owner of a secret says where it may be sent.
const (
	// AnnotationAllowedEndpoints on a ServiceAccount or a referenced Secret names endpoints, separated by commas, to which
	// what it holds may be sent although they are not of its issuer's origin.
	AnnotationAllowedEndpoints = Prefix + "allowed-endpoints"
	// AnnotationIssuer on a referenced Secret is the issuer that what it holds is for, as its key issuer is.
	AnnotationIssuer = Prefix + "issuer"
)

// Labels on the Secrets that the operator writes.
const (
	// LabelManagedBy is the standard label, for people and other programs. The operator depends on LabelSecretType alone.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "mcp-connection-operator"
	// LabelSecretType tells token Secrets from credential Secrets. By it the operator's Secrets are watched.
	LabelSecretType = Prefix + "secret-type"
	// SecretTypeToken marks a Secret that workloads mount.
	SecretTypeToken = "token"
	// SecretTypeCredential marks a Secret that only the operator reads.
	SecretTypeCredential = "credential"
	// SecretTypeSigningKey marks the Secret with the operator's own signing keys.
	SecretTypeSigningKey = "signing-key"
)

// Keys of the token Secret that the operator writes; spec.tokenSecret.data cannot use them.
const (
	// KeyAccessToken holds the bare access token.
	KeyAccessToken = "access_token"
	// KeyTokenType holds the token type in canonical case, such as Bearer.
	KeyTokenType = "token_type"
	// KeyAuthorization holds a complete value for the HTTP Authorization header.
	KeyAuthorization = "authorization"
	// KeyExpiresAt holds the expiry (RFC 3339, UTC); absent if the server named none.
	KeyExpiresAt = "expires_at"
	// KeyScope holds the granted scopes, separated by spaces.
	KeyScope = "scope"
	// KeyServerURL holds the MCP server's URL.
	KeyServerURL = "server_url"
	// KeyResource holds the resource identifier (RFC 8707) that the token is for.
	KeyResource = "resource"
	// KeyDPoPJWK holds the private key (RFC 7517) that a consumer proves possession of, for a token of type DPoP only.
	KeyDPoPJWK = "dpop_jwk"
)

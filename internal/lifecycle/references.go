package lifecycle

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// String keeps the secret out of whatever prints it.
func (c ReferencedClient) String() string { return "a referenced client" }

// GoString is String, for %#v.
func (c ReferencedClient) GoString() string { return c.String() }

// String keeps the token out of whatever prints it.
func (t InitialAccessToken) String() string { return "an initial access token" }

// GoString is String, for %#v.
func (t InitialAccessToken) GoString() string { return t.String() }

// String keeps the refresh token out of whatever prints it.
func (g ImportedGrant) String() string { return "an imported grant" }

// GoString is String, for %#v.
func (g ImportedGrant) GoString() string { return g.String() }

// Keys of a Secret with client credentials.
const (
	KeyClientID     = "client_id"
	KeyClientSecret = "client_secret"
	KeyPrivateKey   = "private_key"
	KeyKeyID        = "key_id"
)

// Fields of the spec that name a Secret with client credentials.
const (
	FieldClient   = "spec.client.credentialsSecretRef"
	FieldIdentity = "spec.identityProvider.credentialsSecretRef"
)

// ReferencedClient is what a Secret with client credentials holds now.
type ReferencedClient struct {
	ID, Secret string
	// Key signs client assertions; nil if there is none.
	Key *mcpoauth.SigningKey
	// Missing says what is not there; empty if all is.
	Missing string
	// Holder is what they were read from.
	Holder Holder
}

// OwnSecrets are types of Secrets that only the operator reads.
var OwnSecrets = []string{v1alpha1.SecretTypeCredential, v1alpha1.SecretTypeSigningKey}

// Reference is a referenced Secret as it is now, and the field that names it.
type Reference struct {
	*corev1.Secret
	Field string
}

// Trimmed is a value without one line break at its end.
func Trimmed(raw []byte) string {
	value := string(raw)
	if line, ended := strings.CutSuffix(value, "\n"); ended {
		value = strings.TrimSuffix(line, "\r")
	}
	return value
}

// authenticate has a registration use what the Secret holds now: a rotated secret or key, and the method that fits it.
// An authMethod of the spec decides; otherwise the method that was chosen by the server's metadata stays as long as it
// can.
func (c *ReferencedClient) authenticate(used mcpoauth.ClientRegistration,
	wanted mcpoauth.AuthMethod) mcpoauth.ClientRegistration {
	used.ClientSecret = c.Secret
	byKey := used.AuthMethod == mcpoauth.AuthMethodPrivateKeyJWT
	fits := (byKey && c.Key != nil) || (!byKey && (c.Secret != "") == (used.AuthMethod != mcpoauth.AuthMethodNone))
	if wanted != "" || !fits {
		used.AuthMethod = mcpoauth.SelectAuthMethod(nil, wanted, c.Secret, c.Key != nil)
	}
	return used
}

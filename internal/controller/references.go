package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Keys of a Secret with client credentials.
const (
	keyClientID     = "client_id"
	keyClientSecret = "client_secret"
	keyPrivateKey   = "private_key"
	keyKeyID        = "key_id"
)

const (
	fieldClient   = "spec.client.credentialsSecretRef"
	fieldIdentity = "spec.identityProvider.credentialsSecretRef"
)

// referencedClient is what a Secret with client credentials holds now.
type referencedClient struct {
	id, secret string
	// key signs client assertions; nil if there is none.
	key *mcpoauth.SigningKey
	// missing says what is not there; empty if all is.
	missing string
	// holder is what they were read from.
	holder holder
}

// ownSecrets are types of Secrets that only the operator reads.
var ownSecrets = []string{v1alpha1.SecretTypeCredential, v1alpha1.SecretTypeSigningKey}

// reference is a referenced Secret as it is now, and the field that names it.
type reference struct {
	*corev1.Secret
	field string
}

// reference reads a referenced Secret, live, once in a reconcile; nil without an error if there is none.
func (r *Reconciler) reference(ctx context.Context, o *work, name, field string) (*reference, error) {
	secret, known := o.references[name]
	if !known {
		secret = &corev1.Secret{}
		err := r.Secrets.Get(ctx, types.NamespacedName{Namespace: o.conn.Namespace, Name: name}, secret)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the Secret of %s: %w", field, err)
		}
		if o.references == nil {
			o.references = map[string]*corev1.Secret{}
		}
		o.references[name] = secret
	}
	if secret.ResourceVersion == "" || slices.Contains(ownSecrets, secret.Labels[v1alpha1.LabelSecretType]) {
		return nil, nil // what the operator keeps is nobody's to refer to, not even beside it
	}
	return &reference{secret, field}, nil
}

// valueOf is one key of a referenced Secret, less the line break that editors and files put at the end. wrong says what nobody may
// send outside, a token of this cluster, and what no credential has: other control characters, or white space at either end. It is
// empty for all else.
func (r *Reconciler) valueOf(ctx context.Context, ref *reference, key string) (value, wrong string, err error) {
	if isClusterSecret(ref.Secret) {
		return "", fmt.Sprintf("The Secret %s, named by %s, is of type %s: it opens this cluster's own API server, so nothing of it is sent outside. Name another Secret.", ref.Name, ref.field, ref.Type), nil
	}
	value = trimmed(ref.Data[key])
	if strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
		return value, fmt.Sprintf("The key %s of the Secret %s, named by %s, holds control characters, or white space at its beginning or end. Write it anew without; one line break at the end does no harm.", key, ref.Name, ref.field), nil
	}
	of, err := r.isClusterToken(ctx, value)
	if of {
		return "", fmt.Sprintf("The key %s of the Secret %s, named by %s, holds a token of this cluster's own API server, so it is not sent outside. Put there what the authorization server expects.", key, ref.Name, ref.field), nil
	}
	return value, "", err
}

// trimmed is a value without one line break at its end.
func trimmed(raw []byte) string {
	value := string(raw)
	if line, ended := strings.CutSuffix(value, "\n"); ended {
		value = strings.TrimSuffix(line, "\r")
	}
	return value
}

// readClient reads client credentials. What is wrong with them is told by the result, not by an error.
func (r *Reconciler) readClient(ctx context.Context, o *work, name, field string) (*referencedClient, error) {
	ref, err := r.reference(ctx, o, name, field)
	if err != nil {
		return nil, err
	}
	if ref == nil {
		missing := fmt.Sprintf("The Secret %s, named by %s, does not exist in namespace %s; create it with the key client_id, and client_secret or private_key.",
			name, field, o.conn.Namespace)
		return &referencedClient{missing: o.withRedirectURI(missing)}, nil
	}
	c, values := &referencedClient{holder: ref.holder()}, map[string]string{}
	for _, key := range []string{keyClientID, keyClientSecret, keyKeyID} {
		if values[key], c.missing, err = r.valueOf(ctx, ref, key); err != nil || c.missing != "" {
			return c, err
		}
	}
	c.id, c.secret = values[keyClientID], values[keyClientSecret]
	if c.id == "" {
		c.missing = fmt.Sprintf("The Secret %s, named by %s, has no key client_id; add it.", name, field)
		return c, nil
	}
	if pem := ref.Data[keyPrivateKey]; len(pem) > 0 {
		if c.key, err = mcpoauth.ParseSigningKey(pem, values[keyKeyID]); err != nil {
			c.missing = fmt.Sprintf("In the Secret %s, named by %s, %s.", name, field, strings.TrimSuffix(err.Error(), "."))
		}
	}
	return c, nil
}

// referencedClient reads what client.credentialsSecretRef refers to; nil if the spec names none.
func (r *Reconciler) referencedClient(ctx context.Context, o *work) (*referencedClient, error) {
	ref := clientSpec(o.spec()).CredentialsSecretRef
	if ref == nil {
		return nil, nil
	}
	return r.readClient(ctx, o, ref.Name, fieldClient)
}

// authenticate has a registration use what the Secret holds now: a rotated secret or key, and the method that fits it. An
// authMethod of the spec decides; otherwise the method that was chosen by the server's metadata stays as long as it can.
func (c *referencedClient) authenticate(used mcpoauth.ClientRegistration, wanted mcpoauth.AuthMethod) mcpoauth.ClientRegistration {
	used.ClientSecret = c.secret
	byKey := used.AuthMethod == mcpoauth.AuthMethodPrivateKeyJWT
	fits := (byKey && c.key != nil) || (!byKey && (c.secret != "") == (used.AuthMethod != mcpoauth.AuthMethodNone))
	if wanted != "" || !fits {
		used.AuthMethod = mcpoauth.SelectAuthMethod(nil, wanted, c.secret, c.key != nil)
	}
	return used
}

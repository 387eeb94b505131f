package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// signs says whether a client authenticates with the operator's own key: a metadata document client by private_key_jwt.
func signs(c *mcpoauth.ClientRegistration) bool {
	return c.Method == mcpoauth.MetadataDocument && c.AuthMethod == mcpoauth.AuthMethodPrivateKeyJWT
}

func wantsToSign(spec *v1alpha1.MCPConnectionSpec) bool {
	return mcpoauth.AuthMethod(clientSpec(spec).AuthMethod) == mcpoauth.AuthMethodPrivateKeyJWT
}

// documentReplaced says whether the spec now names another document than the one of a metadata document client, or another
// way to authenticate.
func (o *observed) documentReplaced(used *mcpoauth.ClientRegistration) bool {
	named := clientSpec(o.spec()).MetadataDocumentURL
	return (named != "" && named != used.ClientID) || wantsToSign(o.spec()) != signs(used)
}

// useMetadataDocument takes the client that a document describes. If it signs, there is a key from now on: it is published
// while a person still reads the consent.
func (r *Reconciler) useMetadataDocument(ctx context.Context, o *work, documentURL string) error {
	client := &mcpoauth.ClientRegistration{Method: mcpoauth.MetadataDocument, ClientID: documentURL, AuthMethod: mcpoauth.AuthMethodNone}
	if wantsToSign(o.spec()) {
		client.AuthMethod = mcpoauth.AuthMethodPrivateKeyJWT
		if _, err := r.Store.SigningKey(ctx, r.Clock.Now()); unusable(err) {
			o.unmet(r.Clock.Now(), stepRegister, unmet{v1alpha1.ReasonCredentialsMissing, fmt.Sprintf(
				"The Secret %s in the operator's namespace, which holds the key for private_key_jwt, cannot be used: %s. Whoever runs the operator has to remove it, or to upgrade the operator.", credential.SigningKeySecret, err)})
			return nil
		} else if err != nil {
			return err
		}
	}
	o.registered = client
	return nil
}

// keyNotRegistered says why a client that wants to sign cannot be registered dynamically; nil if it does not.
func keyNotRegistered(o *observed, documentURL string) error {
	if !wantsToSign(o.spec()) {
		return nil
	}
	why := "the authorization server " + o.discovery.AuthorizationServer.Issuer + " does not advertise client ID metadata documents"
	if documentURL == "" {
		why = "the operator has no public https --external-url for a client metadata document"
	}
	return &mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: mcpoauth.NoRegistrationMethod, Message: "spec.client.authMethod is private_key_jwt, but " + why +
		", and dynamic registration is not used with keys; remove authMethod, or register a client by hand and name its Secret, with the key private_key, in spec.client.credentialsSecretRef"}
}

// observeSigningKey reads the operator's own key, if something stored needs it. Without a key that can be used the token
// requests say so; everything else goes on.
func (r *Reconciler) observeSigningKey(ctx context.Context, o *work) error {
	if !o.needsSigningKey() {
		return nil
	}
	key, err := r.Store.SigningKey(ctx, r.Clock.Now())
	if unusable(err) {
		log.FromContext(ctx).Error(err, "The key for private_key_jwt cannot be used")
		return nil
	}
	o.signingKey = key
	return err
}

func (o *observed) needsSigningKey() bool {
	if o.imported != nil && wantsToSign(o.spec()) {
		return true
	}
	c := o.credential()
	if c == nil {
		return false
	}
	if response := o.response(); response != nil && signs(&response.Request.Binding.Client) {
		return true
	}
	for i := range c.Grants {
		if signs(&c.Grants[i].Client) {
			return true
		}
	}
	return false
}

// metadataDocumentURL is the client_id of a metadata document client: that of the spec, or of one of the documents that the
// operator serves; empty without an https address for these.
func (o *observed) metadataDocumentURL() string {
	switch named := clientSpec(o.spec()).MetadataDocumentURL; {
	case named != "":
		return named
	case wantsToSign(o.spec()):
		return credential.ClientMetadataJWTURL(o.externalURL)
	}
	return credential.ClientMetadataURL(o.externalURL)
}

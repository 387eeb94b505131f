package main

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// clientMetadataURL is the only client metadata document that auth/basic-cimd accepts.
const clientMetadataURL = "https://conformance-test.local/client-metadata.json"

// scenario is one of the suite's, as the suite describes it to its client.
type scenario struct {
	name            string
	protocolVersion string
	serverURL       string
	namespace       string
	context         scenarioContext
}

// scenarioContext is what the suite tells beforehand, as an administrator of the authorization server would.
type scenarioContext struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	PrivateKey   string `json:"private_key_pem"`
	// Issuer that the client belongs to; where the suite does not tell it, the consumer looks it up.
	Issuer string `json:"issuer"`
	// Assertion of a workload's identity.
	Assertion string `json:"valid_jwt"`

	IDPIssuer   string `json:"idp_issuer"`
	IDPClientID string `json:"idp_client_id"`
	IDToken     string `json:"idp_id_token"`
}

// refusals are the scenarios that must not lead to the use of the server, with the reason in the connection's status.
var refusals = map[string]string{
	"auth/resource-mismatch":        v1alpha1.ReasonResourceMismatch,
	"auth/metadata-issuer-mismatch": v1alpha1.ReasonIssuerMismatch,
	"auth/iss-supported-missing":    v1alpha1.ReasonIssuerParameterMismatch,
	"auth/iss-wrong-issuer":         v1alpha1.ReasonIssuerParameterMismatch,
	"auth/iss-unexpected":           v1alpha1.ReasonIssuerParameterMismatch,
	"auth/iss-normalized":           v1alpha1.ReasonIssuerParameterMismatch,
	"auth/scope-retry-limit":        v1alpha1.ReasonInsufficientScope,
}

// objects are what a person would apply for the scenario; the connection comes last.
func (s *scenario) objects() (*v1alpha1.MCPConnection, []client.Object) {
	connection := &v1alpha1.MCPConnection{}
	connection.Namespace, connection.Name = s.namespace, path.Base(s.name)
	connection.Spec.ServerURL = s.serverURL
	if s.protocolVersion == "2025-03-26" {
		connection.Spec.Compatibility = &v1alpha1.CompatibilitySpec{LegacyEndpoints: ptr.To(true)}
	}
	if s.name == "auth/basic-cimd" {
		connection.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: clientMetadataURL}
	}
	var secrets []client.Object
	secret := func(suffix string, data map[string]string) string {
		o := &corev1.Secret{StringData: data}
		o.Namespace, o.Name = s.namespace, connection.Name+suffix
		secrets = append(secrets, o)
		return o.Name
	}
	if s.context.ClientID != "" {
		connection.Spec.Client = &v1alpha1.ClientSpec{
			CredentialsSecretRef: &v1alpha1.SecretReference{Name: secret("-client", s.context.credentials())},
			Issuer:               s.context.Issuer,
		}
	}
	switch s.name {
	case "auth/client-credentials-jwt", "auth/client-credentials-basic":
		connection.Spec.GrantType = v1alpha1.GrantTypeClientCredentials
	case "auth/wif-jwt-bearer":
		connection.Spec.GrantType = v1alpha1.GrantTypeJWTBearer
		connection.Spec.Assertion = assertion(secret("-assertion", map[string]string{"token": s.context.Assertion}))
	case "auth/enterprise-managed-authorization":
		connection.Spec.GrantType = v1alpha1.GrantTypeTokenExchange
		connection.Spec.Assertion = assertion(secret("-id-token", map[string]string{"token": s.context.IDToken}))
		connection.Spec.IdentityProvider = &v1alpha1.IdentityProviderSpec{
			Issuer: s.context.IDPIssuer,
			CredentialsSecretRef: v1alpha1.SecretReference{Name: secret("-idp-client",
				map[string]string{"client_id": s.context.IDPClientID})},
		}
	}
	return connection, append(secrets, connection)
}

// credentials are the keys of a Secret for client.credentialsSecretRef. A public client has only an id.
func (c scenarioContext) credentials() map[string]string {
	keys := map[string]string{"client_id": c.ClientID}
	if c.ClientSecret != "" {
		keys["client_secret"] = c.ClientSecret
	}
	if c.PrivateKey != "" {
		keys["private_key"] = c.PrivateKey
	}
	return keys
}

func assertion(secret string) *v1alpha1.AssertionSpec {
	return &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: secret}}
}

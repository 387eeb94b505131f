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
	Issuer       string `json:"issuer"`
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
	switch s.name {
	case "auth/basic-cimd":
		connection.Spec.Client = &v1alpha1.ClientSpec{MetadataDocumentURL: clientMetadataURL}
	case "auth/pre-registration":
		credentials := &corev1.Secret{StringData: map[string]string{"client_id": s.context.ClientID, "client_secret": s.context.ClientSecret}}
		credentials.Namespace, credentials.Name = s.namespace, connection.Name+"-client"
		connection.Spec.Client = &v1alpha1.ClientSpec{
			CredentialsSecretRef: &v1alpha1.SecretReference{Name: credentials.Name},
			Issuer:               s.context.Issuer,
		}
		return connection, []client.Object{credentials, connection}
	}
	return connection, []client.Object{connection}
}

// Package discovery says what the spec of a connection asks of discovery. The operator asks for it from the cluster,
// and kubectl mcpc from where it runs: both look for the same.
package discovery

import (
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Request is what a spec asks for.
func Request(spec *v1alpha1.MCPConnectionSpec) mcpoauth.DiscoveryRequest {
	as := ptr.Deref(spec.AuthorizationServer, v1alpha1.AuthorizationServerSpec{})
	compat := ptr.Deref(spec.Compatibility, v1alpha1.CompatibilitySpec{})
	request := mcpoauth.DiscoveryRequest{
		ServerURL:       spec.ServerURL,
		Issuer:          PinnedIssuer(spec),
		AssumePKCES256:  ptr.Deref(compat.AssumePKCES256, false),
		LegacyEndpoints: ptr.Deref(compat.LegacyEndpoints, false),
		MayBePublic:     MayBePublic(spec),
		NoCodeFlow:      NonInteractive(spec),
	}
	if as.TokenEndpoint != "" {
		request.Endpoints = &mcpoauth.AuthorizationServerMetadata{
			Issuer:                as.Issuer,
			AuthorizationEndpoint: string(as.AuthorizationEndpoint),
			TokenEndpoint:         string(as.TokenEndpoint),
			RegistrationEndpoint:  string(as.RegistrationEndpoint),
			RevocationEndpoint:    string(as.RevocationEndpoint),
			// No document can say so, and whoever wrote these endpoints answers for the server; PKCE is always used.
			CodeChallengeMethodsSupported: []string{"S256"},
		}
	}
	return request
}

// PinnedIssuer is the only issuer that a spec allows; empty if it leaves that open.
func PinnedIssuer(spec *v1alpha1.MCPConnectionSpec) string {
	if as := spec.AuthorizationServer; as != nil && as.Issuer != "" {
		return as.Issuer
	}
	return ptr.Deref(spec.Client, v1alpha1.ClientSpec{}).Issuer
}

// MayBePublic reports whether a server that needs no authorization fits a spec.
func MayBePublic(spec *v1alpha1.MCPConnectionSpec) bool {
	return spec.Client == nil && len(spec.Scopes) == 0 && spec.AuthorizationServer == nil && !NonInteractive(spec) &&
		spec.ImportSecretRef == nil
}

// NonInteractive reports whether tokens are had without a person.
func NonInteractive(spec *v1alpha1.MCPConnectionSpec) bool {
	return spec.GrantType != "" && spec.GrantType != v1alpha1.GrantTypeAuthorizationCode
}

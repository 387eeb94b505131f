package discovery

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestRequestIsWhatTheSpecAsksFor(t *testing.T) {
	const issuer, other = "https://as.example.com", "https://other.example.com"
	for name, test := range map[string]struct {
		spec v1alpha1.MCPConnectionSpec
		want mcpoauth.DiscoveryRequest
	}{
		"a URL alone": {want: mcpoauth.DiscoveryRequest{MayBePublic: true}},
		"a client's issuer": {
			spec: v1alpha1.MCPConnectionSpec{Client: &v1alpha1.ClientSpec{Issuer: issuer}},
			want: mcpoauth.DiscoveryRequest{Issuer: issuer},
		},
		"an authorization server before a client's": {
			spec: v1alpha1.MCPConnectionSpec{
				AuthorizationServer: &v1alpha1.AuthorizationServerSpec{Issuer: issuer}, Client: &v1alpha1.ClientSpec{Issuer: other},
			},
			want: mcpoauth.DiscoveryRequest{Issuer: issuer},
		},
		"a grant without a person": {
			spec: v1alpha1.MCPConnectionSpec{GrantType: v1alpha1.GrantTypeClientCredentials},
			want: mcpoauth.DiscoveryRequest{NoCodeFlow: true},
		},
		"a grant of a person, named": {
			spec: v1alpha1.MCPConnectionSpec{GrantType: v1alpha1.GrantTypeAuthorizationCode},
			want: mcpoauth.DiscoveryRequest{MayBePublic: true},
		},
		"an import":     {spec: v1alpha1.MCPConnectionSpec{ImportSecretRef: &v1alpha1.SecretReference{Name: "grant"}}},
		"chosen scopes": {spec: v1alpha1.MCPConnectionSpec{Scopes: []v1alpha1.Scope{"mcp:read"}}},
		"waivers": {
			spec: v1alpha1.MCPConnectionSpec{Compatibility: &v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true),
				LegacyEndpoints: ptr.To(true)}},
			want: mcpoauth.DiscoveryRequest{AssumePKCES256: true, LegacyEndpoints: true, MayBePublic: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.ServerURL = "https://mcp.example.com/mcp"
			test.want.ServerURL = test.spec.ServerURL
			if got := Request(&test.spec); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestRequestTakesTheEndpointsOfTheSpec(t *testing.T) {
	got := Request(&v1alpha1.MCPConnectionSpec{AuthorizationServer: &v1alpha1.AuthorizationServerSpec{
		Issuer: "https://as.example.com", AuthorizationEndpoint: "https://as.example.com/authorize",
		TokenEndpoint: "https://as.example.com/token",
	}})
	as := got.Endpoints
	if as == nil || as.Issuer != got.Issuer || as.TokenEndpoint != "https://as.example.com/token" ||
		len(as.CodeChallengeMethodsSupported) != 1 {
		t.Errorf("got %+v", as)
	}
}

package lifecycle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// BindingHash is of the parts of the spec that a consent or a token depends on.
func BindingHash(spec *v1alpha1.MCPConnectionSpec) string {
	raw, err := json.Marshal([]any{spec.ServerURL, spec.GrantType, spec.Scopes, spec.Client, spec.AuthorizationServer,
		spec.Compatibility,
		spec.ServiceAccountName, spec.Assertion, spec.IdentityProvider})
	if err != nil {
		panic("a spec read from the API server encodes: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}

// Binding is what a consent or a token will be bound to: the server, its authorization server, the client and what is
// asked for.
func Binding(s *State) credential.Binding {
	as, compat := s.Discovery.AuthorizationServer, Compatibility(s.Spec())
	b := credential.Binding{
		ServerURL: s.Conn.Spec.ServerURL, Issuer: as.Issuer, GrantType: GrantTypeOf(s.Spec()),
		Unlisted: s.Discovery.Unlisted != "", IssParameterSupported: as.AuthorizationResponseIssParameterSupported,
		AuthorizationEndpoint: as.AuthorizationEndpoint, TokenEndpoint: as.TokenEndpoint,
		RegistrationEndpoint: as.RegistrationEndpoint, RevocationEndpoint: as.RevocationEndpoint, Documented: as.Documented,
		Client: *s.Registered, RedirectURI: s.RedirectURI(), Scopes: requestedScopes(s),
		ResourceIdentifier: s.Discovery.Resource, Resource: resourceParameter(compat.Resource, s.Discovery.Resource),
		Parameters: plainStrings(compat.AuthorizationParameters),
	}
	if s.Discovery.DPoPRequired {
		b.DPoPJWK = s.dpopJWK()
	}
	return b
}

func resourceParameter(spec *v1alpha1.ResourceSpec, discovered string) string {
	switch {
	case spec == nil || spec.Mode == v1alpha1.ResourceModeAuto || spec.Mode == "":
		return discovered
	case spec.Mode == v1alpha1.ResourceModeExplicit:
		return spec.Value
	}
	return ""
}

package lifecycle

import (
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestTheDocumentOfAClient(t *testing.T) {
	const named = "https://client.example/client.json"
	for name, test := range map[string]struct {
		external string
		client   *v1alpha1.ClientSpec
		want     string
	}{
		"the operator's own": {external: givenExternal, want: givenExternal + "/oauth/client-metadata.json"},
		"the operator's own that signs": {givenExternal, &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"},
			givenExternal + "/oauth/client-metadata-jwt.json"},
		"that of the spec": {givenExternal, &v1alpha1.ClientSpec{MetadataDocumentURL: named}, named},
		"that of the spec that signs": {givenExternal, &v1alpha1.ClientSpec{MetadataDocumentURL: named,
			AuthMethod: "private_key_jwt"}, named},
		"none that servers could not get": {"http://localhost:8082", &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(func(o *State) { o.Conn.Spec.Client, o.ExternalURL = test.client, test.external })
			if got := o.MetadataDocumentURL(); got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheKeyIsReadOnlyWhereItIsNeeded(t *testing.T) {
	bySigning := func(g *credential.Grant) {
		g.Client.Method, g.Client.AuthMethod = mcpoauth.MetadataDocument, mcpoauth.AuthMethodPrivateKeyJWT
	}
	byOwnKey := func(g *credential.Grant) {
		g.Client.Method, g.Client.AuthMethod = mcpoauth.Preregistered, mcpoauth.AuthMethodPrivateKeyJWT
	}
	for name, test := range map[string]struct {
		o    *State
		want bool
	}{
		"not for a new connection":               {given(), false},
		"not for a dynamic client":               {given(granted()), false},
		"not for a client with a key of its own": {given(granted(byOwnKey)), false},
		"not for a link": {
			given(offered(func(o *credential.Offer) { o.Binding.Client.AuthMethod = mcpoauth.AuthMethodPrivateKeyJWT })), false},
		"for a grant": {given(granted(bySigning)), true},
		"for a code": {given(answered, func(o *State) {
			c := &o.Response().Request.Binding.Client
			c.Method, c.AuthMethod = mcpoauth.MetadataDocument, mcpoauth.AuthMethodPrivateKeyJWT
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.o.NeedsSigningKey(); got != test.want {
				t.Errorf("it is %t", got)
			}
		})
	}
}

func TestAKeyIsNotRegisteredAtAServerWithoutDocuments(t *testing.T) {
	o := given(foundServer,
		specified(func(s *v1alpha1.MCPConnectionSpec) { s.Client = &v1alpha1.ClientSpec{AuthMethod: "private_key_jwt"} }))
	if err := KeyNotRegistered(o, credential.ClientMetadataJWTURL(givenExternal)); err == nil ||
		!strings.Contains(err.Error(), givenIssuer+" does not advertise") {
		t.Errorf("with an https address it says %v", err)
	}
}

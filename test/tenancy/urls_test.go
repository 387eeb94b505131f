package tenancy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// evil is a URL of the author's own.
const evil = "https://evil.example.org/token"

// authorizationServer is a spec that describes its authorization server, with changes.
func authorizationServer(change func(*v1alpha1.AuthorizationServerSpec)) edit {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{
			Issuer: "https://auth.example.com", AuthorizationEndpoint: "https://auth.example.com/authorize",
			TokenEndpoint: "https://auth.example.com/token",
		}
		change(s.AuthorizationServer)
	}
}

// identityProvider is a spec with an identity provider, with changes.
func identityProvider(change func(*v1alpha1.IdentityProviderSpec)) edit {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.GrantType, s.ServiceAccountName = v1alpha1.GrantTypeTokenExchange, "x"
		s.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: "https://auth.example.com",
			CredentialsSecretRef: v1alpha1.SecretReference{Name: "idp"}}
		change(s.IdentityProvider)
	}
}

// naming are specs that name a URL of the author's own in each place there is, by the path of the field, and the
// policies that refuse it.
var naming = map[string]struct {
	edit  edit
	files []string
}{
	"serverURL": {serverURL(evil), []string{"server_hosts.yaml"}},
	"client.issuer": {func(s *v1alpha1.MCPConnectionSpec) { s.Client = &v1alpha1.ClientSpec{Issuer: evil} },
		[]string{"server_hosts.yaml"}},
	"authorizationServer.issuer": {func(s *v1alpha1.MCPConnectionSpec) {
		s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: evil}
	}, []string{"server_hosts.yaml"}},
	"authorizationServer.authorizationEndpoint": {
		authorizationServer(func(as *v1alpha1.AuthorizationServerSpec) { as.AuthorizationEndpoint = evil }), both},
	"authorizationServer.tokenEndpoint": {
		authorizationServer(func(as *v1alpha1.AuthorizationServerSpec) { as.TokenEndpoint = evil }), both},
	"authorizationServer.registrationEndpoint": {
		authorizationServer(func(as *v1alpha1.AuthorizationServerSpec) { as.RegistrationEndpoint = evil }), both},
	"authorizationServer.revocationEndpoint": {authorizationServer(
		func(as *v1alpha1.AuthorizationServerSpec) { as.RevocationEndpoint = evil }), both},
	"identityProvider.issuer": {identityProvider(func(idp *v1alpha1.IdentityProviderSpec) { idp.Issuer = evil }),
		[]string{"server_hosts.yaml"}},
	"identityProvider.tokenEndpoint": {identityProvider(
		func(idp *v1alpha1.IdentityProviderSpec) { idp.TokenEndpoint = evil }), both},
}

var both = []string{"server_hosts.yaml", "compatibility.yaml"}

// uncalled are URLs that the operator never calls: the authorization server shows or fetches them.
var uncalled = []string{"client.uri", "client.logoURI", "client.metadataDocumentURL"}

func TestThePoliciesKnowEveryURLOfTheSpec(t *testing.T) {
	var found []string
	for _, path := range specSchema(t).urls(nil) {
		found = append(found, strings.Join(path, "."))
	}
	var known []string
	for path := range naming {
		known = append(known, path)
	}
	known = append(known, uncalled...)
	slices.Sort(found)
	slices.Sort(known)
	if !slices.Equal(found, known) {
		t.Errorf("the schema has the URLs %v, the test knows %v", found, known)
	}
}

// authorsOwn are the verdicts of a policy, which refuses with these words, on specs that name a URL of the author's
// own.
func authorsOwn(policy, refusal string) []TableEntry {
	var entries []TableEntry
	for _, path := range slices.Sorted(maps.Keys(naming)) {
		want := accepted
		if slices.Contains(naming[path].files, policy) {
			want = refusal
		}
		entries = append(entries, Entry(path, plain("c", naming[path].edit), want))
	}
	return entries
}

func issuer(url string) edit {
	return func(s *v1alpha1.MCPConnectionSpec) {
		s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: url}
	}
}

// listedIssuers are the verdicts of the policy of server hosts on issuers.
var listedIssuers = []TableEntry{
	Entry("no issuer", plain("c"), accepted),
	Entry("a listed issuer", plain("c", issuer("https://auth.example.com/realms/a")), accepted),
	Entry("one below a listed domain", plain("c", issuer("https://team.auth.example.net")), accepted),
	Entry("one in capitals", plain("c", issuer("https://Auth.Example.COM")), accepted),
	Entry("endpoints of a listed issuer", plain("c", authorizationServer(func(*v1alpha1.AuthorizationServerSpec) {})),
		accepted),
	Entry("an MCP server that is listed", plain("c", issuer("https://mcp.example.com")), "mcp.example.com"),
	Entry("a listed issuer as a user name", plain("c", issuer("https://auth.example.com@evil.example.org")),
		"evil.example.org"),
	Entry("a host that begins as a listed one", plain("c", issuer("https://auth.example.com.evil.example.org")),
		"evil.example.org"),
}

// urls are the paths of all properties that a rule wants to be URLs.
func (s schema) urls(at []string) [][]string {
	var found [][]string
	for name, property := range s.Properties {
		path := append(slices.Clone(at), name)
		for _, rule := range property.Rules {
			if len(property.Properties) == 0 && (strings.Contains(rule.Rule, "http") || strings.Contains(rule.Rule, "isURL")) {
				found = append(found, path)
				break
			}
		}
		found = append(found, property.urls(path)...)
	}
	return found
}

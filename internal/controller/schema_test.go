package controller

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const schemaFile = "../../config/crd/bases/mcp-connection.dev_mcpconnections.yaml"

// crd is the CustomResourceDefinition of this version.
func crd(t testing.TB) *unstructured.Unstructured {
	t.Helper()
	source, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(source, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

// rootSchema is the schema of a connection.
func rootSchema(t testing.TB, crd *unstructured.Unstructured) map[string]any {
	t.Helper()
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	schema, found, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil || !found || len(versions) != 1 {
		t.Fatal("the CustomResourceDefinition has not one version", err)
	}
	return schema
}

// numbered writes n entries of a YAML list or map, each with its number.
func numbered(n int, entry string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, entry+", ", i)
	}
	return b.String()
}

type badSpec struct{ name, spec, want string }

// A name that leaves no room for the default name of the token Secret.
var longName = strings.Repeat("n", 248)

// ruledOut has a spec for each CEL rule, and for each way around one that was thought of.
var ruledOut = []badSpec{
	{"a scheme other than http", "serverURL: ftp://mcp.example.com/mcp", "serverURL must start with https://"},
	{"a fragment", "serverURL: https://mcp.example.com/mcp#top", "serverURL must have no fragment"},
	{"a user name", "serverURL: https://alice@mcp.example.com/mcp", "serverURL must have no user name or password"},
	{"a password", "serverURL: https://alice:secret@mcp.example.com/mcp", "serverURL must have no user name or password"},
	{"no host", "serverURL: https:///mcp", "serverURL must be a URL with a host"},
	{"a port without a host", "serverURL: https://:443/mcp", "serverURL must be a URL with a host"},
	{"a host that is none", "serverURL: 'https://mcp example/mcp'", "serverURL must be a URL with a host"},

	{"credentials without an issuer", "client: {credentialsSecretRef: {name: app}}",
		"client.credentialsSecretRef needs client.issuer"},
	{"credentials beside an authorization server without an issuer", "{client: {credentialsSecretRef: {name: app}}, " +
		"authorizationServer: {}}", "client.credentialsSecretRef needs client.issuer"},
	{"pre-registration without credentials", "client: {registration: Preregistered}",
		"client.registration Preregistered needs client.credentialsSecretRef"},
	{"credentials and dynamic registration", "client: {registration: Dynamic, credentialsSecretRef: {name: app}, " +
		"issuer: https://as.example.com}", "client.credentialsSecretRef goes with client.registration Auto or Preregistered"},
	{"a metadata document and dynamic registration", "client: {registration: Dynamic, metadataDocumentURL: " +
		"https://app.example.com/client.json}", "client.metadataDocumentURL goes with client.registration Auto or " +
		"MetadataDocument"},
	{"two identities", "client: {metadataDocumentURL: https://app.example.com/client.json, credentialsSecretRef: {name: " +
		"app}, issuer: https://as.example.com}", "are two identities: remove one"},

	{"endpoints without an issuer", "authorizationServer: {authorizationEndpoint: https://as.example.com/a, " +
		"tokenEndpoint: https://as.example.com/t}", "authorizationServer endpoints need authorizationServer.issuer"},
	{"an authorization endpoint alone", "authorizationServer: {issuer: https://as.example.com, authorizationEndpoint: " +
		"https://as.example.com/a}", "authorizationEndpoint and tokenEndpoint go together"},
	{"a token endpoint alone", "authorizationServer: {issuer: https://as.example.com, tokenEndpoint: " +
		"https://as.example.com/t}", "authorizationEndpoint and tokenEndpoint go together"},
	{"a registration endpoint alone", "authorizationServer: {issuer: https://as.example.com, registrationEndpoint: " +
		"https://as.example.com/r}", "authorizationServer endpoints replace metadata as a whole"},
	{"a revocation endpoint alone", "authorizationServer: {issuer: https://as.example.com, revocationEndpoint: " +
		"https://as.example.com/r}", "authorizationServer endpoints replace metadata as a whole"},

	{"an explicit resource without a value", "compatibility: {resource: {mode: Explicit}}",
		"compatibility.resource.value goes with mode Explicit"},
	{"a resource value with mode Auto", "compatibility: {resource: {value: 'https://mcp.example.com'}}",
		"compatibility.resource.value goes with mode Explicit"},
	{"a protocol parameter for the authorization request", "compatibility: {authorizationParameters: {redirect_uri: " +
		"'https://evil.example.com'}}", "authorizationParameters must not hold a protocol parameter"},
	{"a scope as authorization parameter", "compatibility: {authorizationParameters: {scope: all}}",
		"authorizationParameters must not hold a protocol parameter"},
	{"an authorization parameter without a name", "compatibility: {authorizationParameters: {'': x}}",
		"authorizationParameters names have 1 to 64 characters"},
	{"a protocol parameter for the token request", "compatibility: {tokenParameters: {client_assertion: x}}",
		"tokenParameters must not hold a protocol parameter"},
	{"a code verifier as token parameter", "compatibility: {tokenParameters: {code_verifier: x}}",
		"tokenParameters must not hold a protocol parameter"},
	{"a token parameter with a long name", "compatibility: {tokenParameters: {" + strings.Repeat("n", 65) + ": x}}",
		"tokenParameters names have 1 to 64 characters"},

	{"the label that the operator finds its Secrets by", "tokenSecret: {labels: {app.kubernetes.io/managed-by: me}}",
		"tokenSecret.labels must not hold app.kubernetes.io/managed-by"},
	{"a label of this operator", "tokenSecret: {labels: {mcp-connection.dev/owner: me}}",
		"tokenSecret.labels must not hold app.kubernetes.io/managed-by"},
	{"a label name with a space", "tokenSecret: {labels: {'a b': x}}", "tokenSecret.labels must have valid " +
		"Kubernetes label names"},
	{"a label name of 64 characters", "tokenSecret: {labels: {" + strings.Repeat("n", 64) + ": x}}",
		"tokenSecret.labels must have valid Kubernetes label names"},
	{"a label prefix that is no domain", "tokenSecret: {labels: {-example..com/name: x}}",
		"tokenSecret.labels must have valid Kubernetes label names"},
	{"an annotation of this operator", "tokenSecret: {annotations: {mcp-connection.dev/refresh: now}}",
		"tokenSecret.annotations must not hold annotations of mcp-connection.dev/"},
	{"an annotation without a name", "tokenSecret: {annotations: {example.com/: x}}",
		"tokenSecret.annotations must have valid Kubernetes annotation names"},
	{"an annotation name of 64 characters", "tokenSecret: {annotations: {" + strings.Repeat("n", 64) + ": x}}",
		"tokenSecret.annotations must have valid Kubernetes annotation names"},
	{"a template for a reserved key", "tokenSecret: {data: {authorization: x}}",
		"tokenSecret.data must not hold a reserved key"},
	{"a template whose key is a path", "tokenSecret: {data: {../mcp.json: x}}", "tokenSecret.data keys are file names"},
	{"a template whose key is the folder", "tokenSecret: {data: {.: x}}", "tokenSecret.data keys are file names"},

	{"an initial access token beside credentials", "client: {credentialsSecretRef: {name: app}, issuer: " +
		"https://as.example.com, initialAccessTokenSecretRef: {name: t}}", "client.initialAccessTokenSecretRef is for " +
		"dynamic registration"},
	{"an initial access token for a metadata document", "client: {registration: MetadataDocument, " +
		"initialAccessTokenSecretRef: {name: t}}", "client.initialAccessTokenSecretRef is for dynamic registration"},
	{"dynamic registration with a private key", "client: {registration: Dynamic, authMethod: private_key_jwt}",
		"client.authMethod private_key_jwt goes with client.credentialsSecretRef"},
	{"client credentials without credentials", "grantType: ClientCredentials",
		"grantType ClientCredentials needs client.credentialsSecretRef"},
	{"a JWT bearer grant of a metadata document", "{grantType: JWTBearer, serviceAccountName: agent, client: " +
		"{registration: MetadataDocument}}", "only grantType AuthorizationCode registers a client"},
	{"a JWT bearer grant without an assertion", "grantType: JWTBearer", "need either serviceAccountName or " +
		"assertion.secretRef"},
	{"a JWT bearer grant with an audience alone", "{grantType: JWTBearer, assertion: {audience: x}}",
		"need either serviceAccountName or assertion.secretRef"},
	{"two assertions", "{grantType: JWTBearer, serviceAccountName: agent, assertion: {secretRef: {name: jwt}}}",
		"need either serviceAccountName or assertion.secretRef"},
	{"a token exchange without a subject token", "{grantType: TokenExchange, identityProvider: {issuer: " +
		"https://idp.example.com, credentialsSecretRef: {name: idp}}}", "need either serviceAccountName or " +
		"assertion.secretRef"},
	{"a ServiceAccount for a code grant", "serviceAccountName: agent", "serviceAccountName and assertion go with " +
		"grantType JWTBearer or TokenExchange"},
	{"an assertion for client credentials", "{grantType: ClientCredentials, client: {credentialsSecretRef: {name: app}, " +
		"issuer: https://as.example.com}, assertion: {secretRef: {name: jwt}}}",
		"serviceAccountName and assertion go with grantType JWTBearer or TokenExchange"},
	{"a token exchange without an identity provider", "{grantType: TokenExchange, serviceAccountName: agent}",
		"identityProvider goes with grantType TokenExchange"},
	{"an identity provider for a code grant", "identityProvider: {issuer: https://idp.example.com, " +
		"credentialsSecretRef: {name: idp}}", "identityProvider goes with grantType TokenExchange"},
	{"a token type for a JWT bearer grant", "{grantType: JWTBearer, assertion: {secretRef: {name: jwt}, tokenType: " +
		"'urn:ietf:params:oauth:token-type:jwt'}}", "assertion.tokenType goes with grantType TokenExchange"},
	{"an import for client credentials", "{grantType: ClientCredentials, client: {credentialsSecretRef: {name: app}, " +
		"issuer: https://as.example.com}, importSecretRef: {name: old}}", "importSecretRef brings a grant of type " +
		"AuthorizationCode"},
	{"a subject token as token parameter", "compatibility: {tokenParameters: {subject_token: x}}",
		"tokenParameters must not hold a protocol parameter"},
	{"a requested token type as token parameter", "compatibility: {tokenParameters: {requested_token_type: x}}",
		"tokenParameters must not hold a protocol parameter"},
	{"a probe too often", "probe: {interval: 59s}", "probe.interval is 0s, or between 1m and 8760h"},
	{"a probe too seldom", "probe: {interval: 8761h}", "probe.interval is 0s, or between 1m and 8760h"},
	{"keeping alive too often", "refresh: {keepAlive: 1s}", "refresh.keepAlive is 0s, or between 1m and 8760h"},

	{"a long name without a name of the token Secret", "metadata.name: " + longName,
		"shorten it, or set tokenSecret.name"},

	{"a refresh too near the expiry", "refresh: {before: 999ms}", "refresh.before is between 1s and 720h"},
	{"a refresh too far from the expiry", "refresh: {before: 720h1s}", "refresh.before is between 1s and 720h"},

	{"two scopes in one", "scopes: ['read write']", "a scope is one word"},
	{"a scope with a quotation mark", `scopes: ['re"ad']`, "a scope is one word"},
	{"a credentials reference to a path", "client: {credentialsSecretRef: {name: a/b}, issuer: https://as.example.com}",
		"the name of a Secret is made of lower-case letters"},
	{"a logo over http", "client: {logoURI: http://app.example.com/logo.png}", "client.logoURI must be an https URL"},
	{"a metadata document without a path", "client: {metadataDocumentURL: https://app.example.com}",
		"client.metadataDocumentURL must be an https URL with a path"},
	{"an issuer with a query", "authorizationServer: {issuer: 'https://as.example.com?tenant=1'}",
		"issuer must be a URL without query and fragment"},
	{"a token endpoint with a user name", "authorizationServer: {issuer: https://as.example.com, authorizationEndpoint: " +
		"https://as.example.com/a, tokenEndpoint: https://a@as.example.com/t}",
		"an endpoint is a URL without user name and fragment"},
	{"a resource with a fragment", "compatibility: {resource: {mode: Explicit, value: 'https://mcp.example.com/#a'}}",
		"compatibility.resource.value must be an absolute URI without a fragment"},
	{"a Secret name in capitals", "tokenSecret: {name: Token}", "the name of a Secret is made of lower-case letters"},
	{"a label value with a space", "tokenSecret: {labels: {team: 'a b'}}", "the value of a label is made of letters"},
	{"a duration without a unit", "refresh: {before: '5'}", "refresh.before is between 1s and 720h, written " +
		"with its unit"},
	{"a duration as a number", "refresh: {before: 300}", "refresh.before is between 1s and 720h, written with its unit"},
	{"a duration beyond any clock", "refresh: {before: 99999999999999999999h}",
		"refresh.before is between 1s and 720h, written with its unit"},
	{"a page over http", "client: {uri: http://app.example.com}", "client.uri must be an https URL"},
	{"a ServiceAccount in capitals", "{grantType: JWTBearer, serviceAccountName: Agent}",
		"the name of a ServiceAccount is made of lower-case letters"},
	{"a key that is a path", "client: {initialAccessTokenSecretRef: {name: t, key: a/b}}",
		"the key of a Secret is made of letters"},
	{"a duration in days", "probe: {interval: 1d}", "probe.interval is 0s, or between 1m and 8760h"},
	{"a duration in words", "refresh: {keepAlive: never}", "refresh.keepAlive is 0s, or between 1m and 8760h"},
	{"a duration that wraps around", "refresh: {before: 99999h99999h99999h99999h99999h}",
		"refresh.before is between 1s and 720h"},
	{"a duration below zero", "refresh: {before: -5m}", "refresh.before is between 1s and 720h"},
}

// messages are those of all rules below a node of the schema.
func messages(node any) []string {
	var found []string
	switch n := node.(type) {
	case map[string]any:
		for _, child := range n {
			found = append(found, messages(child)...)
		}
		rules, _ := n["x-kubernetes-validations"].([]any)
		for _, rule := range rules {
			message, _ := rule.(map[string]any)["message"].(string)
			found = append(found, message)
		}
	case []any:
		for _, child := range n {
			found = append(found, messages(child)...)
		}
	}
	return found
}

func TestEveryRuleOfTheSchemaHasABadSpec(t *testing.T) {
	source, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := yaml.Unmarshal(source, &schema); err != nil {
		t.Fatal(err)
	}
	rules := messages(schema)
	if len(rules) != strings.Count(string(source), " rule: ") {
		t.Fatalf("%d messages for %d rules", len(rules), strings.Count(string(source), " rule: "))
	}
	slices.Sort(rules)
	rules = slices.Compact(rules) // those of a type are repeated where it is used
	for _, message := range rules {
		if !slices.ContainsFunc(ruledOut, func(tt badSpec) bool { return strings.Contains(message, tt.want) }) {
			t.Errorf("no bad spec for the rule %q", message)
		}
	}
	for _, tt := range ruledOut { // else a row could stand for a rule that it does not break
		if n := len(slices.DeleteFunc(slices.Clone(rules),
			func(m string) bool { return !strings.Contains(m, tt.want) })); n != 1 {
			t.Errorf("%s: %q is part of %d messages", tt.name, tt.want, n)
		}
	}
}

// TestNoPatternIsShownToAPerson: what does not match a pattern is answered with the pattern.
func TestNoPatternIsShownToAPerson(t *testing.T) {
	spec, _, err := unstructured.NestedMap(rootSchema(t, crd(t)), "properties", "spec")
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), " pattern: ") || strings.Contains(string(text), " format: ") {
		t.Error("a spec can be refused with a regular expression or a format: write a rule with a message")
	}
}

// TestEachDefaultIsToldWhereTheFieldIsDescribed for kubectl explain.
func TestEachDefaultIsToldWhereTheFieldIsDescribed(t *testing.T) {
	told := 0
	var look func(path string, node any)
	look = func(path string, node any) {
		fields, is := node.(map[string]any)
		if !is {
			return
		}
		properties, _ := fields["properties"].(map[string]any)
		for name, property := range properties {
			p, _ := property.(map[string]any)
			description, _ := p["description"].(string)
			value, has := p["default"]
			if _, isObject := value.(map[string]any); has && !isObject {
				told++
				if want := fmt.Sprintf("Default: %v", value); !strings.Contains(strings.Join(strings.Fields(description), " "),
					want) {
					t.Errorf("%s.%s is described without %q: %s", path, name, want, description)
				}
			}
			look(path+"."+name, property)
		}
	}
	look("", rootSchema(t, crd(t)))
	if told < 10 {
		t.Errorf("%d defaults only", told)
	}
}

func TestARuleAtTheRootJudgesNewObjectsOnly(t *testing.T) {
	rules, _ := rootSchema(t, crd(t))["x-kubernetes-validations"].([]any)
	if len(rules) == 0 {
		t.Error("there is none")
	}
	for _, rule := range rules {
		r := rule.(map[string]any)
		if text, _ := r["rule"].(string); r["optionalOldSelf"] != true || !strings.HasPrefix(text, "oldSelf.hasValue() || ") {
			t.Errorf("an object from before it would get no status any more, and keep its finalizer: %v", r["rule"])
		}
	}
}

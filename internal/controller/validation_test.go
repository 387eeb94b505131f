package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

const schemaFile = "../../config/crd/bases/mcp-connection.dev_mcpconnections.yaml"

// numbered writes n entries of a YAML list or map, each with its number.
func numbered(n int, entry string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, entry+", ", i)
	}
	return b.String()
}

// document is a connection as a manifest holds it. A spec that names no serverURL gets one; "metadata.name" in it is the name.
func document(t testing.TB, spec string) *unstructured.Unstructured {
	t.Helper()
	fields := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	if _, named := fields["serverURL"]; !named {
		fields["serverURL"] = "https://mcp.example.com/mcp"
	}
	name, named := fields["metadata.name"].(string)
	if !named {
		name = "c"
	}
	delete(fields, "metadata.name")
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MCPConnection"))
	obj.SetNamespace(operatorNamespace)
	obj.SetName(name)
	return obj
}

// submit has the API server judge a spec as kubectl does: unknown fields are refused. Nothing is stored.
func submit(t testing.TB, spec string) (map[string]any, error) {
	t.Helper()
	if err := controlPlane(); err != nil {
		t.Fatal(err)
	}
	obj := document(t, spec)
	err := client.WithFieldValidation(api, metav1.FieldValidationStrict).Create(t.Context(), obj, client.DryRunAll)
	fields, _ := obj.Object["spec"].(map[string]any)
	return fields, err
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

	{"credentials without an issuer", "client: {credentialsSecretRef: {name: app}}", "client.credentialsSecretRef needs client.issuer"},
	{"credentials beside an authorization server without an issuer", "{client: {credentialsSecretRef: {name: app}}, authorizationServer: {}}", "client.credentialsSecretRef needs client.issuer"},
	{"pre-registration without credentials", "client: {registration: Preregistered}", "client.registration Preregistered needs client.credentialsSecretRef"},
	{"credentials and dynamic registration", "client: {registration: Dynamic, credentialsSecretRef: {name: app}, issuer: https://as.example.com}", "client.credentialsSecretRef goes with client.registration Auto or Preregistered"},
	{"a metadata document and dynamic registration", "client: {registration: Dynamic, metadataDocumentURL: https://app.example.com/client.json}", "client.metadataDocumentURL goes with client.registration Auto or MetadataDocument"},
	{"two identities", "client: {metadataDocumentURL: https://app.example.com/client.json, credentialsSecretRef: {name: app}, issuer: https://as.example.com}", "are two identities: remove one"},

	{"endpoints without an issuer", "authorizationServer: {authorizationEndpoint: https://as.example.com/a, tokenEndpoint: https://as.example.com/t}", "authorizationServer endpoints need authorizationServer.issuer"},
	{"an authorization endpoint alone", "authorizationServer: {issuer: https://as.example.com, authorizationEndpoint: https://as.example.com/a}", "authorizationEndpoint and tokenEndpoint go together"},
	{"a token endpoint alone", "authorizationServer: {issuer: https://as.example.com, tokenEndpoint: https://as.example.com/t}", "authorizationEndpoint and tokenEndpoint go together"},
	{"a registration endpoint alone", "authorizationServer: {issuer: https://as.example.com, registrationEndpoint: https://as.example.com/r}", "authorizationServer endpoints replace metadata as a whole"},
	{"a revocation endpoint alone", "authorizationServer: {issuer: https://as.example.com, revocationEndpoint: https://as.example.com/r}", "authorizationServer endpoints replace metadata as a whole"},

	{"an explicit resource without a value", "compatibility: {resource: {mode: Explicit}}", "compatibility.resource.value goes with mode Explicit"},
	{"a resource value with mode Auto", "compatibility: {resource: {value: 'https://mcp.example.com'}}", "compatibility.resource.value goes with mode Explicit"},
	{"a protocol parameter for the authorization request", "compatibility: {authorizationParameters: {redirect_uri: 'https://evil.example.com'}}", "authorizationParameters must not hold a protocol parameter"},
	{"a scope as authorization parameter", "compatibility: {authorizationParameters: {scope: all}}", "authorizationParameters must not hold a protocol parameter"},
	{"an authorization parameter without a name", "compatibility: {authorizationParameters: {'': x}}", "authorizationParameters names have 1 to 64 characters"},
	{"a protocol parameter for the token request", "compatibility: {tokenParameters: {client_assertion: x}}", "tokenParameters must not hold a protocol parameter"},
	{"a code verifier as token parameter", "compatibility: {tokenParameters: {code_verifier: x}}", "tokenParameters must not hold a protocol parameter"},
	{"a token parameter with a long name", "compatibility: {tokenParameters: {" + strings.Repeat("n", 65) + ": x}}", "tokenParameters names have 1 to 64 characters"},

	{"the label that the operator finds its Secrets by", "tokenSecret: {labels: {app.kubernetes.io/managed-by: me}}", "tokenSecret.labels must not hold app.kubernetes.io/managed-by"},
	{"a label of this operator", "tokenSecret: {labels: {mcp-connection.dev/owner: me}}", "tokenSecret.labels must not hold app.kubernetes.io/managed-by"},
	{"a label name with a space", "tokenSecret: {labels: {'a b': x}}", "tokenSecret.labels must have valid Kubernetes label names"},
	{"a label name of 64 characters", "tokenSecret: {labels: {" + strings.Repeat("n", 64) + ": x}}", "tokenSecret.labels must have valid Kubernetes label names"},
	{"a label prefix that is no domain", "tokenSecret: {labels: {-example..com/name: x}}", "tokenSecret.labels must have valid Kubernetes label names"},
	{"an annotation of this operator", "tokenSecret: {annotations: {mcp-connection.dev/refresh: now}}", "tokenSecret.annotations must not hold annotations of mcp-connection.dev/"},
	{"an annotation without a name", "tokenSecret: {annotations: {example.com/: x}}", "tokenSecret.annotations must have valid Kubernetes annotation names"},
	{"an annotation name of 64 characters", "tokenSecret: {annotations: {" + strings.Repeat("n", 64) + ": x}}", "tokenSecret.annotations must have valid Kubernetes annotation names"},
	{"a template for a reserved key", "tokenSecret: {data: {authorization: x}}", "tokenSecret.data must not hold a reserved key"},
	{"a template whose key is a path", "tokenSecret: {data: {../mcp.json: x}}", "tokenSecret.data keys are file names"},
	{"a template whose key is the folder", "tokenSecret: {data: {.: x}}", "tokenSecret.data keys are file names"},

	{"an initial access token beside credentials", "client: {credentialsSecretRef: {name: app}, issuer: https://as.example.com, initialAccessTokenSecretRef: {name: t}}", "client.initialAccessTokenSecretRef is for dynamic registration"},
	{"an initial access token for a metadata document", "client: {registration: MetadataDocument, initialAccessTokenSecretRef: {name: t}}", "client.initialAccessTokenSecretRef is for dynamic registration"},
	{"dynamic registration with a private key", "client: {registration: Dynamic, authMethod: private_key_jwt}", "client.authMethod private_key_jwt goes with client.credentialsSecretRef"},
	{"client credentials without credentials", "grantType: ClientCredentials", "grantType ClientCredentials needs client.credentialsSecretRef"},
	{"a JWT bearer grant of a metadata document", "{grantType: JWTBearer, serviceAccountName: agent, client: {registration: MetadataDocument}}", "only grantType AuthorizationCode registers a client"},
	{"a JWT bearer grant without an assertion", "grantType: JWTBearer", "need either serviceAccountName or assertion.secretRef"},
	{"a JWT bearer grant with an audience alone", "{grantType: JWTBearer, assertion: {audience: x}}", "need either serviceAccountName or assertion.secretRef"},
	{"two assertions", "{grantType: JWTBearer, serviceAccountName: agent, assertion: {secretRef: {name: jwt}}}", "need either serviceAccountName or assertion.secretRef"},
	{"a token exchange without a subject token", "{grantType: TokenExchange, identityProvider: {issuer: https://idp.example.com, credentialsSecretRef: {name: idp}}}", "need either serviceAccountName or assertion.secretRef"},
	{"a ServiceAccount for a code grant", "serviceAccountName: agent", "serviceAccountName and assertion go with grantType JWTBearer or TokenExchange"},
	{"an assertion for client credentials", "{grantType: ClientCredentials, client: {credentialsSecretRef: {name: app}, issuer: https://as.example.com}, assertion: {secretRef: {name: jwt}}}", "serviceAccountName and assertion go with grantType JWTBearer or TokenExchange"},
	{"a token exchange without an identity provider", "{grantType: TokenExchange, serviceAccountName: agent}", "identityProvider goes with grantType TokenExchange"},
	{"an identity provider for a code grant", "identityProvider: {issuer: https://idp.example.com, credentialsSecretRef: {name: idp}}", "identityProvider goes with grantType TokenExchange"},
	{"a token type for a JWT bearer grant", "{grantType: JWTBearer, assertion: {secretRef: {name: jwt}, tokenType: 'urn:ietf:params:oauth:token-type:jwt'}}", "assertion.tokenType goes with grantType TokenExchange"},
	{"an import for client credentials", "{grantType: ClientCredentials, client: {credentialsSecretRef: {name: app}, issuer: https://as.example.com}, importSecretRef: {name: old}}", "importSecretRef brings a grant of type AuthorizationCode"},
	{"a subject token as token parameter", "compatibility: {tokenParameters: {subject_token: x}}", "tokenParameters must not hold a protocol parameter"},
	{"a requested token type as token parameter", "compatibility: {tokenParameters: {requested_token_type: x}}", "tokenParameters must not hold a protocol parameter"},
	{"a probe too often", "probe: {interval: 59s}", "probe.interval is 0s, or between 1m and 8760h"},
	{"a probe too seldom", "probe: {interval: 8761h}", "probe.interval is 0s, or between 1m and 8760h"},
	{"keeping alive too often", "refresh: {keepAlive: 1s}", "refresh.keepAlive is 0s, or between 1m and 8760h"},

	{"a long name without a name of the token Secret", "metadata.name: " + longName, "shorten it, or set tokenSecret.name"},

	{"a refresh too near the expiry", "refresh: {before: 999ms}", "refresh.before is between 1s and 720h"},
	{"a refresh too far from the expiry", "refresh: {before: 720h1s}", "refresh.before is between 1s and 720h"},

	{"two scopes in one", "scopes: ['read write']", "a scope is one word"},
	{"a scope with a quotation mark", `scopes: ['re"ad']`, "a scope is one word"},
	{"a credentials reference to a path", "client: {credentialsSecretRef: {name: a/b}, issuer: https://as.example.com}", "the name of a Secret is made of lower-case letters"},
	{"a logo over http", "client: {logoURI: http://app.example.com/logo.png}", "client.logoURI must be an https URL"},
	{"a metadata document without a path", "client: {metadataDocumentURL: https://app.example.com}", "client.metadataDocumentURL must be an https URL with a path"},
	{"an issuer with a query", "authorizationServer: {issuer: 'https://as.example.com?tenant=1'}", "issuer must be a URL without query and fragment"},
	{"a token endpoint with a user name", "authorizationServer: {issuer: https://as.example.com, authorizationEndpoint: https://as.example.com/a, tokenEndpoint: https://a@as.example.com/t}", "an endpoint is a URL without user name and fragment"},
	{"a resource with a fragment", "compatibility: {resource: {mode: Explicit, value: 'https://mcp.example.com/#a'}}", "compatibility.resource.value must be an absolute URI without a fragment"},
	{"a Secret name in capitals", "tokenSecret: {name: Token}", "the name of a Secret is made of lower-case letters"},
	{"a label value with a space", "tokenSecret: {labels: {team: 'a b'}}", "the value of a label is made of letters"},
	{"a duration without a unit", "refresh: {before: '5'}", "refresh.before is between 1s and 720h, written with its unit"},
	{"a duration as a number", "refresh: {before: 300}", "refresh.before is between 1s and 720h, written with its unit"},
	{"a duration beyond any clock", "refresh: {before: 99999999999999999999h}", "refresh.before is between 1s and 720h, written with its unit"},
	{"a page over http", "client: {uri: http://app.example.com}", "client.uri must be an https URL"},
	{"a ServiceAccount in capitals", "{grantType: JWTBearer, serviceAccountName: Agent}", "the name of a ServiceAccount is made of lower-case letters"},
	{"a key that is a path", "client: {initialAccessTokenSecretRef: {name: t, key: a/b}}", "the key of a Secret is made of letters"},
	{"a duration in days", "probe: {interval: 1d}", "probe.interval is 0s, or between 1m and 8760h"},
	{"a duration in words", "refresh: {keepAlive: never}", "refresh.keepAlive is 0s, or between 1m and 8760h"},
	{"a duration that wraps around", "refresh: {before: 99999h99999h99999h99999h99999h}", "refresh.before is between 1s and 720h"},
	{"a duration below zero", "refresh: {before: -5m}", "refresh.before is between 1s and 720h"},
}

// outOfBounds has specs that the schema refuses without a rule, in words of the API server that tell what is wrong.
var outOfBounds = []badSpec{
	{"no serverURL", "serverURL: null", "spec.serverURL: Required value"},
	{"an empty serverURL", "serverURL: ''", "spec.serverURL"},
	{"a long serverURL", "serverURL: https://mcp.example.com/" + strings.Repeat("p", 2048), "spec.serverURL: Too long: may not be more than 2048"},
	{"65 scopes", "scopes: [" + numbered(65, "s%d") + "]", "spec.scopes: Too many: 65: must have at most 64 items"},
	{"no scope in the list", "scopes: []", "spec.scopes: Invalid value: 0: spec.scopes in body should have at least 1 items"},
	{"the same scope twice", "scopes: [read, read]", "spec.scopes[1]: Duplicate value"},
	{"a long scope", "scopes: [" + strings.Repeat("s", 257) + "]", "spec.scopes[0]: Too long: may not be more than 256"},
	{"an unknown grant type", "grantType: Password", `spec.grantType: Unsupported value: "Password"`},
	{"an unknown deletion policy", "deletionPolicy: Retain", `supported values: "Revoke", "Orphan"`},
	{"an unknown registration", "client: {registration: Manual}", `spec.client.registration: Unsupported value: "Manual"`},
	{"an unknown client authentication", "client: {authMethod: tls_client_auth}", `spec.client.authMethod: Unsupported value: "tls_client_auth"`},
	{"an unknown resource mode", "compatibility: {resource: {mode: auto}}", `supported values: "Auto", "Omit", "Explicit"`},
	{"an unknown choice of offline access", "compatibility: {offlineAccess: Maybe}", `supported values: "Auto", "Always", "Never"`},
	{"a credentials reference without a name", "client: {credentialsSecretRef: {}, issuer: https://as.example.com}", "spec.client.credentialsSecretRef.name: Required value"},
	{"17 authorization parameters", "compatibility: {authorizationParameters: {" + numbered(17, "p%d: x") + "}}", "spec.compatibility.authorizationParameters: Too many: 17: must have at most 16 items"},
	{"a long token parameter", "compatibility: {tokenParameters: {audience: " + strings.Repeat("v", 1025) + "}}", "Too long: may not be more than 1024"},
	{"33 labels", "tokenSecret: {labels: {" + numbered(33, "l%d: x") + "}}", "spec.tokenSecret.labels: Too many: 33: must have at most 32 items"},
	{"a long template", "tokenSecret: {data: {mcp.json: " + strings.Repeat("x", 8193) + "}}", "Too long: may not be more than 8192"},
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
				if want := fmt.Sprintf("Default: %v", value); !strings.Contains(strings.Join(strings.Fields(description), " "), want) {
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

func TestABadSpecIsRefusedWithASentenceThatSaysHowToMendIt(t *testing.T) {
	for _, tt := range slices.Concat(ruledOut, outOfBounds) {
		t.Run(tt.name, func(t *testing.T) {
			_, err := submit(t, tt.spec)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the API server says %v, want %s", err, tt.want)
			}
		})
	}
}

func TestAContradictionIsNamedOnce(t *testing.T) {
	for _, tt := range ruledOut {
		_, err := submit(t, tt.spec)
		var refused *apierrors.StatusError
		if !errors.As(err, &refused) || refused.ErrStatus.Details == nil || len(refused.ErrStatus.Details.Causes) != 1 {
			t.Errorf("%s: the API server says %v, want one sentence", tt.name, err)
		}
	}
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
		if n := len(slices.DeleteFunc(slices.Clone(rules), func(m string) bool { return !strings.Contains(m, tt.want) })); n != 1 {
			t.Errorf("%s: %q is part of %d messages", tt.name, tt.want, n)
		}
	}
}

// fullSpec is the example of the contract, with every field that the schema has.
const fullSpec = `
serverURL: https://mcp.example.com/mcp?tenant=1
suspend: false
grantType: AuthorizationCode
scopes: [files:read, files:write]
client:
  registration: Auto
  name: Example
  uri: https://app.example.com
  logoURI: https://app.example.com/logo.png
  credentialsSecretRef: {name: app}
  issuer: https://as.example.com/
  authMethod: client_secret_basic
authorizationServer:
  issuer: https://as.example.com/
  authorizationEndpoint: https://as.example.com/authorize?tenant=1
  tokenEndpoint: https://as.example.com/token
  registrationEndpoint: https://as.example.com/register
  revocationEndpoint: https://as.example.com/revoke
compatibility:
  resource: {mode: Explicit, value: https://mcp.example.com/mcp}
  assumePKCES256: false
  legacyEndpoints: false
  authorizationParameters: {access_type: offline}
  tokenParameters: {audience: x, scope: files:read}
  scopeOnRefresh: false
  offlineAccess: Auto
tokenSecret:
  name: c-token
  labels: {app.kubernetes.io/part-of: example}
  annotations: {example.com/owner: a person}
  data: {mcp.json: '{"authorization": "{{ .authorization }}"}'}
refresh: {before: 5m}
deletionPolicy: Revoke
`

// withDefaults maps specs to what the contract says that their absent fields mean.
var withDefaults = map[string]string{
	"": "{suspend: false, grantType: AuthorizationCode, deletionPolicy: Revoke}",
	"{client: {}, authorizationServer: {}, compatibility: {resource: {}}, tokenSecret: {}, refresh: {}}": `{
		suspend: false, grantType: AuthorizationCode, deletionPolicy: Revoke, client: {registration: Auto}, authorizationServer: {}, tokenSecret: {}, refresh: {},
		compatibility: {resource: {mode: Auto}, assumePKCES256: false, legacyEndpoints: false, scopeOnRefresh: false, offlineAccess: Auto}}`,
	"{suspend: null, client: {registration: null}, deletionPolicy: Orphan}": "{suspend: false, grantType: AuthorizationCode, client: {registration: Auto}, deletionPolicy: Orphan}",
	fullSpec: fullSpec,
}

func TestAnAcceptedSpecHasTheDefaultsOfTheContractAndNothingElseChanged(t *testing.T) {
	for spec, want := range withDefaults {
		got, err := submit(t, spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if want := document(t, want).Object["spec"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nbecomes %v\nwant    %v", spec, got, want)
		}
	}
}

func TestSpecsUpToTheBoundsAreAccepted(t *testing.T) {
	long := strings.Repeat("d", 63) + "." + strings.Repeat("d", 63) + "." + strings.Repeat("d", 63) + "." + strings.Repeat("d", 61) + "/" + strings.Repeat("n", 60)
	for name, spec := range map[string]string{
		"http, which the operator must allow":  "serverURL: http://localhost:8080/mcp",
		"an address":                           "serverURL: 'https://[2001:db8::1]:8443/mcp'",
		"an at sign in the path":               "serverURL: https://mcp.example.com/@alice/mcp",
		"the longest serverURL":                "serverURL: https://mcp.example.com/" + strings.Repeat("p", 2024),
		"64 scopes":                            "scopes: [" + numbered(64, strings.Repeat("s", 254)+"%02d") + "]",
		"an unusual scope":                     "scopes: ['https://www.example.com/auth/files.read!~']",
		"a metadata document":                  "client: {registration: MetadataDocument, metadataDocumentURL: https://app.example.com/client.json}",
		"credentials with the server's issuer": "{client: {credentialsSecretRef: {name: app.v1}}, authorizationServer: {issuer: https://as.example.com}}",
		"no resource":                          "compatibility: {resource: {mode: Omit}}",
		"a resource that is no URL":            "compatibility: {resource: {mode: Explicit, value: 'urn:example:mcp'}}",
		"16 of the longest parameters": "compatibility: {authorizationParameters: {" + numbered(16, strings.Repeat("n", 62)+"%02d: "+strings.Repeat("v", 1024)) + "}, " +
			"tokenParameters: {" + numbered(16, strings.Repeat("n", 62)+"%02d: "+strings.Repeat("v", 1024)) + "}}",
		"32 of the longest labels and annotations": "tokenSecret: {labels: {" + numbered(32, long+"0%02d: "+strings.Repeat("v", 63)) + "}, " +
			"annotations: {" + numbered(32, long+"0%02d: "+strings.Repeat("v", 4096)) + "}}",
		"short names of labels":   "tokenSecret: {labels: {a: '', A_b.c-d: x, x/y: z}}",
		"16 of the longest files": "tokenSecret: {data: {" + numbered(16, strings.Repeat("k", 251)+"%02d: "+strings.Repeat("t", 8192)) + "}}",
		"a hidden file":           "tokenSecret: {data: {.mcp.json: x}}",
		"the longest name with the default name of the token Secret": "metadata.name: " + longName[1:],
		"a longer name beside a name of the token Secret":            "{metadata.name: " + longName + ", tokenSecret: {name: c-token}}",

		"the shortest refresh": "refresh: {before: 1s}",
		"the longest refresh":  "refresh: {before: 719h59m60s}",
	} {
		if _, err := submit(t, spec); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALabelNameIsRefusedExactlyWhereTheSecretWouldBe(t *testing.T) {
	domain := strings.Repeat(strings.Repeat("d", 63)+".", 3) + strings.Repeat("d", 61)
	for _, name := range []string{
		"a", "A_b.c-d", "x/y", "x.y-z/A", domain + "/" + strings.Repeat("n", 63), domain + "d/n", strings.Repeat("d", 64) + "/n", strings.Repeat("n", 64),
		"", "/a", "a/", "a/b/c", "a b", "-a", "a-", "-x/y", "x-/y", "x..y/z", ".x/y", "X/y", "x_y/z", "ä", "a\n",
	} {
		_, refused := submit(t, fmt.Sprintf("tokenSecret: {labels: {%q: x}}", name))
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "c", Labels: map[string]string{name: "x"}}}
		if failed := api.Create(t.Context(), secret, client.DryRunAll); (refused == nil) != (failed == nil) {
			t.Errorf("%q: the connection is refused with %v, the Secret with %v", name, refused, failed)
		}
	}
}

func TestAFieldThatIsNoneIsRefused(t *testing.T) {
	if _, err := submit(t, "tokenSecret: {secretName: c-token}"); err == nil || !strings.Contains(err.Error(), `unknown field "spec.tokenSecret.secretName"`) {
		t.Errorf("the API server says %v", err)
	}
}

func TestTheOperatorLeavesTheSpecByteForByteAsItWasApplied(t *testing.T) {
	w := newWorld(t)
	obj := document(t, "{serverURL: '"+w.server.MCPURL()+"', scopes: [mcp:read], client: {}, compatibility: {}, tokenSecret: {annotations: {example.com/owner: me}}, refresh: {before: 5m}}")
	obj.SetNamespace(w.key.Namespace)
	spec := func() string {
		w.must(api.Get(t.Context(), w.key, obj))
		text, err := json.Marshal(obj.Object["spec"])
		w.must(err)
		return string(text)
	}
	w.must(api.Create(t.Context(), obj))
	want := `{"client":{"registration":"Auto"},` +
		`"compatibility":{"assumePKCES256":false,"legacyEndpoints":false,"offlineAccess":"Auto","scopeOnRefresh":false},` +
		`"deletionPolicy":"Revoke","grantType":"AuthorizationCode","refresh":{"before":"5m"},"scopes":["mcp:read"],` +
		`"serverURL":"` + w.server.MCPURL() + `","suspend":false,"tokenSecret":{"annotations":{"example.com/owner":"me"}}}`
	if got := spec(); got != want {
		t.Fatalf("applied as %s\nwant       %s", got, want)
	}
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.untilRefresh()
	w.reconcile()
	if w.secret()[v1alpha1.KeyAccessToken] == token {
		t.Fatal("nothing was refreshed")
	}
	if got := spec(); got != want || obj.GetGeneration() != 1 {
		t.Errorf("generation %d is %s\nwant            %s", obj.GetGeneration(), got, want)
	}
}

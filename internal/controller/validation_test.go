package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// document is a connection as a manifest holds it. A spec that names no serverURL gets one; "metadata.name" in it is
// the name.
func document(spec string) *unstructured.Unstructured {
	GinkgoHelper()
	fields := map[string]any{}
	Expect(yaml.UnmarshalStrict([]byte(spec), &fields)).To(Succeed())
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
func submit(ctx context.Context, spec string) (map[string]any, error) {
	GinkgoHelper()
	obj := document(spec)
	err := client.WithFieldValidation(api, metav1.FieldValidationStrict).Create(ctx, obj, client.DryRunAll)
	fields, _ := obj.Object["spec"].(map[string]any)
	return fields, err
}

// outOfBounds has specs that the schema refuses without a rule, in words of the API server that tell what is wrong.
var outOfBounds = []badSpec{
	{"no serverURL", "serverURL: null", "spec.serverURL: Required value"},
	{"an empty serverURL", "serverURL: ''", "spec.serverURL"},
	{"a long serverURL", "serverURL: https://mcp.example.com/" + strings.Repeat("p", 2048),
		"spec.serverURL: Too long: may not be more than 2048"},
	{"65 scopes", "scopes: [" + numbered(65, "s%d") + "]", "spec.scopes: Too many: 65: must have at most 64 items"},
	{"no scope in the list", "scopes: []", "spec.scopes: Invalid value: 0: spec.scopes in body should have at " +
		"least 1 items"},
	{"the same scope twice", "scopes: [read, read]", "spec.scopes[1]: Duplicate value"},
	{"a long scope", "scopes: [" + strings.Repeat("s", 257) + "]", "spec.scopes[0]: Too long: may not be more than 256"},
	{"an unknown grant type", "grantType: Password", `spec.grantType: Unsupported value: "Password"`},
	{"an unknown deletion policy", "deletionPolicy: Retain", `supported values: "Revoke", "Orphan"`},
	{"an unknown registration", "client: {registration: Manual}", `spec.client.registration: Unsupported value: "Manual"`},
	{"an unknown client authentication", "client: {authMethod: tls_client_auth}",
		`spec.client.authMethod: Unsupported value: "tls_client_auth"`},
	{"an unknown resource mode", "compatibility: {resource: {mode: auto}}",
		`supported values: "Auto", "Omit", "Explicit"`},
	{"an unknown choice of offline access", "compatibility: {offlineAccess: Maybe}",
		`supported values: "Auto", "Always", "Never"`},
	{"a credentials reference without a name", "client: {credentialsSecretRef: {}, issuer: https://as.example.com}",
		"spec.client.credentialsSecretRef.name: Required value"},
	{"17 authorization parameters", "compatibility: {authorizationParameters: {" + numbered(17, "p%d: x") + "}}",
		"spec.compatibility.authorizationParameters: Too many: 17: must have at most 16 items"},
	{"a long token parameter", "compatibility: {tokenParameters: {audience: " + strings.Repeat("v", 1025) + "}}",
		"Too long: may not be more than 1024"},
	{"33 labels", "tokenSecret: {labels: {" + numbered(33, "l%d: x") + "}}",
		"spec.tokenSecret.labels: Too many: 33: must have at most 32 items"},
	{"a long template", "tokenSecret: {data: {mcp.json: " + strings.Repeat("x", 8193) + "}}",
		"Too long: may not be more than 8192"},
}

var _ = Describe("A bad spec", func() {
	var rows []TableEntry
	for _, bad := range slices.Concat(ruledOut, outOfBounds) {
		rows = append(rows, Entry(bad.name, bad.spec, bad.want))
	}
	DescribeTable("is refused with a sentence that says how to mend it:", func(ctx SpecContext, spec, want string) {
		_, err := submit(ctx, spec)
		Expect(err).To(MatchError(apierrors.IsInvalid, "invalid"))
		Expect(err).To(MatchError(ContainSubstring(want)))
	}, rows)

	It("is told each contradiction once", func(ctx SpecContext) {
		for _, bad := range ruledOut {
			_, err := submit(ctx, bad.spec)
			var refused *apierrors.StatusError
			Expect(errors.As(err, &refused)).To(BeTrue(), "%s: the API server says %v", bad.name, err)
			Expect(refused.ErrStatus.Details).NotTo(BeNil(), bad.name)
			Expect(refused.ErrStatus.Details.Causes).To(HaveLen(1), bad.name)
		}
	})
})

var _ = Describe("A field that is none", func() {
	It("is refused", func(ctx SpecContext) {
		_, err := submit(ctx, "tokenSecret: {secretName: c-token}")
		Expect(err).To(MatchError(ContainSubstring(`unknown field "spec.tokenSecret.secretName"`)))
	})
})

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
		suspend: false, grantType: AuthorizationCode,
		deletionPolicy: Revoke, client: {registration: Auto}, authorizationServer: {}, tokenSecret: {}, refresh: {},
		compatibility: {resource: {mode: Auto}, assumePKCES256: false, legacyEndpoints: false, scopeOnRefresh: false, offlineAccess: Auto}}`,
	"{suspend: null, client: {registration: null}, deletionPolicy: Orphan}": "{suspend: false, grantType: " +
		"AuthorizationCode, client: {registration: Auto}, deletionPolicy: Orphan}",
	fullSpec: fullSpec,
}

var _ = Describe("An accepted spec", func() {
	It("has the defaults of the contract, and nothing else is changed", func(ctx SpecContext) {
		for spec, want := range withDefaults {
			got, err := submit(ctx, spec)
			Expect(err).NotTo(HaveOccurred(), spec)
			Expect(got).To(Equal(document(want).Object["spec"]), spec)
		}
	})

	It("may go up to the bounds", func(ctx SpecContext) {
		long := strings.Repeat("d", 63) + "." + strings.Repeat("d", 63) + "." + strings.Repeat("d", 63) + "." +
			strings.Repeat("d", 61) + "/" + strings.Repeat("n", 60)
		for name, spec := range map[string]string{
			"http, which the operator must allow": "serverURL: http://localhost:8080/mcp",
			"an address":                          "serverURL: 'https://[2001:db8::1]:8443/mcp'",
			"an at sign in the path":              "serverURL: https://mcp.example.com/@alice/mcp",
			"the longest serverURL":               "serverURL: https://mcp.example.com/" + strings.Repeat("p", 2024),
			"64 scopes":                           "scopes: [" + numbered(64, strings.Repeat("s", 254)+"%02d") + "]",
			"an unusual scope":                    "scopes: ['https://www.example.com/auth/files.read!~']",
			"a metadata document": "client: {registration: MetadataDocument, metadataDocumentURL: " +
				"https://app.example.com/client.json}",
			"credentials with the server's issuer": "{client: {credentialsSecretRef: {name: app.v1}}, authorizationServer: " +
				"{issuer: https://as.example.com}}",
			"no resource":               "compatibility: {resource: {mode: Omit}}",
			"a resource that is no URL": "compatibility: {resource: {mode: Explicit, value: 'urn:example:mcp'}}",
			"16 of the longest parameters": "compatibility: {authorizationParameters: {" +
				numbered(16, strings.Repeat("n", 62)+"%02d: "+strings.Repeat("v", 1024)) + "}, " +
				"tokenParameters: {" + numbered(16, strings.Repeat("n", 62)+"%02d: "+strings.Repeat("v", 1024)) + "}}",
			"32 of the longest labels and annotations": "tokenSecret: {labels: {" +
				numbered(32, long+"0%02d: "+strings.Repeat("v", 63)) + "}, " +
				"annotations: {" + numbered(32, long+"0%02d: "+strings.Repeat("v", 4096)) + "}}",
			"short names of labels": "tokenSecret: {labels: {a: '', A_b.c-d: x, x/y: z}}",
			"16 of the longest files": "tokenSecret: {data: {" + numbered(16, strings.Repeat("k", 251)+"%02d: "+
				strings.Repeat("t", 8192)) + "}}",
			"a hidden file": "tokenSecret: {data: {.mcp.json: x}}",
			"the longest name with the default name of the token Secret": "metadata.name: " + longName[1:],
			"a longer name beside a name of the token Secret": "{metadata.name: " + longName +
				", tokenSecret: {name: c-token}}",

			"the shortest refresh": "refresh: {before: 1s}",
			"the longest refresh":  "refresh: {before: 719h59m60s}",
		} {
			_, err := submit(ctx, spec)
			Expect(err).NotTo(HaveOccurred(), name)
		}
	})

	It("stays byte for byte as it was applied", func(ctx SpecContext) {
		w := newWorld()
		obj := document("{serverURL: '" + w.server.MCPURL() + "', scopes: [mcp:read], client: {}, compatibility: {}, " +
			"tokenSecret: {annotations: {example.com/owner: me}}, refresh: {before: 5m}}")
		obj.SetNamespace(w.key.Namespace)
		spec := func() string {
			GinkgoHelper()
			Expect(api.Get(ctx, w.key, obj)).To(Succeed())
			text, err := json.Marshal(obj.Object["spec"])
			Expect(err).NotTo(HaveOccurred())
			return string(text)
		}
		Expect(api.Create(ctx, obj)).To(Succeed())
		want := `{"client":{"registration":"Auto"},` +
			`"compatibility":{"assumePKCES256":false,"legacyEndpoints":false,"offlineAccess":"Auto","scopeOnRefresh":false},` +
			`"deletionPolicy":"Revoke","grantType":"AuthorizationCode","refresh":{"before":"5m"},"scopes":["mcp:read"],` +
			`"serverURL":"` + w.server.MCPURL() + `","suspend":false,"tokenSecret":{"annotations":{"example.com/owner":"me"}}}`
		Expect(spec()).To(Equal(want), "as it was applied")
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		token := w.secret()[v1alpha1.KeyAccessToken]
		w.untilRefresh()
		w.reconcile()
		Expect(w.holdsToken(token)).To(BeFalse(), "nothing was refreshed")
		Expect(spec()).To(Equal(want), "after a refresh")
		Expect(obj.GetGeneration()).To(BeEquivalentTo(1))
	})
})

var _ = Describe("A label's name", func() {
	It("is refused exactly where the Secret would be", func(ctx SpecContext) {
		domain := strings.Repeat(strings.Repeat("d", 63)+".", 3) + strings.Repeat("d", 61)
		for _, name := range []string{
			"a", "A_b.c-d", "x/y", "x.y-z/A", domain + "/" + strings.Repeat("n", 63), domain + "d/n", strings.Repeat("d", 64) +
				"/n", strings.Repeat("n", 64),
			"", "/a", "a/", "a/b/c", "a b", "-a", "a-", "-x/y", "x-/y", "x..y/z", ".x/y", "X/y", "x_y/z", "ä", "a\n",
		} {
			_, refused := submit(ctx, fmt.Sprintf("tokenSecret: {labels: {%q: x}}", name))
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "c",
				Labels: map[string]string{name: "x"}}}
			if failed := api.Create(ctx, secret, client.DryRunAll); failed == nil {
				Expect(refused).NotTo(HaveOccurred(), "%q is a name for the Secret", name)
			} else {
				Expect(refused).To(HaveOccurred(), "%q is no name for the Secret: %v", name, failed)
			}
		}
	})
})

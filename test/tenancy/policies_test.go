package tenancy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// edit changes a spec that every policy accepts.
type edit func(*v1alpha1.MCPConnectionSpec)

// plain is a connection that every policy accepts, with changes.
func plain(name string, edits ...edit) *v1alpha1.MCPConnection {
	c := connection(watched, name, "https://mcp.example.com/mcp")
	for _, e := range edits {
		e(&c.Spec)
	}
	return c
}

func serverURL(url string) edit {
	return func(s *v1alpha1.MCPConnectionSpec) { s.ServerURL = url }
}

func compatibility(c v1alpha1.CompatibilitySpec) edit {
	return func(s *v1alpha1.MCPConnectionSpec) { s.Compatibility = &c }
}

// forced applies a policy of config/policies until the test ends, and waits until the API server heeds it: refused is a
// connection that it must not accept.
func forced(t *testing.T, file string, as client.Client, refused *v1alpha1.MCPConnection) {
	t.Helper()
	file = inRepository("config", "policies", file)
	_, err := plane.Kubectl(t.Context(), "apply", "-f", file)
	must(t, err)
	t.Cleanup(func() {
		if _, err := plane.Kubectl(context.Background(), "delete", "-f", file); err != nil {
			t.Error(err)
		}
		heeded(t, as, refused, false)
	})
	heeded(t, as, refused, true)
}

// heeded waits until a connection is refused by a policy, or is not any more.
func heeded(t *testing.T, as client.Client, refused *v1alpha1.MCPConnection, want bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.Background(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = as.Create(ctx, refused.DeepCopy(), client.DryRunAll)
		return denied(last) == want, nil
	})
	if err != nil {
		t.Fatalf("the policy's word should be %v: %v", want, last)
	}
}

// denied says whether an admission policy of this project refused a request.
func denied(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'mcp-connection-")
}

// verdict is what a policy should say to one connection: part of its message, or nothing.
type verdict struct {
	c    *v1alpha1.MCPConnection
	want string
}

func judge(t *testing.T, as client.Client, verdicts map[string]verdict) {
	t.Helper()
	for name, v := range verdicts {
		err := as.Create(t.Context(), v.c, client.DryRunAll)
		switch {
		case v.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case v.want != "" && (!denied(err) || !strings.Contains(err.Error(), v.want)):
			t.Errorf("%s: %v, want a refusal that says %q", name, err, v.want)
		}
	}
}

func TestThePolicyOfServerHostsAllowsTheListedOnly(t *testing.T) {
	plane := controlPlane(t)
	older := plain("older", serverURL("https://not.listed.example.org/mcp"))
	must(t, plane.Client.Create(t.Context(), older))
	forced(t, "server_hosts.yaml", plane.Client, plain("c", serverURL("https://mcp.example.org/mcp")))
	const no = "not among the allowed ones"
	judge(t, plane.Client, map[string]verdict{
		"a listed host":                     {plain("c"), ""},
		"with a port":                       {plain("c", serverURL("https://mcp.example.com:8443/mcp")), ""},
		"in capitals":                       {plain("c", serverURL("https://MCP.Example.COM/mcp")), ""},
		"a host below a listed domain":      {plain("c", serverURL("https://a.b.mcp.example.net/mcp?tenant=1")), ""},
		"another host":                      {plain("c", serverURL("https://example.com/mcp")), no},
		"the domain itself":                 {plain("c", serverURL("https://mcp.example.net/mcp")), no},
		"a host that ends like a domain":    {plain("c", serverURL("https://evil-mcp.example.net/mcp")), no},
		"a host that begins like one":       {plain("c", serverURL("https://mcp.example.com.evil.org/mcp")), no},
		"a listed host in the path":         {plain("c", serverURL("https://evil.org/mcp.example.com")), no},
		"a listed host in the query":        {plain("c", serverURL("https://evil.org?mcp.example.com")), no},
		"an absolute name":                  {plain("c", serverURL("https://mcp.example.com./mcp")), no},
		"an address":                        {plain("c", serverURL("https://[::ffff:7f00:1]/mcp")), no},
		"another host with a listed before": {plain("c", serverURL("https://mcp.example.com.mcp.example.org/mcp")), no},
	})
	// What was there before can be annotated and deleted, but not be changed into something else that is refused.
	older.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "1"}
	must(t, plane.Client.Update(t.Context(), older))
	older.Spec.ServerURL = "https://neither.example.org/mcp"
	if err := plane.Client.Update(t.Context(), older); !denied(err) {
		t.Errorf("an edit of an older connection: %v, want a refusal", err)
	}
	must(t, plane.Client.Delete(t.Context(), older))
}

func TestThePolicyOfCompatibilityForbidsWhatWeakensAFlow(t *testing.T) {
	plane := controlPlane(t)
	forced(t, "compatibility.yaml", plane.Client, plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true)})))
	judge(t, plane.Client, map[string]verdict{
		"no deviation":         {plain("c"), ""},
		"those that are named": {plain("c", compatibility(v1alpha1.CompatibilitySpec{OfflineAccess: v1alpha1.OfflineAccessAlways, ScopeOnRefresh: ptr.To(true)})), ""},
		"the default of each":  {plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(false), LegacyEndpoints: ptr.To(false), Resource: &v1alpha1.ResourceSpec{}})), ""},
		"a pinned issuer": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: "https://issuer.example.com"}
		}), ""},
		"PKCE that is not shown": {plain("c", compatibility(v1alpha1.CompatibilitySpec{AssumePKCES256: ptr.To(true)})), "assumePKCES256"},
		"an old server":          {plain("c", compatibility(v1alpha1.CompatibilitySpec{LegacyEndpoints: ptr.To(true)})), "legacyEndpoints"},
		"no resource":            {plain("c", compatibility(v1alpha1.CompatibilitySpec{Resource: &v1alpha1.ResourceSpec{Mode: v1alpha1.ResourceModeOmit}})), "compatibility.resource"},
		"parameters of a consent": {plain("c", compatibility(v1alpha1.CompatibilitySpec{
			AuthorizationParameters: map[string]v1alpha1.ParameterValue{"access_type": "offline"}})), "authorizationParameters"},
		"parameters of a token": {plain("c", compatibility(v1alpha1.CompatibilitySpec{
			TokenParameters: map[string]v1alpha1.ParameterValue{"audience": "x"}})), "tokenParameters"},
		"endpoints": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: "https://i.example.com", AuthorizationEndpoint: "https://i.example.com/a", TokenEndpoint: "https://i.example.com/t"}
		}), "endpoints"},
	})
}

// alice may edit connections and read one Secret; more adds to what she may.
func alice(t *testing.T, more ...rbacv1.PolicyRule) client.Client {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: "alice"}, Rules: append([]rbacv1.PolicyRule{
		{APIGroups: []string{"mcp-connection.dev"}, Resources: []string{"mcpconnections"}, Verbs: []string{"get", "create", "update", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"hers"}, Verbs: []string{"get"}},
	}, more...)}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: watched, Name: "alice"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "alice"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}}}
	for _, object := range []client.Object{role, binding} {
		must(t, plane.Client.Create(t.Context(), object))
		t.Cleanup(func() { must(t, plane.Client.Delete(context.Background(), object)) })
	}
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "alice"}
	as, err := client.New(config, client.Options{Scheme: plane.Client.Scheme()})
	must(t, err)
	return as
}

// referring are specs that name a Secret in each way there is, by the path of the reference.
var referring = map[string]func(name string) edit{
	"client.credentialsSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://i.example.com", CredentialsSecretRef: &v1alpha1.SecretReference{Name: name}}
		}
	},
	"client.initialAccessTokenSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: name}}
		}
	},
	"assertion.secretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType, s.Assertion = v1alpha1.GrantTypeJWTBearer, &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: name}}
		}
	},
	"identityProvider.credentialsSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType = v1alpha1.GrantTypeTokenExchange
			s.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "hers"}}
			s.Client = &v1alpha1.ClientSpec{Issuer: "https://i.example.com", CredentialsSecretRef: &v1alpha1.SecretReference{Name: "hers"}}
			s.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: "https://idp.example.com", CredentialsSecretRef: v1alpha1.SecretReference{Name: name}}
		}
	},
	"importSecretRef": func(name string) edit {
		return func(s *v1alpha1.MCPConnectionSpec) { s.ImportSecretRef = &v1alpha1.SecretReference{Name: name} }
	},
}

func TestThePolicyOfReferencesAsksWhetherTheAuthorMayReadTheSecret(t *testing.T) {
	plane := controlPlane(t)
	as := alice(t)
	older := plain("older", referring["importSecretRef"]("theirs"))
	must(t, plane.Client.Create(t.Context(), older))
	heeded(t, as, plain("c", referring["importSecretRef"]("theirs")), true) // config/namespaced brings it
	verdicts := map[string]verdict{
		"no reference": {plain("c"), ""},
		"a shape for the Secret": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.TokenSecret = &v1alpha1.TokenSecretSpec{Labels: map[string]v1alpha1.LabelValue{"argocd.argoproj.io/secret-type": "cluster"}}
		}), "tokenSecret shapes a Secret"},
		"a ServiceAccount": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType, s.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "builder"
		}), "ServiceAccount that you may not request tokens for"},
	}
	for path, refer := range referring {
		verdicts["her own Secret in "+path] = verdict{plain("c", refer("hers")), ""}
		verdicts["another one in "+path] = verdict{plain("c", refer("theirs")), path + " names a Secret that you may not read"}
	}
	judge(t, as, verdicts)
	judge(t, plane.Client, map[string]verdict{"an administrator": {plain("c", referring["importSecretRef"]("theirs")), ""}})
	older.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "1"}
	must(t, as.Update(t.Context(), older))
	older.Spec.ServerURL = "https://evil.example.org/mcp"
	if err := as.Update(t.Context(), older); !denied(err) {
		t.Errorf("sending somebody's Secret elsewhere: %v, want a refusal", err)
	}
	must(t, as.Delete(t.Context(), older))
}

func TestThePolicyOfReferencesAcceptsWhoMayDoTheSameWithoutTheOperator(t *testing.T) {
	controlPlane(t)
	as := alice(t,
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{"builder"}, Verbs: []string{"create"}})
	heeded(t, as, plain("c", referring["importSecretRef"]("theirs")), true)
	judge(t, as, map[string]verdict{
		"a shape for the Secret": {plain("c", func(s *v1alpha1.MCPConnectionSpec) { s.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "shaped"} }), ""},
		"her ServiceAccount": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType, s.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "builder"
		}), ""},
		"another ServiceAccount": {plain("c", func(s *v1alpha1.MCPConnectionSpec) {
			s.GrantType, s.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "deployer"
		}), "ServiceAccount"},
	})
}

// TestThePolicyOfReferencesKnowsAllReferences walks the schema, so that a new reference cannot be forgotten.
func TestThePolicyOfReferencesKnowsAllReferences(t *testing.T) {
	policy, err := os.ReadFile(inRepository("config", "policies", "references", "references.yaml"))
	must(t, err)
	found := specSchema(t).references(nil)
	if len(found) != len(referring) {
		t.Errorf("the schema has %d references to Secrets, the test knows %d: %v", len(found), len(referring), found)
	}
	for _, path := range found {
		if referring[strings.Join(path, ".")] == nil {
			t.Errorf("the test does not know spec.%s", strings.Join(path, "."))
		}
		if expression := "object.spec.?" + strings.Join(path, ".?") + ".?name"; !strings.Contains(string(policy), expression) {
			t.Errorf("the policy does not look at spec.%s", strings.Join(path, "."))
		}
	}
}

// schema is what the tests want of an OpenAPI schema.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Rules      []struct {
		Rule string `json:"rule"`
	} `json:"x-kubernetes-validations"`
}

// specSchema is the schema of spec.
func specSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile(inRepository("config", "crd", "bases", "mcp-connection.dev_mcpconnections.yaml"))
	must(t, err)
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	must(t, yaml.Unmarshal(text, &crd))
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// at is the schema of a path.
func (s schema) at(path []string) schema {
	for _, name := range path {
		s = s.Properties[name]
	}
	return s
}

// references are the paths of all properties that refer to a Secret.
func (s schema) references(at []string) [][]string {
	var found [][]string
	for name, property := range s.Properties {
		path := append(slices.Clone(at), name)
		if strings.HasSuffix(strings.ToLower(name), "secretref") {
			found = append(found, path)
		}
		found = append(found, property.references(path)...)
	}
	return found
}

// TestNoReferenceLeavesItsNamespace: there is no word for another one.
func TestNoReferenceLeavesItsNamespace(t *testing.T) {
	spec := specSchema(t)
	for _, path := range spec.references(nil) {
		for name := range spec.at(path).Properties {
			if name != "name" && name != "key" {
				t.Errorf("spec.%s has the field %s", strings.Join(path, "."), name)
			}
		}
	}
	c := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "MCPConnection", "metadata": map[string]any{"namespace": watched, "name": "reaching-out"},
		"spec": map[string]any{"serverURL": "https://mcp.example.com/mcp", "importSecretRef": map[string]any{"name": "theirs", "namespace": unwatched}},
	}}
	if err := controlPlane(t).Client.Create(t.Context(), c, client.FieldValidation(metav1.FieldValidationStrict), client.DryRunAll); !apierrors.IsBadRequest(err) {
		t.Errorf("a reference with a namespace: %v, want a refusal", err)
	}
}

func TestTheQuotaLimitsTheConnectionsOfANamespace(t *testing.T) {
	plane, ctx := controlPlane(t), t.Context()
	const namespace = "quota"
	must(t, plane.Namespace(ctx, namespace))
	_, err := plane.Kubectl(ctx, "apply", "-n", namespace, "-f", inRepository("config", "policies", "resource_quota.yaml"))
	must(t, err)
	quota := &corev1.ResourceQuota{}
	must(t, plane.Client.Get(ctx, key(namespace, "mcp-connections"), quota))
	// The controller that counts what is there lives in kube-controller-manager, which does not run here. There is
	// nothing to count yet; from here on the API server itself counts and refuses.
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{}}
	for name := range quota.Spec.Hard {
		quota.Status.Used[name] = resource.MustParse("0")
	}
	must(t, plane.Client.Status().Update(ctx, quota))
	for i := 0; err == nil && i < 200; i++ { // the first ones may come before it has seen the quota, and are not counted
		err = plane.Client.Create(ctx, connection(namespace, fmt.Sprintf("c%d", i), "https://mcp.example.com/mcp"))
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: mcp-connections") {
		t.Errorf("one more than the quota: %v, want a refusal", err)
	}
	must(t, plane.Client.Get(ctx, key(namespace, "mcp-connections"), quota))
	const counted = "count/mcpconnections.mcp-connection.dev"
	if used := quota.Status.Used[counted]; used.Value() != 20 {
		t.Errorf("%s connections are counted, want 20", used.String())
	}
}

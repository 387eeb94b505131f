package tenancy

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// roles are the Roles and ClusterRoles that kustomize makes of a folder.
func roles(t testing.TB, folder ...string) []rbacv1.ClusterRole {
	t.Helper()
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(render(t, folder...))))
	var found []rbacv1.ClusterRole
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		var r rbacv1.ClusterRole
		must(t, yaml.Unmarshal(document, &r))
		if r.Kind == "Role" || r.Kind == "ClusterRole" {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%v has no roles", folder)
	}
	return found
}

// named finds a role.
func named(t *testing.T, all []rbacv1.ClusterRole, kind, name string) rbacv1.ClusterRole {
	t.Helper()
	for _, r := range all {
		if r.Kind == kind && r.Name == name {
			return r
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return rbacv1.ClusterRole{}
}

// Who reads a connection can open its link, so that right must not come with view. The API server says what its own
// roles aggregate.
var _ = DescribeTable("A built-in role aggregates none of ours:", Label("security"),
	func(ctx SpecContext, builtIn string) {
		aggregating := &rbacv1.ClusterRole{}
		Expect(plane.Client.Get(ctx, key("", builtIn), aggregating)).To(Succeed())
		Expect(aggregating.AggregationRule.ClusterRoleSelectors).NotTo(BeEmpty(),
			"it aggregates nothing: this spec would not see it")
		ours := slices.Concat(roles(GinkgoTB(), "config", "default"), roles(GinkgoTB(), "config", "namespaced"))
		var aggregated []string
		for i := range aggregating.AggregationRule.ClusterRoleSelectors {
			selector, err := metav1.LabelSelectorAsSelector(&aggregating.AggregationRule.ClusterRoleSelectors[i])
			Expect(err).NotTo(HaveOccurred())
			for _, r := range ours {
				if selector.Matches(labels.Set(r.Labels)) {
					aggregated = append(aggregated, r.Kind+" "+r.Name)
				}
			}
		}
		Expect(aggregated).To(BeEmpty())
	},
	Entry("view", "view"),
	Entry("edit", "edit"),
	Entry("admin", "admin"),
)

// TestNoRoleGivesMoreThanItNames has no wildcard anywhere, but for the administrator of connections.
func TestNoRoleGivesMoreThanItNames(t *testing.T) {
	for _, r := range roles(t, "config", "default") {
		for _, rule := range r.Rules {
			if r.Name == "mcp-connection-mcpconnection-admin-role" &&
				reflect.DeepEqual(rule.Resources, []string{"mcpconnections"}) {
				continue
			}
			if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") {
				t.Errorf("%s %s holds a wildcard: %v", r.Kind, r.Name, rule)
			}
			if slices.ContainsFunc(rule.Verbs, func(verb string) bool {
				return slices.Contains([]string{"bind", "escalate", "impersonate"}, verb)
			}) {
				t.Errorf("%s %s can grant itself more: %v", r.Kind, r.Name, rule)
			}
		}
	}
}

// TestTheNamespacedOperatorHasNoRightToSecretsOfTheCluster also holds that a served namespace gives the same as the
// ClusterRole, which is generated, would.
func TestTheNamespacedOperatorHasNoRightToSecretsOfTheCluster(t *testing.T) {
	namespaced := roles(t, "config", "namespaced")
	for _, r := range namespaced {
		for _, rule := range r.Rules {
			if r.Kind == "ClusterRole" && slices.Contains(rule.APIGroups, "") {
				t.Errorf("ClusterRole %s: %v", r.Name, rule)
			}
		}
	}
	whole := named(t, roles(t, "config", "default"), "ClusterRole", "mcp-connection-manager-role")
	served := named(t, namespaced, "Role", "mcp-connection-tenant-role")
	cluster := named(t, namespaced, "ClusterRole", "mcp-connection-metrics-auth-role")
	var want []rbacv1.PolicyRule
	for _, rule := range whole.Rules {
		// Reviews are no objects of a namespace; the reader of metrics is reviewed in the same way.
		if strings.HasSuffix(rule.Resources[0], "reviews") {
			if !slices.ContainsFunc(cluster.Rules, func(r rbacv1.PolicyRule) bool { return reflect.DeepEqual(r, rule) }) {
				t.Errorf("config/namespaced gives no right to %v", rule)
			}
			continue
		}
		want = append(want, rule)
	}
	if !reflect.DeepEqual(served.Rules, want) {
		t.Errorf("config/namespaced/tenant/role.yaml is old: it has %v, config/rbac/role.yaml %v", served.Rules, want)
	}
}

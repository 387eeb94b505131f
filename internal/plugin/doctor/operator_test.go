package doctor

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// labelled is a Deployment that calls itself the operator.
func labelled(namespace string, args ...string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "operator",
		Labels: map[string]string{"app.kubernetes.io/name": "mcp-connection-operator"}}}
	d.Status.AvailableReplicas = 1
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "manager", Args: args}}
	return d
}

func TestDeploymentIsTheOperatorOnlyIfThatIsPlain(t *testing.T) {
	const wide = "--egress-allow-cidrs=0.0.0.0/0"
	stranger := labelled("a-tenant", wide, "--allow-insecure-http", "--external-url=https://stranger.test")
	own := labelled(DefaultNamespace, "--egress-allow-cidrs=10.0.0.0/8")
	for _, tt := range []struct {
		name, named string
		deployments []*appsv1.Deployment
		chosen      string
		level       Level
		says        string
		allowed     int
	}{
		{name: "A single Deployment is taken, wherever it is", deployments: []*appsv1.Deployment{labelled("elsewhere", wide)},
			chosen: "elsewhere", allowed: 1},
		{name: "A stranger's Deployment is not taken before the operator, and no flags are",
			deployments: []*appsv1.Deployment{stranger, own}, chosen: DefaultNamespace, level: Warning,
			says: "a-tenant/operator"},
		{name: "A Deployment that serves the namespace is taken before one that does not",
			deployments: []*appsv1.Deployment{labelled(DefaultNamespace, "--watch-namespaces=other"), stranger},
			chosen:      "a-tenant", level: Warning, says: "--operator-namespace"},
		{name: "A namespace that is named decides, and flags are taken", named: DefaultNamespace,
			deployments: []*appsv1.Deployment{stranger, own}, chosen: DefaultNamespace, allowed: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := fake.NewClientset()
			for _, d := range tt.deployments {
				if err := c.Tracker().Add(d); err != nil {
					t.Fatal(err)
				}
			}
			o := FindOperator(t.Context(), c, "team-a", tt.named)
			if o.namespace() != tt.chosen {
				t.Errorf("the operator is taken for that of %s, want %s", o.namespace(), tt.chosen)
			}
			want(t, o.finding("team-a"), tt.level, tt.says)
			var rules Rules
			o.apply(&rules)
			rules.ExternalURL += externalURL(o, &v1alpha1.MCPConnection{})
			if len(rules.AllowCIDRs) != tt.allowed || rules.AllowInsecureHTTP ||
				strings.Contains(rules.ExternalURL, "stranger") {
				t.Errorf("the rules are %+v", rules)
			}
		})
	}
}

func TestNamespaceOfTheOperatorIsTheOneThatWasNamed(t *testing.T) {
	if o := FindOperator(t.Context(), fake.NewClientset(), "team-a", "own-operator"); o.namespace() != "own-operator" {
		t.Errorf("it is %s", o.namespace())
	}
}

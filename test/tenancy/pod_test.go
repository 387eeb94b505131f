package tenancy

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/test/harness"
)

// pod is the one that the Deployment would make, with changes.
func pod(t *testing.T, change ...func(*corev1.PodSpec)) *corev1.Pod {
	t.Helper()
	deployment := &appsv1.Deployment{}
	must(t, plane.Client.Get(t.Context(), key(harness.OperatorNamespace, harness.OperatorServiceAccount), deployment))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace, Name: "manager", Labels: deployment.Spec.Template.Labels},
		Spec:       deployment.Spec.Template.Spec,
	}
	for _, c := range change {
		c(&p.Spec)
	}
	return p
}

// TestTheManagersPodIsRestricted has the API server's own Pod Security admission judge the pod.
func TestTheManagersPodIsRestricted(t *testing.T) {
	plane := controlPlane(t)
	namespace := &corev1.Namespace{}
	must(t, plane.Client.Get(t.Context(), client.ObjectKey{Name: harness.OperatorNamespace}, namespace))
	if got := namespace.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("the namespace enforces %q", got)
	}
	made := pod(t)
	must(t, plane.Client.Create(t.Context(), made, client.DryRunAll))
	c := made.Spec.Containers[0]
	if len(made.Spec.Containers) != 1 || len(made.Spec.InitContainers) != 0 || !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) {
		t.Error("there is more than one container, or its root can be written to")
	}
	if len(made.Spec.Volumes) != 1 || made.Spec.Volumes[0].Projected == nil || len(c.VolumeMounts) != 1 {
		t.Errorf("the pod has other volumes than its token: %v", made.Spec.Volumes)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Error("the pod's resources are not bounded")
	}
	for name, weaken := range map[string]func(*corev1.PodSpec){
		"without seccomp": func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil },
		"as root": func(s *corev1.PodSpec) {
			s.SecurityContext.RunAsNonRoot, s.Containers[0].SecurityContext.RunAsNonRoot = nil, nil
		},
		"with capabilities":          func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil },
		"with privilege escalation":  func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
		"in the network of the host": func(s *corev1.PodSpec) { s.HostNetwork = true },
	} {
		err := plane.Client.Create(t.Context(), pod(t, weaken), client.DryRunAll)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "PodSecurity") {
			t.Errorf("a pod %s: %v, want a refusal", name, err)
		}
	}
}

// TestOnlyTheManagersPodGetsItsToken creates a pod that takes the ServiceAccount without asking for its token.
func TestOnlyTheManagersPodGetsItsToken(t *testing.T) {
	plane := controlPlane(t)
	other := pod(t, func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = nil })
	must(t, plane.Client.Create(t.Context(), other, client.DryRunAll))
	if len(other.Spec.Volumes) != 0 {
		t.Errorf("it got %v", other.Spec.Volumes)
	}
}

// TestTheNetworkPoliciesFitTheManagersPod applies them; nothing here enforces them.
func TestTheNetworkPoliciesFitTheManagersPod(t *testing.T) {
	plane := controlPlane(t)
	const placeholder = "system" // the namespace that config/default replaces
	must(t, plane.Namespace(t.Context(), placeholder))
	_, err := plane.Kubectl(t.Context(), "apply", "-k", inRepository("config", "network-policy"))
	must(t, err)
	policies := &networkingv1.NetworkPolicyList{}
	must(t, plane.Client.List(t.Context(), policies, client.InNamespace(placeholder)))
	manager := pod(t)
	var kinds []networkingv1.PolicyType
	for _, p := range policies.Items {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		must(t, err)
		if !selector.Matches(labels.Set(manager.Labels)) {
			t.Errorf("%s does not select the manager's pod", p.Name)
		}
		for _, rule := range p.Spec.Ingress {
			if !slices.ContainsFunc(manager.Spec.Containers[0].Ports, func(port corev1.ContainerPort) bool {
				return port.ContainerPort == rule.Ports[0].Port.IntVal
			}) {
				t.Errorf("%s opens a port that the manager does not have: %s", p.Name, rule.Ports[0].Port)
			}
		}
		kinds = append(kinds, p.Spec.PolicyTypes...)
	}
	if !slices.Contains(kinds, networkingv1.PolicyTypeIngress) || !slices.Contains(kinds, networkingv1.PolicyTypeEgress) {
		t.Errorf("the policies are about %v", kinds)
	}
}

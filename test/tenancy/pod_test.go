package tenancy

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/test/harness"
)

// pod is the one that the Deployment would make, with changes.
func pod(ctx context.Context, change ...func(*corev1.PodSpec)) *corev1.Pod {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(plane.Client.Get(ctx, key(harness.OperatorNamespace, harness.OperatorServiceAccount), deployment)).To(Succeed())
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace, Name: "manager",
			Labels: deployment.Spec.Template.Labels},
		Spec: deployment.Spec.Template.Spec,
	}
	for _, c := range change {
		c(&p.Spec)
	}
	return p
}

var _ = Describe("The manager's pod", Label("security"), func() {
	// The API server's own Pod Security admission judges the pod.
	It("is restricted", func(ctx SpecContext) {
		namespace := &corev1.Namespace{}
		Expect(plane.Client.Get(ctx, key("", harness.OperatorNamespace), namespace)).To(Succeed())
		Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))
		made := pod(ctx)
		Expect(plane.Client.Create(ctx, made, client.DryRunAll)).To(Succeed())
		Expect(made.Spec.InitContainers).To(BeEmpty())
		Expect(made.Spec.Containers).To(HaveLen(1))
		c := made.Spec.Containers[0]
		Expect(c.SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()), "its root can be written to")
		Expect(made.Spec.Volumes).To(HaveExactElements(HaveField("Projected", Not(BeNil()))),
			"it has no volume but its token")
		Expect(c.VolumeMounts).To(HaveLen(1))
		Expect(c.Resources.Limits.Memory().IsZero()).To(BeFalse(), "its memory is not bounded")
		Expect(c.Resources.Requests.Cpu().IsZero()).To(BeFalse(), "it requests no CPU")
	})

	DescribeTable("is refused", func(ctx SpecContext, weaken func(*corev1.PodSpec)) {
		err := plane.Client.Create(ctx, pod(ctx, weaken), client.DryRunAll)
		Expect(err).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(err).To(MatchError(ContainSubstring("PodSecurity")))
	},
		Entry("without seccomp", func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil }),
		Entry("as root", func(s *corev1.PodSpec) {
			s.SecurityContext.RunAsNonRoot, s.Containers[0].SecurityContext.RunAsNonRoot = nil, nil
		}),
		Entry("with capabilities", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }),
		Entry("with privilege escalation",
			func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil }),
		Entry("in the network of the host", func(s *corev1.PodSpec) { s.HostNetwork = true }),
	)

	It("is the only one that gets its token", func(ctx SpecContext) {
		other := pod(ctx, func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = nil })
		Expect(plane.Client.Create(ctx, other, client.DryRunAll)).To(Succeed())
		Expect(other.Spec.Volumes).To(BeEmpty())
	})

	// Nothing here enforces them.
	It("fits the network policies", func(ctx SpecContext) {
		const placeholder = "system" // the namespace that config/default replaces
		Expect(plane.Namespace(ctx, placeholder)).To(Succeed())
		kubectl(ctx, "apply", "-k", harness.InRepository("config", "network-policy"))
		policies := &networkingv1.NetworkPolicyList{}
		Expect(plane.Client.List(ctx, policies, client.InNamespace(placeholder))).To(Succeed())
		manager := pod(ctx)
		var ports []int32
		for _, port := range manager.Spec.Containers[0].Ports {
			ports = append(ports, port.ContainerPort)
		}
		var kinds []networkingv1.PolicyType
		for _, p := range policies.Items {
			selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
			Expect(err).NotTo(HaveOccurred())
			Expect(selector.Matches(labels.Set(manager.Labels))).To(BeTrue(), "%s does not select the manager's pod", p.Name)
			for _, rule := range p.Spec.Ingress {
				Expect(ports).To(ContainElement(rule.Ports[0].Port.IntVal), "%s opens a port that the manager does not have",
					p.Name)
			}
			kinds = append(kinds, p.Spec.PolicyTypes...)
		}
		Expect(kinds).To(ContainElements(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress))
	})
})

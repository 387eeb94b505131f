package tenancy

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/mcp-connection/operator/test/harness"
)

var _ = Describe("The quota", Label("security"), func() {
	It("limits the connections of a namespace", func(ctx SpecContext) {
		const namespace = "quota"
		Expect(plane.Namespace(ctx, namespace)).To(Succeed())
		kubectl(ctx, "apply", "-n", namespace, "-f", harness.InRepository("config", "policies", "resource_quota.yaml"))
		quota := &corev1.ResourceQuota{}
		Expect(plane.Client.Get(ctx, key(namespace, "mcp-connections"), quota)).To(Succeed())
		// The controller that counts what is there lives in kube-controller-manager, which does not run here. There is
		// nothing to count yet; from here on the API server itself counts and refuses.
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{}}
		for name := range quota.Spec.Hard {
			quota.Status.Used[name] = resource.MustParse("0")
		}
		Expect(plane.Client.Status().Update(ctx, quota)).To(Succeed())
		var err error
		for i := 0; err == nil && i < 200; i++ { // the first ones may come before it has seen the quota, and are not counted
			err = plane.Client.Create(ctx, connection(namespace, fmt.Sprintf("c%d", i), "https://mcp.example.com/mcp"))
		}
		Expect(err).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(err).To(MatchError(ContainSubstring("exceeded quota: mcp-connections")))
		Expect(plane.Client.Get(ctx, key(namespace, "mcp-connections"), quota)).To(Succeed())
		used := quota.Status.Used["count/mcpconnections.mcp-connection.dev"]
		Expect(used.Value()).To(BeEquivalentTo(20))
	})
})

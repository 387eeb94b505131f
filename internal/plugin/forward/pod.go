// Package forward makes the operator's callback port a port of this machine, as kubectl port-forward would.
package forward

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// Target says where the operator runs.
type Target struct {
	// Namespace of the operator.
	Namespace string
	// Service that leads to its callback port; empty: its pods are found by the labels of the manifests and of the chart.
	Service string
}

// labels of the operator's pods, in the manifests and in the chart.
var labels = map[string]string{"app.kubernetes.io/name": "mcp-connection-operator",
	"control-plane": "controller-manager"}

// callbackPort is the name of the container's port.
const callbackPort = "callback"

// place is a pod and the port of it that serves the pages.
type place struct {
	pod  string
	port int32
}

// find returns a pod that serves the pages, one that is ready if there is any. Every replica serves them.
func (t Target) find(ctx context.Context, c client.Reader) (*place, error) {
	selector, port := labels, intstr.FromString(callbackPort)
	if t.Service != "" {
		service := &corev1.Service{}
		if err := c.Get(ctx, types.NamespacedName{Namespace: t.Namespace, Name: t.Service}, service); err != nil {
			return nil, kube.Explain(err)
		}
		if len(service.Spec.Selector) == 0 {
			return nil, kube.Exit(kube.ExitFailed, "Service %s/%s selects no pods: name another with --operator-service",
				t.Namespace, t.Service)
		}
		selector = service.Spec.Selector
		if ports := service.Spec.Ports; len(ports) > 0 {
			at := slices.IndexFunc(ports, func(p corev1.ServicePort) bool { return p.Name == callbackPort })
			port = ports[max(at, 0)].TargetPort
		}
	}
	pods := &corev1.PodList{}
	if err := c.List(ctx, pods, client.InNamespace(t.Namespace), client.MatchingLabels(selector)); err != nil {
		return nil, kube.Explain(err)
	}
	slices.SortStableFunc(pods.Items, func(a, b corev1.Pod) int { return readiness(&b) - readiness(&a) })
	for i := range pods.Items {
		pod := &pods.Items[i]
		if number := portOf(pod, port); number > 0 && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			return &place{pod: pod.Name, port: number}, nil
		}
	}
	return nil, kube.Exit(kube.ExitFailed,
		"namespace %s has no running pod of the operator: name another with --operator-namespace, or lead the link's port "+
			"there by yourself and add --no-forward", t.Namespace)
}

func readiness(pod *corev1.Pod) int {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return 1
		}
	}
	return 0
}

// portOf is the number of a port of a pod; 0 if it has none of that name.
func portOf(pod *corev1.Pod, port intstr.IntOrString) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, container := range pod.Spec.Containers {
		for _, p := range container.Ports {
			if p.Name == port.StrVal {
				return p.ContainerPort
			}
		}
	}
	return 0
}

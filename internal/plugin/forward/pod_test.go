package forward

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mcp-connection/operator/internal/plugin/kube"
)

// operator is a pod of it.
func operator(name string, change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: name, Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 8443}, {Name: "callback", ContainerPort: 9082}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func TestAPodThatServesThePagesIsFound(t *testing.T) {
	unready := func(p *corev1.Pod) { p.Status.Conditions = nil }
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "pages"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "mine"},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(7000)}}},
	}
	two, none := service.DeepCopy(), service.DeepCopy()
	two.Spec.Ports = []corev1.ServicePort{{Name: "metrics", TargetPort: intstr.FromInt32(8443)},
		{Name: "callback", TargetPort: intstr.FromInt32(7001)}}
	none.Spec.Selector = nil
	mine := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "mine"} }
	for name, test := range map[string]struct {
		objects []client.Object
		service string
		want    string
	}{
		"the one that is ready": {[]client.Object{operator("a", unready), operator("b", nil)}, "", "b:9082"},
		"one that is not yet":   {[]client.Object{operator("a", unready)}, "", "a:9082"},
		"none that has ended": {[]client.Object{
			operator("a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}, "", ""},
		"none of another kind":  {[]client.Object{operator("a", mine)}, "", ""},
		"none without the port": {[]client.Object{operator("a", func(p *corev1.Pod) { p.Spec.Containers = nil })}, "", ""},
		"that of a Service": {[]client.Object{operator("a", mine), operator("b", nil), service}, "pages",
			"a:7000"},
		"the pages among a Service's ports":   {[]client.Object{operator("a", mine), two}, "pages", "a:7001"},
		"none of a Service that selects none": {[]client.Object{operator("a", nil), none}, "pages", ""},
		"none of another Namespace": {[]client.Object{operator("a", func(p *corev1.Pod) { p.Namespace = "other" })},
			"", ""},
	} {
		c := fake.NewClientBuilder().WithScheme(kube.Scheme()).WithObjects(test.objects...).Build()
		at, err := Target{Namespace: "system", Service: test.service}.find(t.Context(), c)
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s:%d", at.pod, at.port)
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q: %v", name, got, test.want, err)
		}
	}
}

func TestPortsAreForwardedForHTTPOnLoopback(t *testing.T) {
	for link, want := range map[string]bool{
		"http://localhost:8082/connect/x": true, "http://127.0.0.1:8082/": true, "http://[::1]:8082/": true,
		"https://localhost:8082/": false, "http://connect.example.com/": false, "http://10.0.0.1/": false,
	} {
		u, err := url.Parse(link)
		if err != nil || Wanted(u) != want {
			t.Errorf("%s: %v, %v", link, Wanted(u), err)
		}
	}
}

func TestAPortIsTakenIfOneOfLocalhostsAddressesIs(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err) // a machine without IPv6
			continue
		}
		port := listener.Addr().(*net.TCPAddr).Port
		if err := free("localhost", port); err == nil || kube.ExitCode(err) != kube.ExitFailed ||
			!strings.Contains(err.Error(), fmt.Sprintf("port %d of this machine is taken", port)) {
			t.Errorf("%s: %v", address, err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if err := free("localhost", port); err != nil {
			t.Error(err)
		}
	}
}

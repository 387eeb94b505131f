package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/plugin"
	"github.com/mcp-connection/operator/internal/plugin/golden"
	"github.com/mcp-connection/operator/internal/plugin/kube"
	"github.com/mcp-connection/operator/test/harness"
	"github.com/mcp-connection/operator/test/matchers"
	"github.com/mcp-connection/operator/test/specs"
)

const (
	team       = "team-a"
	deployment = "mcp-connection-controller-manager"
	pod        = deployment + "-7d9f8b6c5d-x2k4z"
)

// What all specs share.
var (
	plane    *harness.ControlPlane
	operator *harness.Operator
)

func TestSpecs(t *testing.T) { specs.Run(t, "doctor") }

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	var err error
	plane, err = harness.StartControlPlane(ctx, harness.ControlPlaneOptions{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(plane.Stop)
	operator, err = harness.StartOperator(ctx, plane, "--leader-elect=true")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	Expect(plane.Namespace(ctx, team)).To(Succeed())
	describeOperator(ctx)
})

// describeOperator has the API server tell of the operator, which is a child process here, what it would tell in a
// cluster: the flags in its Deployment, a pod, and a node whose kubelet has the pod's log.
func describeOperator(ctx context.Context) {
	GinkgoHelper()
	d := deploymentOfTheOperator(ctx)
	d.Spec.Replicas = ptr.To(int32(1))
	container := &d.Spec.Template.Spec.Containers[0]
	container.Image = "registry.example.test/mcp-connection-operator:v9.9.9"
	container.Args = []string{"--leader-elect", "--external-url=" + operator.ExternalURL, "--allow-insecure-http",
		"--egress-allow-cidrs", "127.0.0.0/8,::1/128"}
	Expect(plane.Client.Update(ctx, d)).To(Succeed())
	d.Status = appsv1.DeploymentStatus{Replicas: 1, ReadyReplicas: 1, AvailableReplicas: 1, UpdatedReplicas: 1,
		ObservedGeneration: d.Generation}
	Expect(plane.Client.Status().Update(ctx, d)).To(Succeed())
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containerLogs/"+harness.OperatorNamespace+"/"+pod+"/"+container.Name {
			http.NotFound(rw, r)
			return
		}
		_, _ = fmt.Fprint(rw, operator.Log())
	}))
	DeferCleanup(kubelet.Close)
	address, err := netip.ParseAddrPort(kubelet.Listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
	Expect(plane.Client.Create(ctx, node)).To(Succeed())
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(address.Port())
	Expect(plane.Client.Status().Update(ctx, node)).To(Succeed())
	made := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: harness.OperatorNamespace, Name: pod, Labels: d.Spec.Template.Labels},
		Spec:       *d.Spec.Template.Spec.DeepCopy(),
	}
	made.Spec.NodeName = node.Name
	Expect(plane.Client.Create(ctx, made)).To(Succeed())
}

func deploymentOfTheOperator(ctx context.Context) *appsv1.Deployment {
	GinkgoHelper()
	d := &appsv1.Deployment{}
	Expect(plane.Client.Get(ctx, client.ObjectKey{Namespace: harness.OperatorNamespace, Name: deployment}, d)).To(
		Succeed())
	return d
}

// result is what a run of the plugin printed, and its exit code.
type result struct {
	out, errOut string
	code        int
}

// run is the plugin as main runs it, without a terminal.
func run(ctx context.Context, stdin string, arguments ...string) result {
	var out, errOut bytes.Buffer
	f := kube.NewFactory(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	f.Version = "test"
	code := plugin.Run(ctx, f, append(arguments, "--kubeconfig", plane.Kubeconfig))
	return result{out: out.String(), errOut: errOut.String(), code: code}
}

// endsWith demands an exit code.
func (r result) endsWith(code int) result {
	GinkgoHelper()
	Expect(r.code).To(Equal(code), "exit code of\n%s%s", r.out, r.errOut)
	return r
}

// kubectl runs kubectl as administrator.
func kubectl(ctx context.Context, args ...string) {
	GinkgoHelper()
	_, err := plane.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
}

// createBy makes objects with kubectl create, until the spec has ended.
func createBy(ctx context.Context, kind, name string, flags ...string) {
	GinkgoHelper()
	kubectl(ctx, append([]string{"create", kind, name, "-n", team}, flags...)...)
	DeferCleanup(func(ctx SpecContext) { kubectl(ctx, "delete", kind, name, "-n", team) })
}

// awaitRight waits until the API server has seen that a user may do something in the team's namespace.
func awaitRight(ctx context.Context, user string, right authorizationv1.ResourceAttributes) {
	GinkgoHelper()
	right.Namespace = team
	Eventually(ctx, func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &right},
		}
		err := plane.Client.Create(ctx, review)
		return review.Status.Allowed, err
	}).Should(BeTrue(), "%s has no right", user)
}

// readsConnections is what the viewer's role gives.
var readsConnections = authorizationv1.ResourceAttributes{
	Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: "mcpconnections",
}

// create creates an object, which is gone when the spec has ended.
func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(plane.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(plane.Client.Delete(ctx, object)).To(Succeed()) })
}

// apply applies the manifest of a connection, which is gone when the spec has ended.
func apply(ctx context.Context, name, manifest string) {
	GinkgoHelper()
	forget(name)
	_, err := plane.Apply(ctx, team, manifest)
	Expect(err).NotTo(HaveOccurred())
}

// forget deletes a connection when the spec has ended, and the Secret that it was imported from.
func forget(name string) {
	DeferCleanup(func(ctx SpecContext) {
		kubectl(ctx, "delete", "mcpc/"+name, "secret/"+name+"-import", "-n", team, "--ignore-not-found")
	})
}

// await waits until a connection is as the matcher wants it, and returns it.
func await(ctx context.Context, name string, matcher types.GomegaMatcher) *v1alpha1.MCPConnection {
	GinkgoHelper()
	var last *v1alpha1.MCPConnection
	Eventually(ctx, func(ctx context.Context) (_ *v1alpha1.MCPConnection, err error) {
		last, err = plane.Connection(ctx, client.ObjectKey{Namespace: team, Name: name})
		return last, err
	}).Should(matcher)
	return last
}

// askForConsent is a connection that waits for a person.
func askForConsent() types.GomegaMatcher {
	return matchers.HaveCondition(v1alpha1.ConditionAuthorized, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired)
}

// ready makes a connection that a person consented to, and whose token was tried.
func ready(ctx context.Context, name string, server *oauthtest.Server, manifest string) {
	GinkgoHelper()
	apply(ctx, name, manifest)
	link := await(ctx, name, askForConsent()).Status.AuthorizationURL
	_, err := harness.NewBrowser().Consent(ctx, link, harness.Consent{Expect: []string{server.MCPURL()}})
	Expect(err).NotTo(HaveOccurred())
	await(ctx, name, And(
		matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionTrue, ""),
		matchers.HaveCondition(v1alpha1.ConditionProbed, metav1.ConditionTrue, ""),
	))
}

func manifest(name, serverURL string) string {
	return "apiVersion: mcp-connection.dev/v1alpha1\nkind: MCPConnection\nmetadata:\n  name: " + name +
		"\nspec:\n  serverURL: " + serverURL + "\n"
}

// expectGolden compares a report with a file. Ports have five digits, whatever they are.
func expectGolden(name, got string, urls ...string) {
	GinkgoHelper()
	for _, raw := range urls {
		u, err := url.Parse(raw)
		Expect(err).NotTo(HaveOccurred())
		got = strings.ReplaceAll(got, ":"+u.Port(), ":55555")
	}
	golden.Compare(GinkgoTB(), name, got)
}

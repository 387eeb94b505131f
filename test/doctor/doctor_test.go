package doctor

import (
	"regexp"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/test/matchers"
)

// holder is the leader's name, which has the machine's in it.
var holder = regexp.MustCompile(`(?m)^   \S+ leads, and renews its Lease\.$`)

var _ = Describe("Doctor", func() {
	It("finds no failure in a connection that is ready", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		ready(ctx, "healthy", server, manifest("healthy", server.MCPURL()))
		got := run(ctx, "", "doctor", "healthy", "-n", team).endsWith(0)
		Expect(got.errOut).To(BeEmpty())
		expectGolden("healthy", holder.ReplaceAllString(got.out, "   (the leader) leads, and renews its Lease."), server.URL,
			operator.ExternalURL)
		for _, r := range server.Requests()[len(server.Requests())-3:] {
			Expect(r.Header.Get("Authorization")+r.Header.Get("Cookie")).To(BeEmpty(), "%s %s carries a credential", r.Method,
				r.Path)
		}
	})

	It("asks a server without any cluster", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		got := run(ctx, "", "doctor", server.MCPURL(), "--kubeconfig=/does/not/exist", "--allow-insecure-http",
			"--egress-allow-cidrs=127.0.0.0/8").endsWith(0)
		Expect(got.out).To(ContainSubstring("9 ok, 0 warnings, 0 failures"))
		got = run(ctx, "", "doctor", server.MCPURL()).endsWith(1)
		Expect(got.out).To(ContainSubstring("is not https"))
	})

	// A second installation has everything wrong.
	It("tells of an operator that does not serve", func(ctx SpecContext) {
		const idle = "idle-operator"
		Expect(plane.Namespace(ctx, idle)).To(Succeed())
		d := deploymentOfTheOperator(ctx)
		d.ObjectMeta = metav1.ObjectMeta{Namespace: idle, Name: "idle", Labels: d.Labels}
		d.Spec.Template.Spec.ServiceAccountName = "default"
		d.Spec.Template.Spec.Containers[0].Args = []string{"--leader-elect", "--watch-namespaces=elsewhere,other",
			"--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8", "--ca-file=/etc/ca.pem",
			"--egress-proxy-url=http://user:pass-of-the-proxy@proxy.test:3128"}
		create(ctx, d)
		create(ctx, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: idle, Name: "https-only"},
			Spec: networkingv1.NetworkPolicySpec{
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
				Egress: []networkingv1.NetworkPolicyEgressRule{
					{Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(443))}}}},
			}})
		server := oauthtest.New(GinkgoTB())
		apply(ctx, "unserved", manifest("unserved", server.MCPURL()))
		await(ctx, "unserved", askForConsent())
		got := run(ctx, "", "doctor", "unserved", "-n", team, "--operator-namespace", idle).endsWith(1)
		Expect(got.out).NotTo(ContainSubstring("pass-of-the-proxy"))
		expectGolden("unserved", got.out, server.URL, operator.ExternalURL)
	})

	// It runs as somebody who may read connections and nothing else.
	It("says what it may not see", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		apply(ctx, "narrow", manifest("narrow", server.MCPURL()))
		await(ctx, "narrow", askForConsent())
		createBy(ctx, "rolebinding", "viewer", "--clusterrole=mcp-connection-mcpconnection-viewer-role", "--user=alice")
		awaitRight(ctx, "alice", readsConnections)
		got := run(ctx, "", "doctor", "narrow", "-n", team, "--as=alice", "--allow-insecure-http",
			"--egress-allow-cidrs=127.0.0.0/8").endsWith(0)
		expectGolden("narrow", got.out, server.URL, operator.ExternalURL)
		got = run(ctx, "", "doctor", "narrow", "-n", team, "--as=bob").endsWith(1)
		Expect(got.errOut).To(ContainSubstring("forbidden"))
	})

	It("looks at the installation alone", func(ctx SpecContext) {
		got := run(ctx, "", "doctor", "-n", team).endsWith(0)
		Expect(got.out).To(And(HavePrefix("Operator for namespace "+team+"\n"),
			ContainSubstring("7 ok, 0 warnings, 0 failures")))
	})

	It("looks for what the spec names", func(ctx SpecContext) {
		server := oauthtest.New(GinkgoTB())
		apply(ctx, "named", strings.Replace(manifest("named", server.MCPURL()), "spec:\n", "spec:\n  client: {issuer: "+
			strconv.Quote(server.Issuer())+", credentialsSecretRef: {name: not-there}}\n", 1))
		await(ctx, "named", matchers.HaveCondition(v1alpha1.ConditionReady, metav1.ConditionFalse,
			v1alpha1.ReasonCredentialsMissing))
		got := run(ctx, "", "doctor", "named", "-n", team).endsWith(1)
		Expect(flat(got.out)).To(ContainSubstring("secrets not-there (spec.client.credentialsSecretRef) does not exist in " +
			"namespace team-a."))
		create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "not-there"},
			StringData: map[string]string{"client_id": "planted-id", "client_secret": "planted-secret"}})
		got = run(ctx, "", "doctor", "named", "-n", team)
		Expect(flat(got.out)).To(ContainSubstring("secrets not-there (spec.client.credentialsSecretRef) is there."))
		Expect(got.out).NotTo(ContainSubstring("planted"))
	})
})

// flat is a report without its line breaks.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

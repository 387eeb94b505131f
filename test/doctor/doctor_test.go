package doctor

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// holder is the leader's name, which has the machine's in it.
var holder = regexp.MustCompile(`(?m)^   \S+ leads, and renews its Lease\.$`)

func TestDoctorFindsNoFailureInAConnectionThatIsReady(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	w.ready(t, "healthy", server, manifest("healthy", server.MCPURL()))
	out, errOut, code := w.run(t, "", "doctor", "healthy", "-n", team)
	if code != 0 || errOut != "" {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	out = holder.ReplaceAllString(out, "   (the leader) leads, and renews its Lease.")
	compare(t, "healthy", out, server.URL, w.operator.ExternalURL)
	for _, r := range server.Requests()[len(server.Requests())-3:] {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("%s %s carries a credential", r.Method, r.Path)
		}
	}
}

func TestDoctorAsksAServerWithoutAnyCluster(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	out, _, code := w.run(t, "", "doctor", server.MCPURL(), "--kubeconfig=/does/not/exist", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8")
	if code != 0 || !strings.Contains(out, "9 ok, 0 warnings, 0 failures") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, _, code = w.run(t, "", "doctor", server.MCPURL()); code != 1 || !strings.Contains(out, "is not https") {
		t.Errorf("without --allow-insecure-http: exit code %d:\n%s", code, out)
	}
}

// TestDoctorTellsOfAnOperatorThatDoesNotServe looks at a second installation, which has everything wrong.
func TestDoctorTellsOfAnOperatorThatDoesNotServe(t *testing.T) {
	w := start(t)
	const idle = "idle-operator"
	if err := w.plane.Namespace(t.Context(), idle); err != nil {
		t.Fatal(err)
	}
	d := w.deployment(t)
	d.ObjectMeta = metav1.ObjectMeta{Namespace: idle, Name: "idle", Labels: d.Labels}
	d.Spec.Template.Spec.ServiceAccountName = "default"
	d.Spec.Template.Spec.Containers[0].Args = []string{"--leader-elect", "--watch-namespaces=elsewhere,other", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8", "--ca-file=/etc/ca.pem", "--egress-proxy-url=http://user:pass-of-the-proxy@proxy.test:3128"}
	w.make(t, d)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: idle, Name: "https-only"}, Spec: networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(443))}}}},
	}}
	w.make(t, policy)
	server := oauthtest.New(t)
	w.apply(t, "unserved", manifest("unserved", server.MCPURL()))
	if _, err := w.plane.WaitCondition(t.Context(), client.ObjectKey{Namespace: team, Name: "unserved"}, patience, "Authorized", "False", "ConsentRequired"); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := w.run(t, "", "doctor", "unserved", "-n", team, "--operator-namespace", idle)
	if code != 1 || strings.Contains(out, "pass-of-the-proxy") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	compare(t, "unserved", out, server.URL, w.operator.ExternalURL)
}

// TestDoctorSaysWhatItMayNotSee runs as somebody who may read connections and nothing else.
func TestDoctorSaysWhatItMayNotSee(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	w.apply(t, "narrow", manifest("narrow", server.MCPURL()))
	if _, err := w.plane.WaitCondition(t.Context(), client.ObjectKey{Namespace: team, Name: "narrow"}, patience, "Authorized", "False", "ConsentRequired"); err != nil {
		t.Fatal(err)
	}
	w.create(t, "rolebinding", "viewer", "--clusterrole=mcp-connection-mcpconnection-viewer-role", "--user=alice")
	out, errOut, code := w.run(t, "", "doctor", "narrow", "-n", team, "--as=alice", "--allow-insecure-http", "--egress-allow-cidrs=127.0.0.0/8")
	if code != 0 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	compare(t, "narrow", out, server.URL, w.operator.ExternalURL)
	if _, errOut, code = w.run(t, "", "doctor", "narrow", "-n", team, "--as=bob"); code != 1 || !strings.Contains(errOut, "forbidden") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestDoctorLooksAtTheInstallationAlone(t *testing.T) {
	w := start(t)
	out, errOut, code := w.run(t, "", "doctor", "-n", team)
	if code != 0 || !strings.HasPrefix(out, "Operator for namespace "+team+"\n") || !strings.Contains(out, "7 ok, 0 warnings, 0 failures") {
		t.Errorf("exit code %d: %s\n%s", code, errOut, out)
	}
}

func TestDoctorLooksForWhatTheSpecNames(t *testing.T) {
	w := start(t)
	server := oauthtest.New(t)
	text := strings.Replace(manifest("named", server.MCPURL()), "spec:\n", "spec:\n  client: {issuer: "+strconv.Quote(server.Issuer())+", credentialsSecretRef: {name: not-there}}\n", 1)
	w.apply(t, "named", text)
	at := client.ObjectKey{Namespace: team, Name: "named"}
	if _, err := w.plane.WaitCondition(t.Context(), at, patience, "Ready", "False", "CredentialsMissing"); err != nil {
		t.Fatal(err)
	}
	out, _, code := w.run(t, "", "doctor", "named", "-n", team)
	if code != 1 || !strings.Contains(flat(out), "secrets not-there (spec.client.credentialsSecretRef) does not exist in namespace team-a.") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "not-there"}, StringData: map[string]string{"client_id": "planted-id", "client_secret": "planted-secret"}}
	w.make(t, secret)
	out, _, _ = w.run(t, "", "doctor", "named", "-n", team)
	if !strings.Contains(flat(out), "secrets not-there (spec.client.credentialsSecretRef) is there.") || strings.Contains(out, "planted") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// flat is a report without its line breaks.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

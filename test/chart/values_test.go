package chart

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

func TestAWrongValueIsRefusedInOneLineThatNamesIt(t *testing.T) {
	for name, test := range map[string]struct {
		given values
		want  []string // parts of the message
	}{
		"a name that there is not":             {values{"externalUrl": "https://connect.test"}, []string{"externalUrl"}},
		"a name that there is not, further in": {values{"image": values{"tags": "v1"}}, []string{"/image", "tags"}},
		"words for a number": {values{"replicas": "two"},
			[]string{"/replicas", "got string, want integer"}},
		"one namespace that is not in a list": {values{"watchNamespaces": "team-a"},
			[]string{"/watchNamespaces", "got string, want array"}},
		"a namespace that cannot be": {values{"watchNamespaces": []any{"Team_A"}}, []string{"/watchNamespaces/0", "Team_A"}},
		"a tag as a digest":          {values{"image": values{"digest": "v1"}}, []string{"/image/digest", "v1"}},
		"an address without its range": {values{"trustedProxyCIDRs": []any{"10.1.0.0"}},
			[]string{"/trustedProxyCIDRs/0", "10.1.0.0"}},
		"a level that there is not": {values{"log": values{"level": "verbose"}},
			[]string{"/log/level", "'debug', 'info', 'error'"}},
		"words for yes or no": {values{"crds": values{"enabled": "false"}},
			[]string{"/crds/enabled", "got string, want boolean"}},
		"a URL without its scheme": {values{"externalURL": "connect.test"}, []string{"/externalURL", "connect.test"}},
		"a number as an annotation": {values{"podAnnotations": values{"a": 1}},
			[]string{"/podAnnotations/a", "want string"}},
		"an argument that is no flag": {values{"extraArgs": []any{"serve"}}, []string{"/extraArgs/0", "serve"}},
		"a placeholder of documentation": {values{"externalURL": "https://mcp-connections.example.com"},
			[]string{"externalURL: mcp-connections.example.com is a placeholder: give the URL at which browsers reach the " +
				"Service mcp-connection-callback, or leave it empty until there is one"}},
		"a placeholder in another spelling": {values{"externalURL": "https://EXAMPLE.org.:8443/mcp"},
			[]string{"externalURL: example.org is a placeholder"}},
		"a URL with a query": {values{"externalURL": "https://connect.test/mcp?a=b"},
			[]string{"externalURL must have no user name, query or fragment"}},
		"a URL with a password": {values{"externalURL": "https://a:hunter2@connect.test"},
			[]string{"externalURL must have no user name, query or fragment"}},
		"http beyond the own machine": {values{"externalURL": "http://connect.test"},
			[]string{"externalURL: http is for loopback only", "give connect.test by https"}},
		"an ingress without a host": {values{"ingress": values{"enabled": true}},
			[]string{"ingress.enabled: name the public host in externalURL"}},
		"a route without a host": {values{"httpRoute": values{"enabled": true,
			"parentRefs": []any{values{"name": "g"}}}}, []string{"httpRoute.enabled: name the public host in externalURL"}},
		"a route without a gateway": {values{"externalURL": "https://connect.test",
			"httpRoute": values{"enabled": true}}, []string{"httpRoute.enabled: name the Gateway in httpRoute.parentRefs"}},
		"a header that everybody may send": {values{"consent": values{"userHeader": "X-Forwarded-User"}},
			[]string{"consent.userHeader and consent.proxyCIDRs must be given together"}},
		"a header on the own machine": {values{"externalURL": "http://localhost:8082",
			"consent": values{"userHeader": "U", "proxyCIDRs": []any{"10.1.0.0/16"}}},
			[]string{"consent.userHeader cannot go with the loopback externalURL http://localhost:8082"}},
		"two proxies": {values{"egress": values{"proxyURL": "http://proxy.test:3128",
			"proxyURLSecret": values{"name": "proxy"}}}, []string{"egress.proxyURL and egress.proxyURLSecret.name " +
			"exclude each other"}},
		"an account that nobody names": {values{"serviceAccount": values{"create": false}},
			[]string{"serviceAccount.create is false"}},
		"a monitor of nothing": {values{"metrics": values{"enabled": false,
			"serviceMonitor": values{"enabled": true}}}, []string{"metrics.serviceMonitor.enabled wants metrics.enabled"}},
		"hosts, but none": {values{"policies": values{"serverHosts": values{"enabled": true}}},
			[]string{"policies.serverHosts.enabled: without a host in policies.serverHosts.allowed"}},
		"a host that would end its list": {values{"policies": values{"serverHosts": values{"enabled": true,
			"allowed": []any{"a', 'b"}}}}, []string{"/policies/serverHosts/allowed/0"}},
		"a flag that is a value": {values{"extraArgs": []any{"--external-url=https://connect.test"}},
			[]string{"extraArgs: --external-url has a place of its own: externalURL"}},
		"a flag that the release itself says": {values{"extraArgs": []any{"--operator-namespace=x"}},
			[]string{"extraArgs: --operator-namespace has a place of its own: the release's namespace"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := refusal(t, test.given)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("it says %q, want %q", err, part)
				}
			}
			// Helm has a line of its own above what a schema says.
			if lines := strings.Split(strings.TrimSpace(err.Error()), "\n"); len(lines) > 3 {
				t.Errorf("it says %d lines: %s", len(lines), err)
			}
		})
	}
}

// deployment is the operator's.
func deployment(t *testing.T, objects map[string]*object) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	o := objects["Deployment/mcp-connection-system/mcp-connection-controller-manager"]
	if o == nil {
		t.Fatal("there is no Deployment")
	}
	must(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, d, true))
	return d
}

// everyFlag sets each value that is a flag.
var everyFlag = values{
	"externalURL": "https://connect.test/mcp", "watchNamespaces": []any{"team-a", "team-b"},
	"trustedProxyCIDRs": []any{"10.2.0.0/16", "fd00::/64"},
	"consent":           values{"userHeader": "X-Forwarded-User", "proxyCIDRs": []any{"10.1.0.0/16"}},
	"egress": values{"allowCIDRs": []any{"10.0.0.0/8", "[fd00::5]:6443", "10.0.0.5:6443"},
		"proxyURLSecret": values{"name": "proxy"}},
	"allowInsecureHTTP": true, "caBundle": values{"configMap": "authorities"},
	"log":     values{"level": "debug", "format": "console"},
	"metrics": values{"enabled": false, "perObject": false}, "extraArgs": []any{"--max-concurrent-reconciles=64",
		"--kube-api-qps=50.5"},
}

func TestEachFlagOfTheReferenceCanBeGivenAndTheOperatorTakesIt(t *testing.T) {
	given := deployment(t, template(t, everyFlag)).Spec.Template.Spec.Containers[0].Args
	elsewhere := map[string]string{"operator-namespace": "POD_NAMESPACE says it",
		"uninstall-check": "an argument of the Job"}
	reference, err := os.ReadFile(harness.InRepository("docs", "reference.md"))
	must(t, err)
	_, flags, _ := strings.Cut(string(reference), "\n## Flags\n")
	flags, _, _ = strings.Cut(flags, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\|").FindAllStringSubmatch(flags, -1)
	if len(rows) < 20 {
		t.Fatalf("the reference has %d flags only", len(rows))
	}
	for _, row := range rows {
		arg := "--" + row[1]
		named := slices.ContainsFunc(given, func(a string) bool { return a == arg || strings.HasPrefix(a, arg+"=") })
		err := refusal(t, values{"extraArgs": []any{arg + "=x"}})
		if err != nil && !named && elsewhere[row[1]] == "" {
			t.Errorf("%s can be given in no way: %v", arg, err)
		}
	}
	for i := range given {
		given[i] = strings.ReplaceAll(given[i], "$(EGRESS_PROXY_URL)", "http://operator:hunter2@proxy.test:3128")
	}
	cmd := exec.CommandContext(t.Context(), operator(t), given...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "POD_NAMESPACE=mcp-connection-system"}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "\nno cluster is named") {
		t.Errorf("the operator does not take %v: %v, %s", given, err, out)
	}
}

func TestThePodIsAsTheValuesSay(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "first-release.yaml"))
	must(t, err)
	given := values{}
	must(t, yaml.Unmarshal(raw, &given))
	maps.Copy(given, values{"replicas": 3, "image": values{"tag": "v1", "digest": "sha256:" + strings.Repeat("a", 64)}})
	objects := template(t, given)
	d := deployment(t, objects)
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	const inSystem = "/mcp-connection-system/mcp-connection-controller-manager"
	for what, ok := range map[string]bool{
		"the digest wins over the tag": c.Image == "ghcr.io/mcp-connection/operator@sha256:"+strings.Repeat("a", 64),
		"pull secrets":                 len(pod.ImagePullSecrets) == 1 && pod.ImagePullSecrets[0].Name == "registry",
		"replicas":                     *d.Spec.Replicas == 3,
		"replicas are spread": len(pod.TopologySpreadConstraints) == 1 &&
			pod.TopologySpreadConstraints[0].LabelSelector.MatchLabels["control-plane"] == "controller-manager",
		"a budget for disruptions": objects["PodDisruptionBudget"+inSystem] != nil,
		"the proxy's password is in no command": slices.Contains(c.Args, "--egress-proxy-url=$(EGRESS_PROXY_URL)") &&
			c.Env[len(c.Env)-1].ValueFrom.SecretKeyRef.Name == "proxy",
		"certificate authorities": slices.Contains(c.Args, "--ca-file=/etc/mcp-connection-operator/ca/ca.crt") &&
			pod.Volumes[0].ConfigMap.Name == "authorities" && c.VolumeMounts[0].MountPath == "/etc/mcp-connection-operator/ca",
		"annotations and labels": d.Spec.Template.Annotations["team"] == "platform" &&
			d.Spec.Template.Labels["team"] == "platform" &&
			objects["ServiceAccount"+inSystem].GetAnnotations()["team"] == "platform",
		"where it runs": pod.NodeSelector["kubernetes.io/os"] == "linux" &&
			pod.Tolerations[0].Key == "dedicated" && pod.PriorityClassName == "system-cluster-critical",
		"namespaces that are served": slices.Contains(c.Args, "--watch-namespaces=agents,team-a") &&
			objects["Role/agents/mcp-connection-tenant-role"] != nil,
	} {
		if !ok {
			t.Errorf("%s: not as it was said: %s", what,
				text(objects["Deployment/mcp-connection-system/mcp-connection-controller-manager"].Object))
		}
	}
	if objects := template(t,
		nil); objects["PodDisruptionBudget/mcp-connection-system/mcp-connection-controller-manager"] != nil {
		t.Error("one replica has a budget for disruptions, which would hold up every drain or none")
	}
}

func TestARouteLeadsToThePagesOnly(t *testing.T) {
	for url, paths := range map[string][]string{
		"https://connect.test":          {"/connect", "/oauth"},
		"https://connect.test:8443/mcp": {"/mcp/connect", "/mcp/oauth"},
	} {
		objects := template(t, values{"externalURL": url,
			"ingress": values{"enabled": true, "className": "nginx", "tlsSecretName": "connect-tls"},
			"httpRoute": values{"enabled": true, "parentRefs": []any{values{"name": "public", "namespace": "gateways",
				"sectionName": "https"}}},
		})
		ingress := text(objects["Ingress/mcp-connection-system/mcp-connection-callback"].Object)
		route := text(objects["HTTPRoute/mcp-connection-system/mcp-connection-callback"].Object)
		for _, path := range paths {
			if !strings.Contains(ingress, "path: "+path+"\n") || !strings.Contains(route, "value: "+path+"\n") {
				t.Errorf("%s: %s does not lead to the pages:\n%s\n%s", url, path, ingress, route)
			}
		}
		if !strings.Contains(ingress, "host: connect.test\n") || !strings.Contains(ingress, "secretName: connect-tls") ||
			!strings.Contains(route, "- connect.test\n") || !strings.Contains(route, "sectionName: https") {
			t.Errorf("%s: host or certificate are missing:\n%s\n%s", url, ingress, route)
		}
	}
}

func TestTheNotesSayWhatToDoNext(t *testing.T) {
	for name, test := range map[string]struct {
		given    values
		has, not []string
	}{
		"nobody can consent without a URL": {nil, []string{"ConsentUnavailable", "--set externalURL=https://YOUR-HOST",
			"svc/mcp-connection-callback 8082"}, []string{"Route https"}},
		"a forwarded port wants its command": {values{"externalURL": "http://localhost:9000"},
			[]string{"kubectl port-forward -n mcp-connection-system svc/mcp-connection-callback 9000:8082"},
			[]string{"ConsentUnavailable"}},
		"a URL without a route wants one": {values{"externalURL": "https://connect.test"},
			[]string{"Route https://connect.test to the Service mcp-connection-callback"}, []string{"ConsentUnavailable"}},
		"a URL with a route wants its name": {values{"externalURL": "https://connect.test",
			"ingress": values{"enabled": true}}, []string{"Point the name connect.test"}, []string{"Route https"}},
		"whoever uninstalls is told at first": {nil, []string{"BEFORE YOU UNINSTALL", "kubectl delete " +
			"mcpconnections.mcp-connection.dev --all --all-namespaces\n", "helm uninstall r -n mcp-connection-system",
			"--no-hooks"}, nil},
		"only what is served is deleted": {values{"watchNamespaces": []any{"a", "b"}},
			[]string{"--all -n a\n", "--all -n b\n"}, []string{"--all-namespaces"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := notes(t, test.given)
			for _, part := range test.has {
				if !strings.Contains(text, part) {
					t.Errorf("the notes lack %q:\n%s", part, text)
				}
			}
			for _, part := range test.not {
				if strings.Contains(text, part) {
					t.Errorf("the notes say %q:\n%s", part, text)
				}
			}
		})
	}
}

// TestNothingIsKeptTwice holds what the chart copies from config to its source.
func TestNothingIsKeptTwice(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), harness.InRepository("hack", "chart-files.sh"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "diff", "-ru", dir,
		harness.InRepository("charts", "mcp-connection-operator", "files")).CombinedOutput(); err != nil {
		t.Errorf("make manifests was not run: %s", out)
	}
}

package consumers

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is a Go module whose sources hold CustomResourceDefinitions. Nothing of it is compiled.
type module struct{ path, version, sum, crds string }

// theirs are the schemas of the neighbours whose modules are on the Go module proxy (ToolHive: the last that Go 1.26
// takes); the others are in testdata/crds.
var theirs = []module{
	{"github.com/stacklok/toolhive", "v0.47.0", "h1:2GBpOHfuQg/1j0gK26iwvn8/qKSpfauHBhpnTHTsiO4=",
		"deploy/charts/operator-crds/files/crds/toolhive.stacklok.dev_mcp{remoteproxies,externalauthconfigs}.yaml"},
	{"github.com/external-secrets/external-secrets", "v1.3.2", "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
		"config/crds/bases/external-secrets.io_pushsecrets.yaml"},
}

// files downloads the module, checks what was pinned, and names its CustomResourceDefinitions.
func (m module) files(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.path+"@"+m.version)
	cmd.Dir = t.TempDir() // no go.mod has a say
	out, err := cmd.Output()
	must(t, err)
	var got struct{ Dir, Sum string }
	must(t, json.Unmarshal(out, &got))
	if got.Sum != m.sum {
		t.Fatalf("%s@%s has the sum %s, not %s", m.path, m.version, got.Sum, m.sum)
	}
	before, rest, several := strings.Cut(m.crds, "{")
	if !several {
		return []string{filepath.Join(got.Dir, m.crds)}
	}
	names, after, _ := strings.Cut(rest, "}")
	var files []string
	for name := range strings.SplitSeq(names, ",") {
		files = append(files, filepath.Join(got.Dir, before+name+after))
	}
	return files
}

// TestManifestsPassTheSchemasOfThoseWhoReadThem applies all examples to a real API server, strictly. It changes nothing
// there.
func TestManifestsPassTheSchemasOfThoseWhoReadThem(t *testing.T) {
	w := theWorld(t)
	crds, err := filepath.Glob("testdata/crds/*.yaml")
	must(t, err)
	for _, m := range theirs {
		crds = append(crds, m.files(t)...)
	}
	for _, file := range crds {
		must(t, second(w.plane.Kubectl(t.Context(), "apply", "--server-side", "-f", file)))
	}
	must(t, second(w.plane.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")))

	manifests, err := filepath.Glob(examples + "/*/*.yaml")
	must(t, err)
	manifests = append(manifests, examples+"/connection.yaml")
	var all strings.Builder
	for _, file := range manifests {
		if strings.HasSuffix(file, "/kustomization.yaml") || strings.HasSuffix(file, "envoy/filters.yaml") {
			continue
		}
		text := read(t, file)
		all.WriteString("---\n" + text)
		wrong := strings.ReplaceAll(text, "name: files-token", "nome: files-token")
		if wrong != text && !strings.HasSuffix(file, "/connection.yaml") && w.applied(t.Context(), t, wrong) == nil {
			t.Errorf("%s is accepted with a field that there is not", file)
		}
	}
	sidecar, err := w.plane.Kubectl(t.Context(), "kustomize", examples+"/sidecar")
	must(t, err)
	if err := w.applied(t.Context(), t, all.String()+"---\n"+sidecar); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"secretName: files-token", "value: https://mcp.example.com\n",
		"value: mcp.example.com\n", "restartPolicy: Always"} {
		if !strings.Contains(sidecar, want) {
			t.Errorf("the sidecar has not %q:\n%s", want, sidecar)
		}
	}
}

// applied reports whether the API server would take a manifest.
func (w *world) applied(ctx context.Context, t *testing.T, manifest string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	must(t, os.WriteFile(file, []byte(manifest), 0o600))
	return second(w.plane.Kubectl(ctx, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace,
		"-f", file))
}

// TestTheProxyOfKagentIsThatOfTheSidecar: one proxy is run through refreshes, and the other differs only in where it
// listens, and in names.
func TestTheProxyOfKagentIsThatOfTheSidecar(t *testing.T) {
	for _, line := range []string{
		"header_up Authorization {file./var/run/mcp-token/authorization}", "header_up -X-Forwarded-For",
		"header_up -X-Forwarded-Host", "header_up -X-Forwarded-Proto",
		"flush_interval -1", "admin off", "auto_https off", "persist_config off",
	} {
		ours := strings.ReplaceAll(line, "/var/run/mcp-token", "{$MCP_TOKEN_DIR:/var/run/mcp-token}")
		if !strings.Contains(read(t, sidecarCaddyfile), ours) ||
			!strings.Contains(read(t, examples+"/kagent/through-the-proxy.yaml"), line) {
			t.Errorf("one of the two has not: %s", line)
		}
	}
}

package tenancy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

// runMake runs a target with a kubectl that prints what it is to apply.
func runMake(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	kubectl := filepath.Join(t.TempDir(), "kubectl")
	must(t, os.WriteFile(kubectl, []byte("#!/bin/sh\nexec cat\n"), 0o700))
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"-s", "KUBECTL=" + kubectl}, args...)...)
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=0") // this test may itself be run by make
	cmd.Dir = harness.InRepository()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// manager is the Deployment in what kustomize makes.
func manager(t *testing.T, manifests string) *appsv1.Deployment {
	t.Helper()
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		d := &appsv1.Deployment{}
		if err := yaml.Unmarshal([]byte(document), d); err == nil && d.Kind == "Deployment" {
			return d
		}
	}
	t.Fatalf("there is no Deployment in %.300s", manifests)
	return nil
}

func TestADeploymentHasTheExternalURLThatItWasGivenAndNoOther(t *testing.T) {
	for _, test := range []struct {
		args []string
		flag string // that says where browsers come to
		said string // on stderr
	}{
		{args: []string{"IMG=registry.test/operator:v1"}, said: "nobody can consent until it does: make deploy " +
			"IMG=registry.test/operator:v1 EXTERNAL_URL=https://...\n"},
		{args: []string{"IMG=registry.test/operator:v1", "EXTERNAL_URL=https://connect.test/mcp"},
			flag: "--external-url=https://connect.test/mcp"},
	} {
		out, said, err := runMake(t, append([]string{"deploy"}, test.args...)...)
		if err != nil {
			t.Fatalf("%v: %v: %s", test.args, err, said)
		}
		container := manager(t, out).Spec.Template.Spec.Containers[0]
		want := []string{"--leader-elect"}
		if test.flag != "" {
			want = append(want, test.flag)
		}
		if container.Image != "registry.test/operator:v1" || strings.Join(container.Args, " ") != strings.Join(want, " ") {
			t.Errorf("%v: image %s with %v, want %v", test.args, container.Image, container.Args, want)
		}
		if !strings.HasSuffix(said, test.said) || (test.said == "" && strings.Contains(said, "EXTERNAL_URL")) {
			t.Errorf("%v: it says %q", test.args, said)
		}
	}
}

func TestNothingIsDeployedWithoutAnImage(t *testing.T) {
	for _, target := range []string{"deploy", "build-installer", "push"} {
		out, said, err := runMake(t, target, "IMG=", "EXTERNAL_URL=https://connect.test")
		if err == nil || out != "" || !strings.HasPrefix(said, "name the image: make "+target+" IMG=") {
			t.Errorf("%s: %v, %q, %q", target, err, out, said)
		}
	}
}

// TestNoManifestNamesAPlaceHolderForTheExternalURL: it would be taken for true, and registered at authorization
// servers.
func TestNoManifestNamesAPlaceHolderForTheExternalURL(t *testing.T) {
	for _, folder := range []string{"config/default", "config/namespaced/operator"} {
		for _, arg := range manager(t, render(t, folder)).Spec.Template.Spec.Containers[0].Args {
			if strings.Contains(arg, "external-url") {
				t.Errorf("%s sets %s", folder, arg)
			}
		}
	}
}

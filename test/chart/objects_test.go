package chart

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

// object is one of a manifest.
type object = unstructured.Unstructured

// id names an object: Kind/namespace/name, without a namespace Kind/name.
func id(o *object) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + "/" + o.GetName()
	}
	return o.GetKind() + "/" + o.GetNamespace() + "/" + o.GetName()
}

// parse reads a manifest; no object may be in it twice.
func parse(t *testing.T, manifest string) map[string]*object {
	t.Helper()
	objects := map[string]*object{}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		must(t, err)
		o := &object{}
		must(t, yaml.UnmarshalStrict(document, &o.Object))
		if len(o.Object) == 0 {
			continue
		}
		if objects[id(o)] != nil {
			t.Errorf("%s is there twice", id(o))
		}
		objects[id(o)] = o
	}
}

// kustomize is what kubectl makes of a folder.
func kustomize(t *testing.T, folder string) map[string]*object {
	t.Helper()
	assets, err := harness.Assets(t.Context())
	must(t, err)
	out, err := exec.CommandContext(t.Context(), filepath.Join(assets, "kubectl"), "kustomize", folder).Output()
	must(t, err)
	return parse(t, string(out))
}

// overlay is a kustomization that gives these folders the names and the namespace of config/default.
func overlay(t *testing.T, folders ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	text := "namespace: " + harness.OperatorNamespace + "\nnamePrefix: mcp-connection-\nresources:\n"
	for _, folder := range folders {
		relative, err := filepath.Rel(dir, harness.InRepository(folder))
		must(t, err)
		text += "  - " + relative + "\n"
	}
	must(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

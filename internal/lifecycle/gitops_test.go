package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// gitopsStates is where GitOps tools' judges find an object in every state. It is part of what is given to Argo CD.
var gitopsStates = filepath.Join("..", "..", "config", "gitops", "argocd", "mcp-connection.dev", "MCPConnection",
	"testdata")

// gitopsObjects are objects as an API server shows them, by the name of their state: in each state of a status, and
// before the operator has looked at them.
func gitopsObjects(t testing.TB) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	add := func(name string, conn *v1alpha1.MCPConnection, changes ...func(*unstructured.Unstructured)) {
		conn.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MCPConnection"}
		conn.CreationTimestamp = metav1.NewTime(epoch)
		if conn.Status.Next != nil {
			conn.Status.Next.Basis = "" // which another version of the plan changes in all of them
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(conn)
		if err != nil {
			t.Fatal(err)
		}
		obj := &unstructured.Unstructured{Object: content}
		for _, change := range changes {
			change(obj)
		}
		out[name] = obj
	}
	for name, s := range states() {
		add(name, reported(epoch.Add(s.at), s.o))
	}
	for name, o := range map[string]*State{"all is well": given(granted(), published),
		"a link is open": given(offered())} {
		conn := reported(epoch, o)
		conn.Generation++
		add(name+", but an edit was not seen yet", conn)
	}
	add("nobody has looked at it", given().Conn, func(obj *unstructured.Unstructured) {
		obj.SetFinalizers(nil)
		obj.Object["status"] = map[string]any{"observedGeneration": int64(-1)} // the default of the schema
	})
	return out
}

// fileOfState is a state's name as that of a file.
func fileOfState(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) }), "-") + ".yaml"
}

// TestStatesOfGitOpsToolsAreThoseOfStatus: UPDATE=1 writes them. test/gitops judges them.
func TestStatesOfGitOpsToolsAreThoseOfStatus(t *testing.T) {
	update := os.Getenv("UPDATE") != ""
	wanted := map[string]bool{}
	for name, obj := range gitopsObjects(t) {
		text, err := yaml.Marshal(obj.Object)
		if err != nil {
			t.Fatal(err)
		}
		text = append([]byte("# "+name+"\n"), text...)
		file := filepath.Join(gitopsStates, fileOfState(name))
		if wanted[file] {
			t.Errorf("two states are written to %s", file)
		}
		wanted[file] = true
		if update {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if old, err := os.ReadFile(file); err != nil || string(old) != string(text) {
			t.Errorf("%s is not the state of today, %v; write it: UPDATE=1 go test ./internal/lifecycle -run '^%s$'", file, err,
				t.Name())
		}
	}
	files, err := filepath.Glob(filepath.Join(gitopsStates, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !wanted[file] {
			t.Errorf("no state belongs to %s; delete it", file)
		}
	}
}

package controller

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// kstatus is what Flux makes of the world's connection as the API server shows it now. The program of test/gitops/kstatus says so.
func (w *world) kstatus(binary string) string {
	w.t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MCPConnection"))
	w.must(api.Get(w.t.Context(), w.key, obj))
	text, err := json.Marshal(obj.Object)
	w.must(err)
	judge := exec.CommandContext(w.t.Context(), binary)
	judge.Stdin = bytes.NewReader(text)
	out, err := judge.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	status, _, _ := strings.Cut(string(out), ":")
	return status
}

func TestKstatusWaitsForWhatNobodyHasLookedAt(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "kstatus")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..", "test", "gitops", "kstatus")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./test/gitops/kstatus: %v: %s", err, out)
	}
	var w *world
	want := func(when, status string) {
		t.Helper()
		if got := w.kstatus(binary); got != status {
			t.Errorf("%s kstatus says %s, not %s", when, got, status)
		}
	}
	w = newWorld(t)
	beforeTheRules(t, func() { w.create() })
	want("of an object from before the default", "InProgress")
	w.reconcile()
	want("while a person is waited for", "InProgress")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	want("of a token that is published", "Current")
	conn := w.get()
	conn.Spec.Suspend = ptr.To(true)
	w.must(api.Update(t.Context(), conn))
	want("after an edit", "InProgress")
	w.reconcile()
	want("of a token that is published and kept as it is", "Current")
	w.must(api.Delete(t.Context(), w.get()))
	want("of what is being deleted", "Terminating")

	w = newWorld(t, func(c *oauthtest.Config) { c.NoRegistration = true })
	w.create()
	want("of an object that is new", "InProgress")
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonNoRegistrationMethod)
	want("where only an edit helps", "Failed")
}

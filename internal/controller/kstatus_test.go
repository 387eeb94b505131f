package controller

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// kstatus is what Flux makes of the world's connection as the API server shows it now. The program of
// test/gitops/kstatus says so.
func (w *world) kstatus(binary string) string {
	GinkgoHelper()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MCPConnection"))
	w.must(api.Get(w.ctx, w.key, obj))
	text, err := json.Marshal(obj.Object)
	w.must(err)
	judge := exec.CommandContext(w.ctx, binary)
	judge.Stdin = bytes.NewReader(text)
	out, err := judge.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%v: %s", err, out)
	status, _, _ := strings.Cut(string(out), ":")
	return status
}

var _ = Describe("Kstatus", Label("gitops"), func() {
	It("waits for what nobody has looked at", func(ctx SpecContext) {
		binary := filepath.Join(GinkgoT().TempDir(), "kstatus")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
		build.Dir = filepath.Join("..", "..", "test", "gitops", "kstatus")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "go build ./test/gitops/kstatus: %s", out)
		w := newWorld()
		beforeTheRules(func() { w.create() })
		Expect(w.kstatus(binary)).To(Equal("InProgress"), "of an object from before the default")
		w.reconcile()
		Expect(w.kstatus(binary)).To(Equal("InProgress"), "while a person is waited for")
		w.consent()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.kstatus(binary)).To(Equal("Current"), "of a token that is published")
		conn := w.get()
		conn.Spec.Suspend = ptr.To(true)
		Expect(api.Update(ctx, conn)).To(Succeed())
		Expect(w.kstatus(binary)).To(Equal("InProgress"), "after an edit")
		w.reconcile()
		Expect(w.kstatus(binary)).To(Equal("Current"), "of a token that is published and kept as it is")
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		Expect(w.kstatus(binary)).To(Equal("Terminating"), "of what is being deleted")

		w = newWorld(func(c *oauthtest.Config) { c.NoRegistration = true })
		w.create()
		Expect(w.kstatus(binary)).To(Equal("InProgress"), "of an object that is new")
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonNoRegistrationMethod)
		Expect(w.kstatus(binary)).To(Equal("Failed"), "where only an edit helps")
	})
})

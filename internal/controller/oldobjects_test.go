package controller

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// lax is a schema with which everything passes that has the right types.
func lax(node any) any {
	switch n := node.(type) {
	case map[string]any:
		n = maps.Clone(n)
		for _, bound := range []string{
			"x-kubernetes-validations", "pattern", "enum", "format", "minimum", "maximum", "minLength", "maxLength", "minItems",
			"maxItems", "minProperties", "maxProperties",
		} {
			if _, isField := n[bound].(map[string]any); !isField {
				delete(n, bound)
			}
		}
		for key, child := range n {
			if key != "default" {
				n[key] = lax(child)
			}
		}
		return n
	case []any:
		for i := range n {
			n[i] = lax(n[i])
		}
		return n
	}
	return node
}

// install replaces the CustomResourceDefinition by one with this schema, and waits until it judges, strictly or not.
func install(schema map[string]any, strict bool) {
	GinkgoHelper()
	ctx := context.Background() // a spec whose time is over leaves today's rules behind all the same
	live := crd(GinkgoTB())
	Expect(api.Get(ctx, client.ObjectKeyFromObject(live), live)).To(Succeed())
	versions, _, _ := unstructured.NestedSlice(live.Object, "spec", "versions")
	versions[0].(map[string]any)["schema"] = map[string]any{"openAPIV3Schema": schema}
	Expect(unstructured.SetNestedSlice(live.Object, versions, "spec", "versions")).To(Succeed())
	Expect(api.Update(ctx, live)).To(Succeed())
	Eventually(func() bool {
		return apierrors.IsInvalid(api.Create(ctx, document("serverURL: ftp://"), client.DryRunAll))
	}).WithTimeout(time.Minute).WithPolling(50*time.Millisecond).Should(Equal(strict),
		"the API server does not take up the schema")
}

// beforeTheRules runs create against an API server whose schema has no rule and no bound yet, then installs those of
// today.
func beforeTheRules(create func()) {
	GinkgoHelper()
	today := rootSchema(GinkgoTB(), crd(GinkgoTB()))
	old := lax(rootSchema(GinkgoTB(), crd(GinkgoTB()))).(map[string]any)
	status := old["properties"].(map[string]any)["status"].(map[string]any)
	delete(status, "default")
	delete(status["properties"].(map[string]any)["observedGeneration"].(map[string]any), "default")
	defer install(today, true)
	install(old, false)
	create()
}

var _ = Describe("An object from before a rule", func() {
	// Each row breaks a rule of today, and TestEveryRuleOfTheSchemaHasABadSpec asks for a row for every rule to come.
	// Status is still written, and the finalizer comes off.
	It("is still kept and let go", func(ctx SpecContext) {
		var stored []*unstructured.Unstructured
		beforeTheRules(func() {
			for i, bad := range ruledOut {
				obj := document(bad.spec)
				if obj.GetName() == "c" {
					obj.SetName(fmt.Sprintf("old-%d", i))
				}
				obj.SetFinalizers([]string{v1alpha1.Finalizer})
				Expect(api.Create(ctx, obj)).To(Succeed(), bad.name)
				stored = append(stored, obj)
			}
		})
		for i, obj := range stored {
			before := obj.DeepCopy()
			Expect(unstructured.SetNestedField(obj.Object, int64(1), "status", "observedGeneration")).To(Succeed())
			Expect(api.Status().Patch(ctx, obj, client.MergeFrom(before))).To(Succeed(), "%s: status cannot be written",
				ruledOut[i].name)
			before = obj.DeepCopy()
			obj.SetFinalizers(nil)
			Expect(api.Patch(ctx, obj, client.MergeFrom(before))).To(Succeed(), "%s: the finalizer cannot be removed",
				ruledOut[i].name)
			Expect(api.Delete(ctx, obj)).To(Succeed(), ruledOut[i].name)
		}
	})
})

var _ = Describe("A connection from before the rule for names", func() {
	It("is reconciled and deleted", func(ctx SpecContext) {
		w := newWorld()
		w.key.Name = longName
		beforeTheRules(func() {
			obj := document("serverURL: " + w.server.MCPURL())
			obj.SetNamespace(w.key.Namespace)
			obj.SetName(w.key.Name)
			Expect(api.Create(ctx, obj)).To(Succeed())
		})
		w.reconcile()
		w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
		Expect(w.look(w.get().Status.AuthorizationURL)).To(Equal(http.StatusOK), "what the link answers")
		w.edit(func(conn *v1alpha1.MCPConnection) { conn.Spec.Suspend = ptr.To(true) })
		w.want(ready, isFalse, v1alpha1.ReasonSuspended)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		w.reconcile()
		Expect(w.gone()).To(BeTrue(), "the object is left")
	})
})

package controller

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// crd is the CustomResourceDefinition of this version.
func crd(t testing.TB) *unstructured.Unstructured {
	t.Helper()
	source, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(source, &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

// rootSchema is the schema of a connection.
func rootSchema(t testing.TB, crd *unstructured.Unstructured) map[string]any {
	t.Helper()
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	schema, found, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil || !found || len(versions) != 1 {
		t.Fatal("the CustomResourceDefinition has not one version", err)
	}
	return schema
}

// lax is a schema with which everything passes that has the right types.
func lax(node any) any {
	switch n := node.(type) {
	case map[string]any:
		n = maps.Clone(n)
		for _, bound := range []string{
			"x-kubernetes-validations", "pattern", "enum", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
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
func install(t testing.TB, schema map[string]any, strict bool) {
	t.Helper()
	live := crd(t)
	if err := api.Get(context.Background(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(live.Object, "spec", "versions")
	versions[0].(map[string]any)["schema"] = map[string]any{"openAPIV3Schema": schema}
	if err := unstructured.SetNestedSlice(live.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	if err := api.Update(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		refused := api.Create(ctx, document(t, "serverURL: ftp://"), client.DryRunAll)
		return apierrors.IsInvalid(refused) == strict, nil
	})
	if err != nil {
		t.Fatal("the API server does not take up the schema: ", err)
	}
}

// beforeTheRules runs create against an API server whose schema has no rule and no bound yet, then installs those of today.
func beforeTheRules(t testing.TB, create func()) {
	t.Helper()
	if err := controlPlane(); err != nil {
		t.Fatal(err)
	}
	today := rootSchema(t, crd(t))
	old := lax(rootSchema(t, crd(t))).(map[string]any)
	status := old["properties"].(map[string]any)["status"].(map[string]any)
	delete(status, "default")
	delete(status["properties"].(map[string]any)["observedGeneration"].(map[string]any), "default")
	defer install(t, today, true)
	install(t, old, false)
	create()
}

// TestAnObjectFromBeforeARuleIsStillKeptAndLetGo: each row breaks a rule of today, and TestEveryRuleOfTheSchemaHasABadSpec
// asks for a row for every rule to come. Status is still written, and the finalizer comes off.
func TestAnObjectFromBeforeARuleIsStillKeptAndLetGo(t *testing.T) {
	var stored []*unstructured.Unstructured
	beforeTheRules(t, func() {
		for i, tt := range ruledOut {
			obj := document(t, tt.spec)
			if obj.GetName() == "c" {
				obj.SetName(fmt.Sprintf("old-%d", i))
			}
			obj.SetFinalizers([]string{v1alpha1.Finalizer})
			if err := api.Create(t.Context(), obj); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			stored = append(stored, obj)
		}
	})
	for i, obj := range stored {
		before := obj.DeepCopy()
		if err := unstructured.SetNestedField(obj.Object, int64(1), "status", "observedGeneration"); err != nil {
			t.Fatal(err)
		}
		if err := api.Status().Patch(t.Context(), obj, client.MergeFrom(before)); err != nil {
			t.Errorf("%s: status cannot be written: %v", ruledOut[i].name, err)
		}
		before = obj.DeepCopy()
		obj.SetFinalizers(nil)
		if err := api.Patch(t.Context(), obj, client.MergeFrom(before)); err != nil {
			t.Errorf("%s: the finalizer cannot be removed: %v", ruledOut[i].name, err)
		}
		if err := api.Delete(t.Context(), obj); err != nil {
			t.Errorf("%s: %v", ruledOut[i].name, err)
		}
	}
}

func TestAConnectionFromBeforeTheRuleForNamesIsReconciledAndDeleted(t *testing.T) {
	w := newWorld(t)
	w.key.Name = longName
	beforeTheRules(t, func() {
		obj := document(t, "serverURL: "+w.server.MCPURL())
		obj.SetNamespace(w.key.Namespace)
		obj.SetName(w.key.Name)
		w.must(api.Create(t.Context(), obj))
	})
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if status := w.look(w.get().Status.AuthorizationURL); status != http.StatusOK {
		t.Errorf("the link answers %d", status)
	}
	w.edit(func(conn *v1alpha1.MCPConnection) { conn.Spec.Suspend = ptr.To(true) })
	w.want(ready, isFalse, v1alpha1.ReasonSuspended)
	w.must(api.Delete(t.Context(), w.get()))
	w.reconcile()
	if conn := w.get(); conn != nil {
		t.Errorf("it still has the finalizers %v", conn.Finalizers)
	}
}

func TestARuleAtTheRootJudgesNewObjectsOnly(t *testing.T) {
	rules, _ := rootSchema(t, crd(t))["x-kubernetes-validations"].([]any)
	if len(rules) == 0 {
		t.Error("there is none")
	}
	for _, rule := range rules {
		r := rule.(map[string]any)
		if text, _ := r["rule"].(string); r["optionalOldSelf"] != true || !strings.HasPrefix(text, "oldSelf.hasValue() || ") {
			t.Errorf("an object from before it would get no status any more, and keep its finalizer: %v", r["rule"])
		}
	}
}

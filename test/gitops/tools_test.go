package gitops

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/object"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notificationv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/test/harness"
)

func tools(t *testing.T, plane *harness.ControlPlane) map[string]tool {
	t.Helper()
	var k kustomizev1.Kustomization
	decodeKit(t, "Kustomization", &k)
	reader, err := cel.NewStatusReader(k.Spec.HealthCheckExprs)
	if err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(plane.Config)
	config.QPS = -1 // polling must not be held back
	unlimited, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mapper := unlimited.RESTMapper()
	poller := polling.NewStatusPoller(unlimited, mapper,
		polling.Options{CustomStatusReaders: []engine.StatusReader{reader(mapper)}})
	return map[string]tool{
		"flux": &flux{ssa.NewResourceManager(unlimited, poller,
			ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})},
		"argo cd server-side":     &argoServerSide{unlimited},
		"argo cd as kubectl does": &argoClientSide{plane},
	}
}

// decodeKit reads the object of the connections from the kit for Flux.
func decodeKit(t *testing.T, kind string, into any) {
	t.Helper()
	for _, obj := range build(t, kit+"/flux") {
		if obj.GetKind() == kind && obj.GetName() == "mcp-connections" {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("the kit for Flux has no %s", kind)
}

func unmarshalYAML(text string, obj *unstructured.Unstructured) error {
	out, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	return obj.UnmarshalJSON(out)
}

// flux is kustomize-controller's own library, with the clean-up that the controller asks it for (v1.9).
type flux struct{ *ssa.ResourceManager }

func (*flux) manager() string { return "kustomize-controller" }
func (*flux) cleans() bool    { return true }

func (f *flux) apply(ctx context.Context, desired *unstructured.Unstructured) (bool, error) {
	options := ssa.DefaultApplyOptions()
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation, "kustomize.toolkit.fluxcd.io/checksum",
			"fluxcd.io/sync-checksum"},
		Labels: []string{"fluxcd.io/sync-gc-mark"},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: f.manager(), OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{"kustomize.toolkit.fluxcd.io/ssa": "Merge"},
	}
	entry, err := f.Apply(ctx, desired, options)
	return err == nil && entry.Action != ssa.UnchangedAction, err
}

func (f *flux) prune(ctx context.Context, desired *unstructured.Unstructured) error {
	_, err := f.Delete(ctx, desired, ssa.DefaultDeleteOptions())
	return err
}

// watches lets Flux wait for longer than it may: what it then says must pass the Alert of the kit.
func (f *flux) watches(l *life) {
	l.Helper()
	err := f.WaitForSetWithContext(l.Context(), object.UnstructuredSetToObjMetadataSet(
		[]*unstructured.Unstructured{l.desired}),
		ssa.WaitOptions{Interval: 100 * time.Millisecond, Timeout: 5 * time.Second})
	if err == nil {
		l.Fatal("Flux does not wait for a person")
	}
	l.Logf("Flux: health check failed: %v", err)
	var alert notificationv1.Alert
	decodeKit(l.T, "Alert", &alert)
	if alert.Spec.EventSeverity != "error" || len(alert.Spec.EventSources) != 1 ||
		alert.Spec.EventSources[0].Name != "mcp-connections" ||
		len(alert.Spec.InclusionList) != 1 || !regexp.MustCompile(alert.Spec.InclusionList[0]).MatchString(err.Error()) ||
		!strings.Contains(err.Error(), "InProgress") {
		l.Errorf("the Alert %+v does not let through: %v", alert.Spec, err)
	}
}

// argoServerSide is Argo CD with ServerSideApply=true.
type argoServerSide struct{ client.Client }

func (*argoServerSide) manager() string { return "argocd-controller" }
func (*argoServerSide) cleans() bool    { return false }
func (*argoServerSide) watches(*life)   {}

func (a *argoServerSide) apply(ctx context.Context, desired *unstructured.Unstructured) (bool, error) {
	before := desired.DeepCopy()
	if err := a.Get(ctx, client.ObjectKeyFromObject(desired), before); client.IgnoreNotFound(err) != nil {
		return false, err
	}
	err := a.Apply(ctx, client.ApplyConfigurationFromUnstructured(desired), client.FieldOwner(a.manager()),
		client.ForceOwnership)
	if err != nil {
		return false, err
	}
	after := desired.DeepCopy()
	return after.GetGeneration() != before.GetGeneration() || before.GetUID() == "", nil
}

func (a *argoServerSide) prune(ctx context.Context, desired *unstructured.Unstructured) error {
	return a.Delete(ctx, desired)
}

// argoClientSide is Argo CD's default: what kubectl apply does, which is its code.
type argoClientSide struct{ *harness.ControlPlane }

func (*argoClientSide) manager() string { return "kubectl-client-side-apply" }
func (*argoClientSide) cleans() bool    { return false }
func (*argoClientSide) watches(*life)   {}

func (a *argoClientSide) apply(ctx context.Context, desired *unstructured.Unstructured) (bool, error) {
	text, err := yaml.Marshal(desired.Object)
	if err != nil {
		return false, err
	}
	out, err := a.Apply(ctx, desired.GetNamespace(), string(text))
	return !strings.Contains(out, "unchanged"), err
}

func (a *argoClientSide) prune(ctx context.Context, desired *unstructured.Unstructured) error {
	return a.Client.Delete(ctx, desired)
}

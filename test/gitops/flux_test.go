package gitops

import (
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	notificationv1 "github.com/fluxcd/notification-controller/api/v1beta3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/yaml"
)

// TestFluxKnowsEveryField decodes the kit strictly into Flux's own types.
func TestFluxKnowsEveryField(t *testing.T) {
	scheme := runtime.NewScheme()
	utilruntime.Must(kustomizev1.AddToScheme(scheme))
	utilruntime.Must(notificationv1.AddToScheme(scheme))
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, folder := range []string{"flux", "flux-without-people"} {
		kinds := map[string]int{}
		for _, obj := range build(t, kit+"/"+folder) {
			text, err := yaml.Marshal(obj.Object)
			if err != nil {
				t.Fatal(err)
			}
			decoded, kind, err := decoder.Decode(text, nil, nil)
			if err != nil {
				t.Errorf("%s/%s: %v", folder, obj.GetName(), err)
				continue
			}
			kinds[kind.Kind]++
			if k, ok := decoded.(*kustomizev1.Kustomization); ok && (k.Spec.Timeout == nil || len(k.Spec.DependsOn) != 1 ||
				!k.Spec.Wait) {
				t.Errorf("%s/%s waits for nothing, or for ever", folder, k.Name)
			}
		}
		if kinds["Kustomization"] != 2 || kinds["Alert"] != 1 || kinds["Provider"] != 1 {
			t.Errorf("%s has %v", folder, kinds)
		}
	}
}

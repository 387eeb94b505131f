// Package v1alpha1 is the API group mcp-connection.dev: the MCPConnection kind, its condition types and reasons, and
// the annotations people may set on it. It knows nothing else of the operator.
//
// Whoever writes a connection owns its spec; the operator writes status, and of metadata its finalizer alone:
//
//	spec.serverURL           enough for a server that follows the MCP specification; each deviation is asked for by name
//	metadata.annotations     requests (AnnotationReauthorize and its neighbours): a new value is one request, and
//	                         status.lastHandled has it once it was acted on
//	status.conditions        Discovered, Registered, Authorized and Probed, absent until they are reached, and Ready;
//	                         Reconciling and Stalled are those of kstatus. All are derived from facts, each time
//	status.authorizationURL  the link for a person, whenever a consent would help
//	status.token             which Secret holds the token, until when, and when it is refreshed; the Secret's keys are
//	                         KeyAccessToken and its neighbours
//	status.failure           the step that fails, since when, and when it is tried again
//	status.next              what the operator does next by itself, and when; until then it leaves the connection alone
//
// What contradicts itself in a spec is refused by the API server, by the CEL rules in the markers of the types. The CRD
// and the DeepCopy methods are generated from this package: make generate manifests.
//
// +kubebuilder:object:generate=true
// +groupName=mcp-connection.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion names this group and version.
	GroupVersion = schema.GroupVersion{Group: "mcp-connection.dev", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add this group's kinds to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds this group's kinds to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &MCPConnection{}, &MCPConnectionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

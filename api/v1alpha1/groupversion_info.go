// Package v1alpha1 is the API group mcp-connection.dev: the MCPConnection kind,
// its condition types and reasons, and the annotations people may set on it.
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

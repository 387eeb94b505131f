package credential

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Connection says whose credentials are meant.
type Connection struct {
	UID       types.UID
	Namespace string
	Name      string
}

// ConnectionOf is the connection that a credential Secret names, by its metadata; false if it names none.
func ConnectionOf(secret metav1.Object) (types.NamespacedName, bool) {
	namespace, name, named := strings.Cut(secret.GetAnnotations()[AnnotationConnection], "/")
	return types.NamespacedName{Namespace: namespace, Name: name}, named
}

// SecretMetadata is what the metadata of a Secret are read into.
func SecretMetadata() *metav1.PartialObjectMetadata {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return secret
}

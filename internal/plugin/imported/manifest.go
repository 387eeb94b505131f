package imported

import (
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// objects are the Secret and the connection that takes it over.
func (g *grant) objects(namespace, name, resource string) (*corev1.Secret, *v1alpha1.MCPConnection) {
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-import"},
		Type:       corev1.SecretTypeOpaque,
		StringData: map[string]string{"issuer": g.Issuer, "client_id": g.ClientID, "refresh_token": g.RefreshToken},
	}
	connection := &v1alpha1.MCPConnection{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "MCPConnection"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.MCPConnectionSpec{
			ServerURL: g.ServerURL, ImportSecretRef: &v1alpha1.SecretReference{Name: secret.Name},
		},
	}
	if g.ClientSecret != "" {
		secret.StringData["client_secret"] = g.ClientSecret
		if g.AuthMethod == "client_secret_basic" || g.AuthMethod == "client_secret_post" {
			connection.Spec.Client = &v1alpha1.ClientSpec{AuthMethod: g.AuthMethod}
		}
	}
	if resource != "" {
		connection.Spec.Compatibility = &v1alpha1.CompatibilitySpec{
			Resource: &v1alpha1.ResourceSpec{Mode: v1alpha1.ResourceModeExplicit, Value: resource}}
	}
	return secret, connection
}

// write prints both as manifests.
func write(w io.Writer, secret *corev1.Secret, connection *v1alpha1.MCPConnection) error {
	identity := func(m metav1.ObjectMeta) map[string]any {
		return map[string]any{"name": m.Name, "namespace": m.Namespace}
	}
	for i, document := range []map[string]any{
		{"apiVersion": secret.APIVersion, "kind": secret.Kind, "metadata": identity(secret.ObjectMeta), "type": secret.Type,
			"stringData": secret.StringData},
		{"apiVersion": connection.APIVersion, "kind": connection.Kind, "metadata": identity(connection.ObjectMeta),
			"spec": connection.Spec},
	} {
		text, err := yaml.Marshal(document)
		if err != nil {
			return fmt.Errorf("write the manifest: %w", err)
		}
		if i > 0 {
			text = append([]byte("---\n"), text...)
		}
		if _, err := w.Write(text); err != nil {
			return fmt.Errorf("write the manifest: %w", err)
		}
	}
	return nil
}

package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestAConnectionCannotReferToWhatOnlyTheOperatorReads(t *testing.T) {
	for secretType, readable := range map[string]bool{
		"":                            true,
		v1alpha1.SecretTypeToken:      true,
		v1alpha1.SecretTypeCredential: false,
		v1alpha1.SecretTypeSigningKey: false,
	} {
		t.Run("type "+secretType, func(t *testing.T) {
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "operator", Name: "referred", Labels: map[string]string{v1alpha1.LabelSecretType: secretType}},
				Data:       map[string][]byte{"token": []byte("value")},
			}
			o := &observed{conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "operator"}}}
			r := &Reconciler{Secrets: fake.NewClientBuilder().WithObjects(secret).Build()}
			data, err := r.secretData(t.Context(), o, "referred", "spec.assertion.secretRef")
			if err != nil {
				t.Fatal(err)
			}
			if (data != nil) != readable {
				t.Errorf("readable is %t, want %t", data != nil, readable)
			}
		})
	}
}

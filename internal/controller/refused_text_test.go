package controller

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mcp-connection/operator/internal/credential"
)

func TestARefusalOfTheAPIServerRepeatsNoSecret(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"grants": []byte(`[{"refresh_token":"a-refresh-token"}]`),
		"access_token": []byte("an-access-token")}}
	secret.Namespace, secret.Name = "team", "c-token"
	err := credential.NewWriteError("update", secret, apierrors.NewForbidden(corev1.Resource("secrets"), "c-token",
		fmt.Errorf("policy echo: a-refresh-token, an-access-token, YW4tYWNjZXNzLXRva2Vu")))
	_, message := refusedText(err)
	for _, text := range []string{err.Error(), message} {
		if strings.Contains(text, "a-refresh-token") || strings.Contains(text, "an-access-token") ||
			strings.Contains(text, "YW4t") || !strings.Contains(text, "policy echo") {
			t.Errorf("the text is %q", text)
		}
	}
}

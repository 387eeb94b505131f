package credential

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestARefusalRepeatsNoValueOfTheSecret(t *testing.T) {
	const token, inside = "the-whole-value", "a-value-within-json"
	secret := &corev1.Secret{Data: map[string][]byte{"token": []byte(token),
		"grants": []byte(`[{"refresh_token":"` + inside + `"}]`)}}
	encoded := base64.StdEncoding.EncodeToString([]byte(token))
	err := NewWriteError("update", secret, errors.New("denied: "+token+" "+inside+" "+encoded+" by the policy frozen"))
	for _, value := range []string{token, inside, encoded} {
		if strings.Contains(err.Error(), value) {
			t.Errorf("it repeats %s", value)
		}
	}
	if !strings.Contains(err.Error(), "by the policy frozen") {
		t.Errorf("it says %q", err)
	}
}

package credential

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestEveryKeyIsReadBackAsItWasWritten(t *testing.T) {
	c := &Credential{
		Registrations: []Registration{{Issuer: "i", RedirectURI: "r", Client: mcpoauth.ClientRegistration{ClientID: "c",
			ClientSecret: "s"}, CreatedAt: noon, ExpiredConsents: 2}},
		Grants: []Grant{{Binding: Binding{ServerURL: "u", Scopes: []string{"a"},
			Parameters: map[string]string{"p": "v"}}, AccessToken: "at", ExpiresAt: noon, Claim: &Claim{ID: "x", Holder: "h"},
			SetAside: &SetAside{Reason: "r", At: noon}}},
		Authorization: Authorization{Revision: 3, Handled: 2, Offer: offer("t"), Requests: []Request{request("s", "b")},
			Response: &Response{Request: request("s2", "b"), Code: "c", ReceivedAt: noon}, Retired: []string{"x"}},
	}
	secret := &corev1.Secret{}
	if changed, err := encode(c, secret, nil); err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	if secret.Annotations[AnnotationRevision] != "3" || secret.Annotations[AnnotationHandled] != "2" ||
		string(secret.Data[keyFormat]) != "1" {
		t.Errorf("annotations %v, format %s", secret.Annotations, secret.Data[keyFormat])
	}
	for key, raw := range secret.Data {
		if !json.Valid(raw) {
			t.Errorf("key %s is not JSON", key)
		}
	}
	got, err := decode(secret)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("read back %+v, %v", got, err)
	}
	if changed, err := encode(c, secret, secret.Data); err != nil || changed {
		t.Errorf("writing the same again: %v, %v", changed, err)
	}
}

func TestEmptySecretIsAnEmptyCredential(t *testing.T) {
	if got, err := decode(&corev1.Secret{}); err != nil || !reflect.DeepEqual(got, &Credential{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAChangeOfOneKeyLeavesTheBytesOfTheOthersAlone(t *testing.T) {
	grants := []byte(`[{"server_url":"https://mcp.example.com","a_later_member":"kept"}]`)
	secret := &corev1.Secret{Data: map[string][]byte{keyFormat: []byte("1"), keyGrants: grants}}
	c, err := decode(secret)
	if err != nil {
		t.Fatal(err)
	}
	before, err := marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Authorization.Revision++
	changed, err := encode(c, secret, before)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if string(secret.Data[keyGrants]) != string(grants) {
		t.Errorf("grants became %s", secret.Data[keyGrants])
	}
}

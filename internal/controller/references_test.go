package controller

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
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
				ObjectMeta: metav1.ObjectMeta{Namespace: "operator", Name: "referred",
					Labels: map[string]string{v1alpha1.LabelSecretType: secretType}},
				Data: map[string][]byte{"token": []byte("value")},
			}
			o := &lifecycle.State{Conn: &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "operator"}}}
			r := &Reconciler{Secrets: fake.NewClientBuilder().WithObjects(secret).Build()}
			ref, err := r.reference(t.Context(), doing(o), "referred", "spec.assertion.secretRef")
			if err != nil {
				t.Fatal(err)
			}
			if (ref != nil) != readable {
				t.Errorf("readable is %t, want %t", ref != nil, readable)
			}
		})
	}
}

func TestOneLineBreakAtTheEndOfAReferencedValueGoesAndNothingElseDoes(t *testing.T) {
	for stored, want := range map[string]string{
		"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", "two words": "two words", "": "", "\n": "",
		"ÿ\n":        "ÿ",
		"s3cret\n\n": "?", "s3cret\r": "?", "s3cret\r\n\n": "?", "s3cret ": "?", "s3cret \n": "?", " s3cret": "?",
		"\ns3cret": "?", "\ts3cret": "?",
		"s3\ncret": "?", "s3\x00cret": "?", "s3cret\u00a0": "?", "s3\u0085cret": "?", "\x7fs3cret": "?", "\r\r\n": "?",
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "credentials"},
			Data: map[string][]byte{"client_secret": []byte(stored)}}
		value, wrong, err := (&Reconciler{}).valueOf(t.Context(), &lifecycle.Reference{Secret: secret, Field: "spec.x"},
			"client_secret")
		switch {
		case err != nil:
			t.Error(err)
		case want != "?" && (value != want || wrong != ""):
			t.Errorf("%q is %q, want %q: %s", stored, value, want, wrong)
		case want == "?" && (!strings.Contains(wrong, "client_secret") || !strings.Contains(wrong, "credentials") ||
			strings.Contains(wrong, "cret\n")):
			t.Errorf("%q is %q: %s", stored, value, wrong)
		}
	}
}

func TestWhiteSpaceInReferencedSecretsIsNamedByItsKey(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		keys  map[string][]byte
		spec  func(*v1alpha1.MCPConnectionSpec)
		wrong func(*Reconciler, *work) (string, error)
	}{
		"a client's id": {"client_id", map[string][]byte{"client_id": []byte(" a"), "client_secret": []byte("b")},
			func(s *v1alpha1.MCPConnectionSpec) {
				s.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "referred"}}
			}, clientWrong},
		"a client's secret": {"client_secret", map[string][]byte{"client_id": []byte("a"), "client_secret": []byte("b ")},
			func(s *v1alpha1.MCPConnectionSpec) {
				s.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "referred"}}
			}, clientWrong},
		"a key's id": {"key_id", map[string][]byte{"client_id": []byte("a"), "key_id": []byte("\tb")},
			func(s *v1alpha1.MCPConnectionSpec) {
				s.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "referred"}}
			}, clientWrong},
		"an imported grant": {"refresh_token", map[string][]byte{"refresh_token": []byte("a\nb"), "client_id": []byte("c"),
			"issuer": []byte("https://d")}, func(s *v1alpha1.MCPConnectionSpec) {
			s.ImportSecretRef = &v1alpha1.SecretReference{Name: "referred"}
		}, func(r *Reconciler, o *work) (string, error) {
			i, err := r.referencedGrant(t.Context(), o)
			return i.Missing, err
		}},
		"an initial access token": {"token", map[string][]byte{"token": []byte("a ")}, func(s *v1alpha1.MCPConnectionSpec) {
			s.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "referred"}}
		}, func(r *Reconciler, o *work) (string, error) {
			token, err := r.initialAccessToken(t.Context(), o)
			return token.Missing, err
		}},
		"an assertion": {"token", map[string][]byte{"token": []byte("a.b.c\n\n")}, func(s *v1alpha1.MCPConnectionSpec) {
			s.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "referred", Key: "token"}}
		}, func(r *Reconciler, o *work) (string, error) {
			_, err := r.workloadToken(t.Context(), o, "https://login.example.com", lifecycle.Destination{})
			return err.Error(), nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "referred"}, Data: test.keys}
			r := &Reconciler{Secrets: fake.NewClientBuilder().WithObjects(secret).Build()}
			conn := &v1alpha1.MCPConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "c"}}
			test.spec(&conn.Spec)
			wrong, err := test.wrong(r, doing(&lifecycle.State{Conn: conn}))
			if err != nil || !strings.Contains(wrong, "The key "+test.key+" of the Secret referred") {
				t.Errorf("it says %q: %v", wrong, err)
			}
		})
	}
}

func clientWrong(r *Reconciler, o *work) (string, error) {
	c, err := r.referencedClient(context.Background(), o)
	return c.Missing, err
}

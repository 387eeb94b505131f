package controller

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// references are all ways in which a connection names a Secret whose values go to a server, with the key that is read first.
func references(w *world) map[string]func(*v1alpha1.MCPConnection) {
	return map[string]func(*v1alpha1.MCPConnection){
		"token": func(c *v1alpha1.MCPConnection) {
			c.Spec.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "found"}}
		},
		"client_secret": func(c *v1alpha1.MCPConnection) {
			c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "found"}, Issuer: w.server.Issuer()}
		},
		"client_id": func(c *v1alpha1.MCPConnection) {
			c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials
			c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "found"}, Issuer: w.server.Issuer()}
		},
		"refresh_token": func(c *v1alpha1.MCPConnection) { c.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "found"} },
		"jwt": func(c *v1alpha1.MCPConnection) {
			c.Spec.GrantType = v1alpha1.GrantTypeJWTBearer
			c.Spec.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "found", Key: "jwt"}}
		},
	}
}

// harmless are values of all the keys that a reference may need.
func (w *world) harmless() map[string]string {
	return map[string]string{
		"token": "initial access", "client_id": "found", "client_secret": firstSecret, "refresh_token": "rt", "issuer": w.server.Issuer(), "jwt": w.vouched(w.server.Issuer()),
	}
}

func TestATokenOfThisClusterIsSentNowhereWhateverKeyItIsFoundUnder(t *testing.T) {
	for key := range references(newWorld(t)) {
		for kind, token := range map[string]func(w *world) string{
			"for the API server":                    func(w *world) string { return w.projected("victim", nil) },
			"for another audience":                  func(w *world) string { return w.projected("victim", []string{w.server.Issuer()}) },
			"behind a word":                         func(w *world) string { return "Bearer " + w.projected("victim", nil) },
			"of the cluster's issuer, no more":      func(w *world) string { return w.vouchedBy(clusterIssuer(t.Context()), w.server.Issuer()) },
			"that the API server accepts by itself": nil,
		} {
			t.Run(key+" "+kind, func(t *testing.T) {
				w := newWorld(t)
				w.must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "victim"}}))
				data := w.harmless()
				if token == nil {
					data[key] = w.vouchedBy("", w.server.Issuer())
					w.r.Secrets = reviewing{Client: api, opens: data[key]}
				} else {
					data[key] = token(w)
				}
				w.keep("found", data)
				w.apply(references(w)[key])
				w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
				if m := w.readyMessage(); !strings.Contains(m, "API server") || !strings.Contains(m, key) || !strings.Contains(m, "found") {
					t.Errorf("Ready says %q", m)
				}
				for _, r := range w.server.Requests() {
					if strings.Contains(r.Body+r.Header.Get("Authorization"), data[key]) {
						t.Errorf("%s received it", r.Path)
					}
				}
			})
		}
	}
}

// reviewing is an API server that accepts one token, and counts what it is asked about.
type reviewing struct {
	client.Client
	opens string
	asked *atomic.Int32
}

func (c reviewing) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	review, is := o.(*authenticationv1.TokenReview)
	if !is {
		return c.Client.Create(ctx, o, opts...)
	}
	if c.asked != nil {
		c.asked.Add(1)
	}
	review.Status.Authenticated = review.Spec.Token == c.opens
	return nil
}

func TestASecretOfATypeThatOpensTheClusterIsNobodysCredential(t *testing.T) {
	for key := range references(newWorld(t)) {
		for _, kind := range clusterTokenTypes {
			t.Run(key+" "+string(kind), func(t *testing.T) {
				w := newWorld(t)
				w.must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "victim"}}))
				w.must(api.Create(t.Context(), &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "found", Annotations: map[string]string{corev1.ServiceAccountNameKey: "victim"}},
					Type:       kind, StringData: w.harmless(),
				}))
				w.apply(references(w)[key])
				w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
				if m := w.readyMessage(); !strings.Contains(m, string(kind)) {
					t.Errorf("Ready says %q", m)
				}
				if w.server.Count(oauthtest.TokenPath)+w.server.Count(oauthtest.RegisterPath) != 0 {
					t.Error("something was sent")
				}
			})
		}
	}
}

func TestAStrangersSecretIsNoBusinessOfTheAPIServer(t *testing.T) {
	for name, test := range map[string]struct {
		value func(w *world) string
		want  int32
	}{
		"an opaque value":               {func(*world) string { return "hunter2-hunter2" }, 0},
		"a JWT of another issuer":       {func(w *world) string { return w.vouched("https://auth.example") }, 0},
		"a JWT of nobody is looked at":  {func(w *world) string { return w.vouchedBy("", "https://auth.example") }, 1},
		"a value with dots, but no JWT": {func(*world) string { return "one.two.three" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var asked atomic.Int32
			w.r.Secrets = reviewing{Client: api, asked: &asked}
			if of, err := w.r.isClusterToken(t.Context(), test.value(w)); of || err != nil || asked.Load() != test.want {
				t.Errorf("asked %d times: %t, %v", asked.Load(), of, err)
			}
		})
	}
	t.Run("a JWT of anybody is looked at while the cluster's issuer is unknown", func(t *testing.T) {
		w := newWorld(t)
		var asked atomic.Int32
		w.r.Secrets, w.r.ClusterIssuer = reviewing{Client: api, asked: &asked}, func(context.Context) string { return "" }
		if of, err := w.r.isClusterToken(t.Context(), w.vouched("https://auth.example")); of || err != nil || asked.Load() != 1 {
			t.Errorf("asked %d times: %t, %v", asked.Load(), of, err)
		}
	})
}

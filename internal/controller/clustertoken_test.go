package controller

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// references are all ways in which a connection names a Secret whose values go to a server, by the key that is read
// first.
var references = map[string]func(w *world, c *v1alpha1.MCPConnection){
	"token": func(_ *world, c *v1alpha1.MCPConnection) {
		c.Spec.Client = &v1alpha1.ClientSpec{InitialAccessTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "found"}}
	},
	"client_secret": func(w *world, c *v1alpha1.MCPConnection) {
		c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "found"},
			Issuer: w.server.Issuer()}
	},
	"client_id": func(w *world, c *v1alpha1.MCPConnection) {
		c.Spec.GrantType = v1alpha1.GrantTypeClientCredentials
		c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "found"},
			Issuer: w.server.Issuer()}
	},
	"refresh_token": func(_ *world, c *v1alpha1.MCPConnection) {
		c.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "found"}
	},
	"jwt": func(_ *world, c *v1alpha1.MCPConnection) {
		c.Spec.GrantType = v1alpha1.GrantTypeJWTBearer
		c.Spec.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "found", Key: "jwt"}}
	},
}

// victim creates the ServiceAccount whose token is found.
func (w *world) victim() {
	GinkgoHelper()
	w.must(api.Create(w.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
		Name: "victim"}}))
}

// refer applies a connection that reads the key of the Secret that was found.
func (w *world) refer(key string) {
	GinkgoHelper()
	w.apply(func(c *v1alpha1.MCPConnection) { references[key](w, c) })
}

// harmless are values of all the keys that a reference may need.
func (w *world) harmless() map[string]string {
	return map[string]string{
		"token": "initial access", "client_id": "found", "client_secret": firstSecret, "refresh_token": "rt",
		"issuer": w.server.Issuer(), "jwt": w.vouched(w.server.Issuer()),
	}
}

var _ = Describe("A token of this cluster", Label("security"), func() {
	// accepted is a token that the API server accepts, whoever issued it.
	accepted := func(w *world) string {
		token := w.vouchedBy("", w.server.Issuer())
		w.r.Secrets = reviewing{Client: api, opens: token}
		return token
	}
	var rows []TableEntry
	for _, key := range slices.Sorted(maps.Keys(references)) {
		rows = append(rows,
			Entry(key+" for the API server", key, func(w *world) string { return w.projected("victim", nil) }),
			Entry(key+" for another audience", key, func(w *world) string {
				return w.projected("victim", []string{w.server.Issuer()})
			}),
			Entry(key+" behind a word", key, func(w *world) string { return "Bearer " + w.projected("victim", nil) }),
			Entry(key+" of the cluster's issuer, no more", key,
				func(w *world) string { return w.vouchedBy(clusterIssuer(w.ctx), w.server.Issuer()) }),
			Entry(key+" that the API server accepts by itself", key, accepted),
		)
	}
	DescribeTable("is sent nowhere, whatever key it is found under:", func(key string, token func(*world) string) {
		w := newWorld()
		w.victim()
		data := w.harmless()
		data[key] = token(w)
		w.keep("found", data)
		w.refer(key)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage("API server", key, "found")
		for _, r := range w.server.Requests() {
			received := strings.Contains(r.Body+r.Header.Get("Authorization"), data[key])
			Expect(received).To(BeFalse(), "%s received it", r.Path)
		}
	}, rows)
})

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

var _ = Describe("A Secret of a type that opens the cluster", Label("security"), func() {
	var rows []TableEntry
	for _, key := range slices.Sorted(maps.Keys(references)) {
		for _, kind := range clusterTokenTypes {
			rows = append(rows, Entry(key+" "+string(kind), key, kind))
		}
	}
	DescribeTable("is nobody's credential:", func(ctx SpecContext, key string, kind corev1.SecretType) {
		w := newWorld()
		w.victim()
		Expect(api.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "found",
				Annotations: map[string]string{corev1.ServiceAccountNameKey: "victim"}},
			Type: kind, StringData: w.harmless(),
		})).To(Succeed())
		w.refer(key)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage(string(kind))
		Expect(w.server.Count(oauthtest.TokenPath)+w.server.Count(oauthtest.RegisterPath)).To(BeZero(), "something was sent")
	}, rows)
})

var _ = Describe("A stranger's Secret", Label("security"), func() {
	DescribeTable("is no business of the API server:", func(ctx SpecContext, value func(*world) string, want int) {
		w := newWorld()
		var asked atomic.Int32
		w.r.Secrets = reviewing{Client: api, asked: &asked}
		of, err := w.r.isClusterToken(ctx, value(w))
		Expect(err).NotTo(HaveOccurred())
		Expect(of).To(BeFalse(), "it is taken for the cluster's")
		Expect(asked.Load()).To(BeEquivalentTo(want), "times that the API server was asked")
	},
		Entry("an opaque value", func(*world) string { return "hunter2-hunter2" }, 0),
		Entry("a JWT of another issuer", func(w *world) string { return w.vouched("https://auth.example") }, 0),
		Entry("a JWT of nobody is looked at", func(w *world) string { return w.vouchedBy("", "https://auth.example") }, 1),
		Entry("a value with dots, but no JWT", func(*world) string { return "one.two.three" }, 0),
		Entry("a JWT of anybody is looked at while the cluster's issuer is unknown", func(w *world) string {
			w.r.ClusterIssuer = func(context.Context) string { return "" }
			return w.vouched("https://auth.example")
		}, 1),
	)
})

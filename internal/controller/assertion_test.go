package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// clusterKeys are the public keys that the API server's ServiceAccount tokens are signed with.
func clusterKeys() []jose.JSONWebKey {
	GinkgoHelper()
	c, err := rest.HTTPClientFor(environment.Config)
	Expect(err).NotTo(HaveOccurred())
	resp, err := c.Get(strings.TrimRight(environment.Config.Host, "/") + "/openid/v1/jwks")
	Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	Expect(err).NotTo(HaveOccurred())
	var set jose.JSONWebKeySet
	Expect(json.Unmarshal(body, &set)).To(Succeed())
	Expect(set.Keys).NotTo(BeEmpty())
	return set.Keys
}

// workloads is a world whose authorization server trusts the cluster's ServiceAccounts, and whoever vouches for others.
func workloads() *world {
	keys := append(clusterKeys(), vouchingKey())
	// The API server has a clock of its own: the tokens have to live shorter than its.
	return newWorld(func(c *oauthtest.Config) {
		c.AssertionKeys, c.NoRegistration, c.AccessTokenLifetime = keys, true, 5*time.Minute
	})
}

func (w *world) account(audiences string) {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "agent"}}
	if audiences != "" {
		account.Annotations = map[string]string{v1alpha1.AnnotationAllowedAudiences: audiences}
	}
	w.must(api.Create(w.ctx, account))
}

// pinned names the issuer that assertions may be sent to.
func (w *world) pinned(c *v1alpha1.MCPConnection) {
	c.Spec.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: w.server.Issuer()}
}

func byAccount(c *v1alpha1.MCPConnection) {
	c.Spec.GrantType, c.Spec.ServiceAccountName = v1alpha1.GrantTypeJWTBearer, "agent"
}

func byAssertion(c *v1alpha1.MCPConnection) {
	c.Spec.GrantType = v1alpha1.GrantTypeJWTBearer
	c.Spec.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "identity", Key: "token"}}
}

var _ = Describe("A workload", Label("security"), func() {
	It("is known by its ServiceAccount, and no secret is at rest", func() {
		w := workloads()
		w.account("https://elsewhere.example, " + w.server.Issuer())
		w.apply(byAccount)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		g := w.server.Grants()[0]
		Expect(g.Subject).To(Equal("system:serviceaccount:" + w.key.Namespace + ":agent"))
		Expect(g.ClientID).To(BeEmpty())
		Expect(w.get().Status.Client).To(BeNil(), "status shows a client")
		first := w.server.Last(oauthtest.TokenPath).Form.Get("assertion")
		w.untilRefresh()
		w.reconcile()
		repeated := w.server.Last(oauthtest.TokenPath).Form.Get("assertion") == first
		Expect(repeated).To(BeFalse(), "the renewal sent the old assertion")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
	})
})

var _ = Describe("A token of no client", func() {
	It("is sent nowhere to be revoked", func(ctx SpecContext) {
		w := workloads()
		w.account(w.server.Issuer())
		w.apply(byAccount)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(api.Delete(ctx, w.get())).To(Succeed())
		Expect(w.letGo()).To(BeTrue(), "the connection is still there")
		Expect(w.server.Count(oauthtest.RevokePath)).To(BeZero(), "revocations")
		Expect(w.told("issued to no client")).To(BeTrue(), "no event says that the token lives until it expires")
	})
})

var _ = Describe("An audience that the owner does not allow", Label("security"), func() {
	It("is sent no assertion", func() {
		w := workloads()
		w.account("https://elsewhere.example")
		w.apply(byAccount)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage("'" + v1alpha1.AnnotationAllowedAudiences + "=https://elsewhere.example," + w.server.Issuer() + "'")
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "something was sent")
	})
})

var _ = Describe("A token for the cluster itself", Label("security"), func() {
	It("is never sent, as a ServiceAccount's", func(ctx SpecContext) {
		w := workloads()
		Expect(api.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace,
			Name: "default-audience"}})).To(Succeed())
		audience, err := mcpoauth.AssertionAudience(w.projected("default-audience", nil))
		Expect(err).NotTo(HaveOccurred())
		w.account(audience[0])
		w.apply(byAccount, w.pinned, func(c *v1alpha1.MCPConnection) {
			c.Spec.Assertion = &v1alpha1.AssertionSpec{Audience: audience[0]}
		})
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		Expect(w.readyMessage()).To(Equal(clusterAudience))
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "the token was sent")
	})

	DescribeTable("is no subject token, whatever it is said to be:", func(tokenType string) {
		w, idp := enterprise(vouchesForAlice)
		w.account("")
		w.keep("identity", map[string]string{"token": w.projected("agent", nil)})
		w.apply(w.byExchange(idp), func(c *v1alpha1.MCPConnection) { c.Spec.Assertion.TokenType = tokenType })
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		w.wantMessage("API server")
		Expect(idp.Count(oauthtest.TokenPath)).To(BeZero(), "something was sent")
	},
		Entry("nothing", ""),
		Entry(mcpoauth.TokenTypeIDToken, mcpoauth.TokenTypeIDToken),
		Entry(mcpoauth.TokenTypeJWT, mcpoauth.TokenTypeJWT),
		Entry(mcpoauth.TokenTypeRefreshToken, mcpoauth.TokenTypeRefreshToken),
		Entry("urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:access_token"),
	)
})

var _ = Describe("An assertion", Label("security"), func() {
	const audience = "https://sts.example"
	DescribeTable("for another audience is sent only to the issuer that the spec names:",
		func(form func(*v1alpha1.MCPConnection), ofAccount bool) {
			w := workloads()
			w.server.Configure(func(c *oauthtest.Config) { c.AssertionAudience = audience })
			w.account(audience)
			w.keep("identity", map[string]string{"token": w.vouched(audience)})
			w.apply(form, func(c *v1alpha1.MCPConnection) {
				c.Spec.Assertion = cmp.Or(c.Spec.Assertion, &v1alpha1.AssertionSpec{})
				c.Spec.Assertion.Audience = audience
			})
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			w.wantMessage("spec.authorizationServer.issuer", w.server.Issuer())
			Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "it was sent to an issuer that only the MCP server names")
			w.edit(w.pinned)
			if ofAccount { // its owner allowed the audience, and said nothing of that server
				w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
				w.runCommand(w.readyMessage())
				w.later(time.Minute)
			}
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		},
		Entry("of a ServiceAccount", byAccount, true),
		Entry("from a Secret", byAssertion, false),
	)

	It("that was refused is not sent again", func() {
		w := newWorld(func(c *oauthtest.Config) {
			c.AssertionKeys = []jose.JSONWebKey{vouchingKey()}
			c.CheckAssertion = func(string) error { return fmt.Errorf("not today") }
		})
		w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer()) + "\n"})
		w.apply(byAssertion)
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
		for range 3 {
			w.restart()
			w.later(2 * time.Minute)
		}
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(1), "token requests")
		w.server.Configure(func(c *oauthtest.Config) { c.CheckAssertion = nil })
		w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())})
		w.later(time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "token requests")
	})

	DescribeTable("that cannot be used is not sent, and what is wrong with it is said:",
		func(change func(*world), want string) {
			w := workloads()
			w.account("")
			change(w)
			w.apply(byAssertion)
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			w.wantMessage(want)
			Expect(w.readyMessage()).NotTo(ContainSubstring("hunter2"))
			Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "something was sent")
		},
		Entry("no Secret", func(*world) {}, "does not exist"),
		Entry("no key", func(w *world) { w.keep("identity", map[string]string{"jwt": "x"}) }, "has no key token"),
		Entry("no JWT", func(w *world) { w.keep("identity", map[string]string{"token": "hunter2"}) }, "not a JWT"),
		Entry("another audience", func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched("https://elsewhere.example")})
		}, "is not for"),
		Entry("several audiences", func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer(), "https://elsewhere.example")})
		}, "for 2 audiences"),
		Entry("an expired one", func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())})
			w.clock.SetTime(w.clock.Now().Add(time.Hour))
		}, "expired at"),
	)

	It("that the provider issued for another is not sent", func() {
		w, idp := enterprise(vouchesForAlice)
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		var others string
		idp.Edit(oauthtest.TokenPath, -1, func(answer map[string]any) { answer["access_token"] = others })
		w.account("")
		others = w.projected("agent", []string{"https://elsewhere.example"})
		w.apply(w.byExchange(idp))
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
		w.wantMessage("another audience", idp.Issuer())
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "token requests")
	})
})

var _ = Describe("A forbidden token", Label("security"), func() {
	// The Role of the message is applied, as the reader would.
	It("names the exact Role", func() {
		w := workloads()
		w.account(w.server.Issuer())
		limited := w.limited()
		w.r.Secrets = limited
		w.apply(byAccount)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		_, manifest, found := strings.Cut(w.readyMessage(), "Apply this:\n")
		Expect(found).To(BeTrue(), "the message is %q", w.readyMessage())
		var note string
		Expect(w.events.Events).To(Receive(&note))
		Expect(len(note)).To(BeNumerically("<=", 1100), "bytes of the event")
		Expect(note).To(ContainSubstring("CredentialsMissing"))
		w.applyManifest(manifest)
		w.later(time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// enterprise is a world with an identity provider whose assertions the authorization server takes.
func enterprise(check func(token, tokenType string) (string, error)) (*world, *oauthtest.Server) {
	w := newWorld()
	idp := oauthtest.New(GinkgoTB(), func(c *oauthtest.Config) {
		c.Now, c.SubjectOf, c.IDJAGClientID = w.clock.Now, check, registeredID
	})
	idp.AddClient(oauthtest.Client{ID: "at the provider"})
	w.server.Configure(func(c *oauthtest.Config) {
		c.AssertionKeys, c.GrantTypes = []jose.JSONWebKey{idp.PublicKey()},
			[]string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
	})
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.keep("idp", map[string]string{"client_id": "at the provider"})
	return w, idp
}

// vouchesForAlice is an identity provider that takes every subject token.
func vouchesForAlice(string, string) (string, error) { return "alice", nil }

func (w *world) byExchange(idp *oauthtest.Server) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		w.preregistered(c)
		c.Spec.GrantType = v1alpha1.GrantTypeTokenExchange
		c.Spec.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: idp.Issuer(),
			CredentialsSecretRef: v1alpha1.SecretReference{Name: "idp"}}
		c.Spec.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "identity", Key: "token"}}
	}
}

var _ = Describe("An identity provider", func() {
	DescribeTable("vouches for the workload by", func(tokenType string, change func(*v1alpha1.MCPConnection)) {
		w, idp := enterprise(func(_, got string) (string, error) {
			if got != tokenType {
				return "", fmt.Errorf("a subject token of type %s", got)
			}
			return "alice", nil
		})
		w.account(idp.Issuer())
		subject := "the-subject-token"
		if tokenType == mcpoauth.TokenTypeRefreshToken {
			subject = w.grantElsewhere(idp, oauthtest.Client{ID: "at the provider"})
		}
		exchanges := idp.Count(oauthtest.TokenPath)
		w.keep("identity", map[string]string{"token": subject})
		w.apply(w.byExchange(idp), change)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		g := w.server.Grants()[0]
		if tokenType != mcpoauth.TokenTypeRefreshToken {
			Expect(g.Subject).To(Equal("alice"))
		}
		Expect(g.ClientID).To(Equal(registeredID))
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		Expect(idp.Count(oauthtest.TokenPath)).To(Equal(exchanges+2), "requests at the provider")
		Expect(w.server.Count(oauthtest.TokenPath)).To(Equal(2), "requests at the server")
	},
		Entry("an ID token from a Secret", mcpoauth.TokenTypeIDToken, func(*v1alpha1.MCPConnection) {}),
		Entry("a refresh token from a Secret", mcpoauth.TokenTypeRefreshToken,
			func(c *v1alpha1.MCPConnection) { c.Spec.Assertion.TokenType = mcpoauth.TokenTypeRefreshToken }),
		Entry("a token endpoint from the spec", mcpoauth.TokenTypeIDToken, func(c *v1alpha1.MCPConnection) {
			c.Spec.IdentityProvider.TokenEndpoint = v1alpha1.Endpoint(c.Spec.IdentityProvider.Issuer + "/token")
		}),
		Entry("a ServiceAccount", mcpoauth.TokenTypeJWT, func(c *v1alpha1.MCPConnection) {
			c.Spec.Assertion, c.Spec.ServiceAccountName = nil, "agent"
		}),
	)

	It("that refuses is named", func() {
		w, idp := enterprise(func(string, string) (string, error) { return "", fmt.Errorf("who is that") })
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		w.apply(w.byExchange(idp))
		w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
		w.wantMessage(idp.URL)
		Expect(w.readyMessage()).NotTo(ContainSubstring("the-subject-token"))
		w.later(5 * time.Minute)
		Expect(idp.Count(oauthtest.TokenPath)).To(Equal(1), "the subject token was sent again")
		Expect(w.server.Count(oauthtest.TokenPath)).To(BeZero(), "requests at the server")
		w.keep("idp", map[string]string{"client_id": "somebody else"})
		w.keep("identity", map[string]string{"token": "another-subject-token"})
		w.later(5 * time.Minute)
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
		w.wantMessage(lifecycle.FieldIdentity)
	})

	It("that is down is asked again while the token stays", func() {
		w, idp := enterprise(vouchesForAlice)
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		w.apply(w.byExchange(idp))
		idp.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusBadGateway)
		})
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		idp.Handle(oauthtest.TokenPath, nil)
		w.later(time.Minute)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})

	It("that is not found says nothing of the authorization server", func() {
		w, idp := enterprise(vouchesForAlice)
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		w.apply(w.byExchange(idp))
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		before := w.server.Count(oauthtest.MCPPath)
		idp.HandleTimes(oauthtest.TokenPath, 1, http.NotFound)
		w.untilRefresh()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
		Expect(w.server.Count(oauthtest.MCPPath)).To(Equal(before), "the MCP server was discovered anew")
	})

	It("has slots of its own", func() {
		w, idp := enterprise(vouchesForAlice)
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		leave := w.occupy(idp.URL, slots.DueExchange)
		w.apply(w.byExchange(idp))
		asked := len(idp.Requests())
		Expect(asked).To(BeZero(), "requests to a crowded host")
		leave()
		w.reconcile()
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	})
})

// projected is a token of a ServiceAccount, for the API server itself if no audience is named.
func (w *world) projected(account string, audiences []string) string {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences,
		ExpirationSeconds: ptr.To(int64(600))}}
	w.must(api.SubResource("token").Create(w.ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: account}}, request))
	return request.Status.Token
}

// limited is a client that may do what the operator's own Role lets it do with Secrets, and ask about tokens.
func (w *world) limited() client.Client {
	GinkgoHelper()
	user, err := environment.AddUser(envtest.User{Name: "operator-of-" + w.key.Namespace}, nil)
	w.must(err)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "operator-of-" + w.key.Namespace},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "create", "update", "delete"}},
			{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
		}}
	w.must(api.Create(w.ctx, role))
	w.must(api.Create(w.ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "operator-of-" +
			w.key.Namespace}}}))
	limited, err := client.New(user.Config(), client.Options{Scheme: clientgoscheme.Scheme})
	w.must(err)
	return limited
}

// applyManifest creates what a text of several documents describes.
func (w *world) applyManifest(text string) {
	GinkgoHelper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		w.must(yaml.UnmarshalStrict([]byte(document), &object.Object))
		w.must(api.Create(w.ctx, object))
	}
}

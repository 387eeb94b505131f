package controller

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
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
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// clusterKeys are the public keys that the API server's ServiceAccount tokens are signed with.
func clusterKeys(t testing.TB) []jose.JSONWebKey {
	t.Helper()
	if err := controlPlane(); err != nil {
		t.Fatal(err)
	}
	c, err := rest.HTTPClientFor(environment.Config)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(strings.TrimRight(environment.Config.Host, "/") + "/openid/v1/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("no keys: %v, %s", err, body)
	}
	return set.Keys
}

// workloads is a world whose authorization server trusts the cluster's ServiceAccounts, and whoever vouches for others.
func workloads(t testing.TB) *world {
	keys := append(clusterKeys(t), vouchingKey())
	// The API server has a clock of its own: the tokens have to live shorter than its.
	return newWorld(t, func(c *oauthtest.Config) {
		c.AssertionKeys, c.NoRegistration, c.AccessTokenLifetime = keys, true, 5*time.Minute
	})
}

func (w *world) account(audiences string) {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "agent"}}
	if audiences != "" {
		account.Annotations = map[string]string{v1alpha1.AnnotationAllowedAudiences: audiences}
	}
	w.must(api.Create(w.t.Context(), account))
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

func TestAWorkloadIsKnownByItsServiceAccountAndNoSecretIsAtRest(t *testing.T) {
	w := workloads(t)
	w.account("https://elsewhere.example, " + w.server.Issuer())
	w.apply(byAccount)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if g := w.server.Grants()[0]; g.Subject != "system:serviceaccount:"+w.key.Namespace+":agent" || g.ClientID != "" {
		t.Errorf("the server granted %+v", g)
	}
	if c := w.get().Status.Client; c != nil {
		t.Errorf("status shows the client %+v", c)
	}
	first := w.server.Last(oauthtest.TokenPath).Form.Get("assertion")
	w.untilRefresh()
	w.reconcile()
	if second := w.server.Last(oauthtest.TokenPath).Form.Get("assertion"); second == first || w.server.Count(oauthtest.TokenPath) != 2 {
		t.Error("the renewal sent the old assertion")
	}
}

func TestATokenOfNoClientIsSentNowhereToBeRevoked(t *testing.T) {
	w := workloads(t)
	w.account(w.server.Issuer())
	w.apply(byAccount)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil {
		t.Fatal("the connection is still there")
	}
	if got := w.server.Count(oauthtest.RevokePath); got != 0 {
		t.Errorf("%d requests to revoke it", got)
	}
	if !w.told("issued to no client") {
		t.Error("no event says that the token lives until it expires")
	}
}

func TestAnAudienceThatTheOwnerDoesNotAllowIsNotSent(t *testing.T) {
	w := workloads(t)
	w.account("https://elsewhere.example")
	w.apply(byAccount)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	line := "'" + v1alpha1.AnnotationAllowedAudiences + "=https://elsewhere.example," + w.server.Issuer() + "'"
	if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, line) {
		t.Errorf("the message has no line to add: %s", m)
	}
	if w.server.Count(oauthtest.TokenPath) != 0 {
		t.Error("something was sent")
	}
}

func TestATokenForTheClusterItselfIsNeverSent(t *testing.T) {
	var cluster string
	w := workloads(t)
	w.must(api.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "default-audience"}}))
	cluster = w.projected("default-audience", nil)
	audience, err := mcpoauth.AssertionAudience(cluster)
	w.must(err)
	t.Run("of a ServiceAccount", func(*testing.T) {
		w.account(audience[0])
		w.apply(byAccount, w.pinned, func(c *v1alpha1.MCPConnection) { c.Spec.Assertion = &v1alpha1.AssertionSpec{Audience: audience[0]} })
		w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
		if m := findCondition(w.get().Status.Conditions, ready).Message; m != clusterAudience {
			t.Errorf("the message is %q", m)
		}
	})
	if w.server.Count(oauthtest.TokenPath) != 0 {
		t.Error("the token was sent")
	}
}

func TestAnAssertionForAnotherAudienceIsSentOnlyToTheIssuerThatTheSpecNames(t *testing.T) {
	const audience = "https://sts.example"
	for name, form := range map[string]func(*v1alpha1.MCPConnection){"of a ServiceAccount": byAccount, "from a Secret": byAssertion} {
		t.Run(name, func(t *testing.T) {
			w := workloads(t)
			w.server.Configure(func(c *oauthtest.Config) { c.AssertionAudience = audience })
			w.account(audience)
			w.keep("identity", map[string]string{"token": w.vouched(audience)})
			w.apply(form, func(c *v1alpha1.MCPConnection) {
				c.Spec.Assertion = cmp.Or(c.Spec.Assertion, &v1alpha1.AssertionSpec{})
				c.Spec.Assertion.Audience = audience
			})
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, "spec.authorizationServer.issuer") || !strings.Contains(m, w.server.Issuer()) {
				t.Errorf("the message has no line to add: %s", m)
			}
			if w.server.Count(oauthtest.TokenPath) != 0 {
				t.Fatal("the assertion was sent to an issuer that only the MCP server names")
			}
			w.edit(w.pinned)
			if name == "of a ServiceAccount" { // its owner allowed the audience, and said nothing of that server
				w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
				w.runCommand(w.readyMessage())
				w.later(time.Minute)
			}
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		})
	}
}

func TestWhatAServerNamesIsOneWordOfAShell(t *testing.T) {
	if got, want := quoted("a=https://x/$(id)`id`'; id"), `'a=https://x/$(id)`+"`id`"+`'\''; id'`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// TestAForbiddenTokenNamesTheExactRole applies the Role of the message, as the reader would.
func TestAForbiddenTokenNamesTheExactRole(t *testing.T) {
	w := workloads(t)
	w.account(w.server.Issuer())
	limited := w.limited()
	w.r.Secrets = limited
	w.apply(byAccount)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	message := findCondition(w.get().Status.Conditions, ready).Message
	_, manifest, ok := strings.Cut(message, "Apply this:\n")
	if !ok {
		t.Fatalf("the message is %q", message)
	}
	if note := <-w.events.Events; len(note) > 1100 || !strings.Contains(note, "CredentialsMissing") {
		t.Errorf("an event of %d bytes: %s", len(note), note)
	}
	w.applyManifest(manifest)
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAnAssertionThatWasRefusedIsNotSentAgain(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) {
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
	if got := w.server.Count(oauthtest.TokenPath); got != 1 {
		t.Fatalf("the assertion was sent %d times", got)
	}
	w.server.Configure(func(c *oauthtest.Config) { c.CheckAssertion = nil })
	w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())})
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if got := w.server.Count(oauthtest.TokenPath); got != 2 {
		t.Errorf("%d token requests", got)
	}
}

func TestWhatIsWrongWithAnAssertionIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *world)
		want   string
	}{
		"no Secret": {func(*world) {}, "does not exist"},
		"no key":    {func(w *world) { w.keep("identity", map[string]string{"jwt": "x"}) }, "has no key token"},
		"no JWT":    {func(w *world) { w.keep("identity", map[string]string{"token": "hunter2"}) }, "not a JWT"},
		"another audience": {func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched("https://elsewhere.example")})
		}, "is not for"},
		"several audiences": {func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer(), "https://elsewhere.example")})
		}, "for 2 audiences"},
		"an expired one": {func(w *world) {
			w.keep("identity", map[string]string{"token": w.vouched(w.server.Issuer())})
			w.clock.SetTime(w.clock.Now().Add(time.Hour))
		}, "expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			w := workloads(t)
			w.account("")
			tt.change(w)
			w.apply(byAssertion)
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, tt.want) || strings.Contains(m, "hunter2") {
				t.Errorf("the message is %q", m)
			}
			if w.server.Count(oauthtest.TokenPath) != 0 {
				t.Error("something was sent")
			}
		})
	}
}

// enterprise is a world with an identity provider whose assertions the authorization server takes.
func enterprise(t testing.TB, check func(token, tokenType string) (string, error)) (*world, *oauthtest.Server) {
	w := newWorld(t)
	idp := oauthtest.New(t, func(c *oauthtest.Config) { c.Now, c.SubjectOf, c.IDJAGClientID = w.clock.Now, check, registeredID })
	idp.AddClient(oauthtest.Client{ID: "at the provider"})
	w.server.Configure(func(c *oauthtest.Config) {
		c.AssertionKeys, c.GrantTypes = []jose.JSONWebKey{idp.PublicKey()}, []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
	})
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.keep("idp", map[string]string{"client_id": "at the provider"})
	return w, idp
}

func (w *world) byExchange(idp *oauthtest.Server) func(*v1alpha1.MCPConnection) {
	return func(c *v1alpha1.MCPConnection) {
		w.preregistered(c)
		c.Spec.GrantType = v1alpha1.GrantTypeTokenExchange
		c.Spec.IdentityProvider = &v1alpha1.IdentityProviderSpec{Issuer: idp.Issuer(), CredentialsSecretRef: v1alpha1.SecretReference{Name: "idp"}}
		c.Spec.Assertion = &v1alpha1.AssertionSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: "identity", Key: "token"}}
	}
}

func TestAnIdentityProviderVouchesForTheWorkload(t *testing.T) {
	for name, tt := range map[string]struct {
		tokenType string
		change    func(*v1alpha1.MCPConnection)
	}{
		"an ID token from a Secret":     {mcpoauth.TokenTypeIDToken, func(*v1alpha1.MCPConnection) {}},
		"a refresh token from a Secret": {mcpoauth.TokenTypeRefreshToken, func(c *v1alpha1.MCPConnection) { c.Spec.Assertion.TokenType = mcpoauth.TokenTypeRefreshToken }},
		"a token endpoint from the spec": {mcpoauth.TokenTypeIDToken, func(c *v1alpha1.MCPConnection) {
			c.Spec.IdentityProvider.TokenEndpoint = v1alpha1.Endpoint(c.Spec.IdentityProvider.Issuer + "/token")
		}},
		"a ServiceAccount": {mcpoauth.TokenTypeJWT, func(c *v1alpha1.MCPConnection) {
			c.Spec.Assertion, c.Spec.ServiceAccountName = nil, "agent"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, idp := enterprise(t, func(_, tokenType string) (string, error) {
				if tokenType != tt.tokenType {
					return "", fmt.Errorf("a subject token of type %s", tokenType)
				}
				return "alice", nil
			})
			w.account(idp.Issuer())
			subject := "the-subject-token"
			if tt.tokenType == mcpoauth.TokenTypeRefreshToken {
				subject = w.grantElsewhere(idp, oauthtest.Client{ID: "at the provider"})
			}
			exchanges := idp.Count(oauthtest.TokenPath)
			w.keep("identity", map[string]string{"token": subject})
			w.apply(w.byExchange(idp), tt.change)
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if g := w.server.Grants()[0]; (g.Subject != "alice" && tt.tokenType != mcpoauth.TokenTypeRefreshToken) || g.ClientID != registeredID {
				t.Errorf("the server granted %+v", g)
			}
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if idp.Count(oauthtest.TokenPath) != exchanges+2 || w.server.Count(oauthtest.TokenPath) != 2 {
				t.Errorf("%d requests at the provider, %d at the server", idp.Count(oauthtest.TokenPath), w.server.Count(oauthtest.TokenPath))
			}
		})
	}
}

func TestATokenForTheClusterIsNoSubjectTokenWhateverItIsSaidToBe(t *testing.T) {
	for _, tokenType := range []string{"", mcpoauth.TokenTypeIDToken, mcpoauth.TokenTypeJWT, mcpoauth.TokenTypeRefreshToken, "urn:ietf:params:oauth:token-type:access_token"} {
		t.Run(tokenType, func(t *testing.T) {
			w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
			w.account("")
			w.keep("identity", map[string]string{"token": w.projected("agent", nil)})
			w.apply(w.byExchange(idp), func(c *v1alpha1.MCPConnection) { c.Spec.Assertion.TokenType = tokenType })
			w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
			if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, "API server") || idp.Count(oauthtest.TokenPath) != 0 {
				t.Errorf("%d requests, and the message is %q", idp.Count(oauthtest.TokenPath), m)
			}
		})
	}
}

func TestAnIdentityProviderThatRefusesIsNamed(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "", fmt.Errorf("who is that") })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	w.apply(w.byExchange(idp))
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, idp.URL) || strings.Contains(m, "the-subject-token") {
		t.Errorf("the message is %q", m)
	}
	w.later(5 * time.Minute)
	if idp.Count(oauthtest.TokenPath) != 1 || w.server.Count(oauthtest.TokenPath) != 0 {
		t.Error("the subject token was sent again")
	}
	w.keep("idp", map[string]string{"client_id": "somebody else"})
	w.keep("identity", map[string]string{"token": "another-subject-token"})
	w.later(5 * time.Minute)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	if m := findCondition(w.get().Status.Conditions, ready).Message; !strings.Contains(m, fieldIdentity) {
		t.Errorf("the message is %q", m)
	}
}

func TestAnOutageOfTheIdentityProviderIsRetriedWhileTheTokenStays(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	w.apply(w.byExchange(idp))
	idp.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	idp.Handle(oauthtest.TokenPath, nil)
	w.later(time.Minute)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAnIdentityProviderThatIsNotFoundSaysNothingOfTheAuthorizationServer(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	w.apply(w.byExchange(idp))
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	before := w.server.Count(oauthtest.MCPPath)
	idp.HandleTimes(oauthtest.TokenPath, 1, http.NotFound)
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	if got := w.server.Count(oauthtest.MCPPath) - before; got != 0 {
		t.Errorf("the MCP server was discovered anew, by %d requests", got)
	}
}

func TestAnAssertionThatTheProviderIssuedForAnotherIsNotSent(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	var others string
	idp.Edit(oauthtest.TokenPath, -1, func(answer map[string]any) { answer["access_token"] = others })
	w.account("")
	others = w.projected("agent", []string{"https://elsewhere.example"})
	w.apply(w.byExchange(idp))
	w.want(ready, isFalse, v1alpha1.ReasonTokenRequestRejected)
	w.wantMessage("another audience", idp.Issuer())
	if got := w.server.Count(oauthtest.TokenPath); got != 0 {
		t.Errorf("it was sent %d times", got)
	}
}

func TestAnIdentityProviderHasSlotsOfItsOwn(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	leave := w.occupy(idp.URL, slots.DueExchange)
	w.apply(w.byExchange(idp))
	if got := len(idp.Requests()); got != 0 {
		t.Fatalf("%d requests to a crowded host", got)
	}
	leave()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

// projected is a token of a ServiceAccount, for the API server itself if no audience is named.
func (w *world) projected(account string, audiences []string) string {
	w.t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: ptr.To(int64(600))}}
	w.must(api.SubResource("token").Create(w.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: account}}, request))
	return request.Status.Token
}

// limited is a client that may do what the operator's own Role lets it do with Secrets, and ask about tokens.
func (w *world) limited() client.Client {
	w.t.Helper()
	user, err := environment.AddUser(envtest.User{Name: "operator-of-" + w.key.Namespace}, nil)
	w.must(err)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "operator-of-" + w.key.Namespace}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "create", "update", "delete"}},
		{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
	}}
	w.must(api.Create(w.t.Context(), role))
	w.must(api.Create(w.t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "operator-of-" + w.key.Namespace}}}))
	limited, err := client.New(user.Config(), client.Options{Scheme: clientgoscheme.Scheme})
	w.must(err)
	return limited
}

// applyManifest creates what a text of several documents describes.
func (w *world) applyManifest(text string) {
	w.t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		w.must(yaml.UnmarshalStrict([]byte(document), &object.Object))
		w.must(api.Create(w.t.Context(), object))
	}
}

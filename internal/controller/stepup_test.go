package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func readOnly(c *oauthtest.Config) {
	c.Scopes = []string{"mcp:read"}
	c.ServerScopes = []string{"mcp:read", "mcp:write", "mcp:admin"}
}

func insufficient(scopes string) string {
	return fmt.Sprintf(`Bearer error="insufficient_scope", scope=%q`, scopes)
}

func (w *world) granted(scopes ...string) {
	w.t.Helper()
	if got := w.get().Status.Scopes; !slices.Equal(got, scopes) {
		w.t.Errorf("status.scopes is %q, want %q", got, scopes)
	}
}

func TestAChallengeStepsUpWhileTheOldTokenStays(t *testing.T) {
	w := connected(t, readOnly)
	w.granted("mcp:read")
	token := w.secret()[v1alpha1.KeyAccessToken]
	conn := w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write"))
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if conn.Status.LastHandled.Challenge != credential.Hash(insufficient("mcp:write")) || w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Error("the challenge is not remembered, or the old token is gone")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.granted("mcp:read", "mcp:write")
	if got := w.server.LastScopes(); !slices.Equal(got, []string{"mcp:read", "mcp:write"}) || w.secret()[v1alpha1.KeyScope] != "mcp:read mcp:write" {
		t.Errorf("asked for %q", got)
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "1")
	w.consent()
	w.granted("mcp:read", "mcp:write") // another consent does not lose what the challenge brought
}

func TestAChallengeForGrantedScopesDoesNotLoop(t *testing.T) {
	w := connected(t, readOnly)
	conn := w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:read"))
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	w.want(v1alpha1.ConditionProbed, isFalse, v1alpha1.ReasonInsufficientScope)
	if conn.Status.AuthorizationURL != "" || conn.Status.LastHandled.Challenge != credential.Hash(insufficient("mcp:read")) {
		t.Error("a consent is asked for, or the challenge is not remembered")
	}
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	if conn = w.edit(func(c *v1alpha1.MCPConnection) { c.Annotations = nil }); conn.Status.LastHandled != nil {
		t.Error("a challenge that was taken off is remembered")
	}
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAConsentThatBringsFewerScopesIsNotAskedForAgain(t *testing.T) {
	w := connected(t, readOnly, func(c *oauthtest.Config) { c.GrantedScopes = []string{"mcp:read"} })
	w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write"))
	w.consent()
	w.granted("mcp:read")
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	conn := w.annotate(v1alpha1.AnnotationChallenge, insufficient("mcp:write")+`, error_description="again"`)
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	if conn.Status.AuthorizationURL != "" || w.server.Count(oauthtest.AuthorizePath) != 2 {
		t.Error("the same scopes are asked for again")
	}
}

func TestNoServerMakesAPersonConsentForEver(t *testing.T) {
	w := connected(t, readOnly, func(c *oauthtest.Config) {
		c.ServerScopes, c.GrantedScopes = []string{"mcp:read", "a", "b"}, []string{"mcp:read"}
	})
	consents := 0
	for i := range 10 { // by turns, so that each asks for something new
		w.annotate(v1alpha1.AnnotationChallenge, insufficient([]string{"a", "b"}[i%2])+fmt.Sprintf(`, n="%d"`, i))
		if w.get().Status.AuthorizationURL != "" {
			consents++
			w.consent()
		}
	}
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	if consents != maxStepUps {
		t.Errorf("%d consents, want %d", consents, maxStepUps)
	}
}

func TestGrowingScopesOfTheSpecStepUpToo(t *testing.T) {
	w := connected(t, readOnly)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:write"} })
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	if w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Error("the old token is gone")
	}
	w.consent()
	w.granted("mcp:read", "mcp:write")
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.granted("mcp:read", "mcp:write")
}

func TestARefusedTokenIsRefreshedOnceAndTheServerDiscovered(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
	conn := w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.TokenPath) != 2 || w.secret()[v1alpha1.KeyAccessToken] == token || w.server.Count(oauthtest.ResourceMetadataPath) != discoveries+1 {
		t.Error("not one refresh and one discovery")
	}
	if conn.Status.LastHandled.Challenge != credential.Hash(refusedToken) || conn.Status.AuthorizationURL != "" {
		t.Error("the challenge is not remembered, or a consent is asked for")
	}
}

func TestARefusedTokenThatCannotBeRefreshedWantsAConsent(t *testing.T) {
	w := connected(t, func(c *oauthtest.Config) { c.NoRefreshTokens = true; c.AccessTokenLifetime = -1 })
	w.annotate(v1alpha1.AnnotationChallenge, `Bearer resource_metadata="x"`)
	w.want(ready, isTrue, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

// migrated is another authorization server, which the MCP server of w names from now on.
func (w *world) migrated() *oauthtest.Server {
	w.t.Helper()
	other := oauthtest.New(w.t, func(c *oauthtest.Config) { c.Now, c.Resource = w.clock.Now, w.server.MCPURL() })
	w.server.Configure(func(c *oauthtest.Config) { c.TokensOf = other })
	w.names(other.Issuer())
	return other
}

func (w *world) names(issuers ...string) {
	w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = issuers })
}

// sawNothingOf fails if a server was told anything that another one issued or knows.
func (w *world) sawNothingOf(other *oauthtest.Server, secrets ...string) {
	w.t.Helper()
	for _, r := range other.Requests() {
		told := fmt.Sprint(r.Header, r.Query, r.Body)
		for _, secret := range secrets {
			if secret != "" && strings.Contains(told, secret) {
				w.t.Errorf("%s %s was told what another server issued", r.Method, r.Path)
			}
		}
	}
}

func TestAnotherAuthorizationServerIsRegisteredAtAndAskedForConsent(t *testing.T) {
	w := connected(t)
	token, client, refreshToken := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID, w.server.Grants()[0].RefreshToken
	other := w.migrated()
	conn := w.annotate(v1alpha1.AnnotationChallenge, `Bearer resource_metadata="x"`)
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if w.secret()[v1alpha1.KeyAccessToken] != "" || conn.Status.AuthorizationServer.Issuer != other.Issuer() || conn.Status.Client.ID == client {
		t.Error("the old server's token is published, or its client is used")
	}
	w.restart()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.sawNothingOf(other, token, client, refreshToken, w.server.Grants()[0].RefreshToken)
	if !other.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) || other.Count(oauthtest.RegisterPath) != 1 {
		t.Error("the token is not the new server's")
	}
	w.names() // flips back
	w.annotate(v1alpha1.AnnotationChallenge, `Bearer realm="back"`)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) || w.server.Count(oauthtest.AuthorizePath) != 1 || w.server.Count(oauthtest.RegisterPath) != 1 {
		t.Error("flipping back asked for consent")
	}
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestServersAreToldNothingOfEachOther(t *testing.T) {
	w := connected(t)
	atFirst := []string{w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID, w.server.Grants()[0].RefreshToken}
	other := oauthtest.New(t, func(c *oauthtest.Config) { c.Now = w.clock.Now })
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = other.MCPURL() })
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	atOther := []string{w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Client.ID, other.Grants()[0].RefreshToken}
	w.untilRefresh()
	w.reconcile()
	atOther = append(atOther, w.secret()[v1alpha1.KeyAccessToken], other.Grants()[0].RefreshToken)
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil || !w.server.Grants()[0].Revoked || !other.Grants()[0].Revoked {
		t.Error("a grant was not revoked")
	}
	w.sawNothingOf(other, atFirst...)
	w.sawNothingOf(w.server, atOther...)
}

func TestAPreregisteredClientStopsAtAnotherIssuer(t *testing.T) {
	for name, pin := range map[string]func(*v1alpha1.MCPConnectionSpec, string){
		"by the client": func(s *v1alpha1.MCPConnectionSpec, issuer string) { s.Client.Issuer = issuer },
		"by the authorization server": func(s *v1alpha1.MCPConnectionSpec, issuer string) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: issuer}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			redirect := []string{credential.RedirectURI(w.pages.URL)}
			w.server.AddClient(oauthtest.Client{ID: "by-hand", Secret: "the-client-secret", RedirectURIs: redirect})
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "client"},
				StringData: map[string]string{"client_id": "by-hand", "client_secret": "the-client-secret"}}
			w.must(api.Create(t.Context(), secret))
			w.apply(func(c *v1alpha1.MCPConnection) {
				c.Spec.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "client"}}
				pin(&c.Spec, w.server.Issuer())
			})
			w.consent()
			token := w.secret()[v1alpha1.KeyAccessToken]
			other := w.migrated()
			w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
			w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
			w.want(authorized, isFalse, v1alpha1.ReasonIssuerChanged)
			w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonIssuerChanged)
			if w.secret()[v1alpha1.KeyAccessToken] != "" || w.get().Status.AuthorizationURL != "" {
				t.Error("the token is still published, or a link is offered")
			}
			w.sawNothingOf(other, token, "by-hand", "the-client-secret")
			w.names()
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.server.Count(oauthtest.AuthorizePath) != 1 {
				t.Error("flipping back asked for consent")
			}
			w.names(other.Issuer())
			w.annotate(v1alpha1.AnnotationChallenge, refusedToken+", n=2")
			w.want(ready, isFalse, v1alpha1.ReasonIssuerChanged)
			w.must(api.Delete(t.Context(), secret))
			w.must(api.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "client"},
				StringData: map[string]string{"client_id": "at-the-new", "client_secret": "another-secret"}}))
			other.AddClient(oauthtest.Client{ID: "at-the-new", Secret: "another-secret", RedirectURIs: redirect})
			w.edit(func(c *v1alpha1.MCPConnection) { pin(&c.Spec, other.Issuer()) })
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.sawNothingOf(other, token, "by-hand", "the-client-secret")
		})
	}
}

func TestAPublicServerThatRefusesIsDiscoveredAgain(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.Public = true })
	w.apply()
	w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
	w.annotate(v1alpha1.AnnotationChallenge, "Bearer") // in vain
	w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
	w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
	w.annotate(v1alpha1.AnnotationChallenge, refusedToken)
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

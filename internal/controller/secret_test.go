package controller

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// has says whether a Secret is there.
func (w *world) has(key client.ObjectKey) bool {
	w.t.Helper()
	err := api.Get(w.t.Context(), key, &corev1.Secret{})
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil
}

// inNamespace is the key of a Secret beside the connection.
func (w *world) inNamespace(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.key.Namespace, Name: name}
}

func credentialKey(uid types.UID) client.ObjectKey {
	return client.ObjectKey{Namespace: operatorNamespace, Name: credential.SecretName(uid)}
}

func TestAServerThatNeedsNoAuthorizationHasASecretWithItsURLOnly(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.Public = true })
	w.apply()
	for _, condition := range []string{ready, discovered, registered, authorized} {
		w.want(condition, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
	}
	if got := w.secret(); len(got) != 1 || got[v1alpha1.KeyServerURL] != w.server.MCPURL() {
		t.Errorf("the Secret has %d keys, want server_url only", len(got))
	}
	if w.get().Status.AuthorizationURL != "" {
		t.Error("a link is offered")
	}
	w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
	conn := w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Scopes = []v1alpha1.Scope{"mcp:read"} })
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	if conn.Status.AuthorizationURL == "" {
		t.Error("scopes ask for authorization, and there is no link")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestWithoutARefreshTokenALinkIsOfferedInTimeAndReadyEndsOnTime(t *testing.T) {
	w, _ := waiting(t, func(c *oauthtest.Config) { c.NoRefreshTokens = true })
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
	issued, expiry := w.get().Status.Token.IssuedAt.Time, w.get().Status.Token.ExpiresAt.Time
	linkAt := issued.Add(expiry.Sub(issued) * 2 / 3)
	if wait := w.onceMore(); wait != linkAt.Sub(w.clock.Now()) || w.get().Status.AuthorizationURL != "" {
		t.Fatalf("the next look is after %s, or the link is offered before two thirds", wait)
	}
	w.clock.SetTime(linkAt)
	if wait := w.onceMore(); wait != expiry.Sub(linkAt) {
		t.Fatalf("the look after the link is after %s, want the expiry", wait)
	}
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
	if w.get().Status.AuthorizationURL == "" {
		t.Fatal("no link at two thirds of the life")
	}
	w.clock.SetTime(expiry)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonTokenExpired)
	w.want(authorized, isFalse, v1alpha1.ReasonTokenExpired)
	if w.secret()[v1alpha1.KeyAccessToken] == "" || w.server.Count(oauthtest.TokenPath) != 1 {
		t.Error("the expired token was removed, or something was refreshed")
	}
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonNoRefreshToken)
}

func TestARenamedTokenSecretTakesItsPlaceBeforeTheOldOneGoes(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	taken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "renamed"}}
	w.must(api.Create(t.Context(), taken))
	rename := func(c *v1alpha1.MCPConnection) { c.Spec.TokenSecret = &v1alpha1.TokenSecretSpec{Name: "renamed"} }
	w.edit(rename)
	w.want(ready, isFalse, v1alpha1.ReasonSecretConflict)
	if w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Fatal("the old Secret went before the new one was there")
	}
	w.must(api.Delete(t.Context(), taken))
	w.restart()
	w.untilRetry()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	renamed := &corev1.Secret{}
	w.must(api.Get(t.Context(), w.inNamespace("renamed"), renamed))
	if string(renamed.Data[v1alpha1.KeyAccessToken]) != token || w.has(w.inNamespace("c-token")) {
		t.Error("the new Secret holds another token, or the old Secret is still there")
	}
	if w.get().Status.Token.SecretName != "renamed" || w.server.Count(oauthtest.TokenPath) != 1 {
		t.Error("status names the old Secret, or a refresh was spent")
	}
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil || w.has(w.inNamespace("renamed")) {
		t.Error("something is left after the deletion")
	}
}

func TestDeletionPolicyOrphanLeavesTheGrantAtTheServer(t *testing.T) {
	w := newWorld(t)
	w.apply(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
	w.consent()
	token, held := w.secret()[v1alpha1.KeyAccessToken], credentialKey(w.get().UID)
	w.must(api.Delete(t.Context(), w.get()))
	if w.reconcile() != nil || w.has(w.inNamespace("c-token")) || w.has(held) {
		t.Error("the object or a Secret is left")
	}
	if !w.server.ValidAccessToken(token) || w.server.Count(oauthtest.RevokePath) != 0 {
		t.Error("the grant was revoked")
	}
}

// answersToken has the token endpoint answer with a token of a type that consumers cannot send.
func answersToken(w *world, tokenType string) {
	w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"access_token":"a-token","refresh_token":"another","expires_in":3600,"token_type":"` + tokenType + `"}`)) // the client has all it wants
	})
}

func TestATokenOfAnotherTypeIsKeptAndNeverPublished(t *testing.T) {
	w, _ := waiting(t)
	answersToken(w, "mac")
	w.consent()
	w.want(ready, isFalse, v1alpha1.ReasonUnsupportedTokenType)
	w.want(v1alpha1.ConditionStalled, isTrue, v1alpha1.ReasonUnsupportedTokenType)
	if w.secret() != nil || w.stored().Grants[0].AccessToken != "a-token" {
		t.Fatal("the token was published, or was not kept")
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "bearer")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestATokenThatNoHeaderMayHoldIsKeptAndNeverPublished(t *testing.T) {
	const odd = "a\nb"
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.server.Edit(oauthtest.TokenPath, 1, func(answer map[string]any) { answer["access_token"] = odd })
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonUnsupportedTokenType)
	g := w.stored().Grants[0]
	if w.secret()[v1alpha1.KeyAccessToken] != token || g.AccessToken != odd || g.RefreshToken != w.server.Grants()[0].RefreshToken || g.Claim != nil {
		t.Error("the valid token was replaced, or the answer was not kept")
	}
}

func TestARefreshThatChangesTheTypeLeavesTheOldTokenUntilItExpires(t *testing.T) {
	w := connected(t)
	token, expiry := w.secret()[v1alpha1.KeyAccessToken], w.get().Status.Token.ExpiresAt.Time
	answersToken(w, "mac")
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonUnsupportedTokenType)
	if w.secret()[v1alpha1.KeyAccessToken] != token {
		t.Error("the valid token was replaced")
	}
	if wait := w.onceMore(); wait > expiry.Sub(w.clock.Now()) {
		t.Errorf("the next look is after %s, later than the expiry", wait)
	}
	w.clock.SetTime(expiry)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonUnsupportedTokenType)
}

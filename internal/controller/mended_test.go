package controller

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// failsFor lets a connection fail until its retries have become rare, and sees that it looks at its Secrets meanwhile.
func (w *world) failsFor(path string) (requests int) {
	w.t.Helper()
	for range 6 {
		w.untilRetry()
		w.reconcile()
	}
	if wait := w.onceMore(); wait <= 0 || wait > mendedRecheck {
		w.t.Errorf("it looks at the Secret again after %s", wait)
	}
	requests = w.server.Count(path)
	for range 5 {
		w.aMinuteLater()
	}
	if got := w.server.Count(path) - requests; got != 0 {
		w.t.Errorf("what was refused was sent %d more times in five minutes", got)
	}
	return requests
}

// connectedByHand is a connection that a person consented to, with a client that was registered by hand.
func connectedByHand(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.registerByHand(firstSecret, "client_secret_basic")
	w.keepCredentials(firstSecret)
	w.apply(w.preregistered)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	return w
}

func TestMendedCredentialsAreTriedWithinAMinuteAndOnce(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(secondSecret, "client_secret_post")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials)
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	before := w.failsFor(oauthtest.TokenPath)
	w.keepCredentials("also wrong")
	for range 2 {
		w.aMinuteLater()
	}
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	if got := w.server.Count(oauthtest.TokenPath) - before; got != 1 {
		t.Errorf("other credentials were sent %d times in two minutes", got)
	}
	w.keepCredentials(secondSecret)
	w.aMinuteLater()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAMendedClientOfTheIdentityProviderIsTriedWithinAMinute(t *testing.T) {
	w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
	w.keep("identity", map[string]string{"token": "the-subject-token"})
	w.keep("idp", map[string]string{"client_id": "somebody else"})
	w.apply(w.byExchange(idp))
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsRejected)
	w.keep("idp", map[string]string{"client_id": "at the provider"})
	w.aMinuteLater()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestANewInitialAccessTokenIsTriedWithinAMinute(t *testing.T) {
	w := newWorld(t, isProtected)
	w.keepInitialToken("token", "spent")
	w.apply(mayRegister)
	w.want(registered, isFalse, v1alpha1.ReasonRegistrationRefused)
	w.failsFor(oauthtest.RegisterPath)
	w.keepInitialToken("token", initialToken)
	w.aMinuteLater()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

func TestACorrectedImportIsTakenOverWhileALinkIsOpen(t *testing.T) {
	w := newWorld(t)
	client := oauthtest.Client{ID: "old tool"}
	token := w.grantElsewhere(w.server, client)
	w.keep("old", map[string]string{"refresh_token": "a token of yesterday", "client_id": client.ID, "issuer": w.server.Issuer()})
	w.apply(importing)
	w.want(ready, isFalse, v1alpha1.ReasonRefreshRejected)
	if w.get().Status.AuthorizationURL == "" {
		t.Fatal("there is no link")
	}
	if wait := w.onceMore(); wait <= 0 || wait > mendedRecheck {
		t.Errorf("it looks at the Secret again after %s", wait)
	}
	w.keep("old", map[string]string{"refresh_token": token, "client_id": client.ID, "issuer": w.server.Issuer()})
	w.aMinuteLater()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.get().Status.AuthorizationURL != "" {
		t.Error("the link is still offered")
	}
}

func TestMendedCredentialsOfAConsentedGrantAreTriedWithinAMinute(t *testing.T) {
	w := connectedByHand(t)
	w.keepCredentials("wrong")
	w.untilRefresh()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.keepCredentials(firstSecret)
	w.aMinuteLater()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestARequestToRefreshWithoutARefreshTokenIsAnsweredAndRests(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"before any consent": func(w *world) { w.apply() },
		"with a token that cannot be refreshed": func(w *world) {
			w.server.Configure(func(c *oauthtest.Config) { c.NoRefreshTokens = true })
			w.apply()
			w.consent()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			before := w.server.Count(oauthtest.TokenPath)
			w.annotate(v1alpha1.AnnotationRefresh, "now")
			if got := w.get().Status.LastHandled; got == nil || got.Refresh != "now" {
				t.Errorf("handled is %+v", got)
			}
			if conn := w.get(); conn.Status.Next == nil || conn.Status.Next.Basis != w.r.cachedSecrets(t.Context(), conn).basis {
				t.Errorf("it does not rest: %+v", conn.Status.Next)
			}
			if got := w.server.Count(oauthtest.TokenPath) - before; got != 0 {
				t.Errorf("%d token requests", got)
			}
			if !w.told("NothingToRefresh") {
				t.Error("no event says so")
			}
		})
	}
}

func TestRevokingEndsTheGrantOfAnIssuerThatTheServerNamesNoMore(t *testing.T) {
	w := connectedByHand(t)
	other := oauthtest.New(t, func(c *oauthtest.Config) { c.Now = w.clock.Now })
	w.server.Configure(func(c *oauthtest.Config) { c.AuthorizationServers = []string{other.Issuer()} })
	w.annotate(v1alpha1.AnnotationReauthorize, "look")
	w.want(authorized, isFalse, v1alpha1.ReasonIssuerChanged)
	w.server.HandleTimes(oauthtest.RevokePath, 1, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	w.annotate(v1alpha1.AnnotationRevoke, "leak")
	if n := len(w.stored().Grants); n != 1 {
		t.Fatalf("%d grants are stored while revoking fails", n)
	}
	w.later(time.Minute)
	if n := len(w.stored().Grants); n != 0 || w.server.Count(oauthtest.RevokePath) < 2 || other.Count(oauthtest.RevokePath) != 0 {
		t.Errorf("%d grants are stored after %d revocations there and %d elsewhere", n, w.server.Count(oauthtest.RevokePath), other.Count(oauthtest.RevokePath))
	}
	if w.get().Status.LastHandled.Revoke != "leak" {
		t.Error("the request is not marked as handled")
	}
}

func TestARefreshThatWasAskedForIsTriedWithTheMendedCredentials(t *testing.T) {
	for name, annotation := range map[string][2]string{
		"by a person":   {v1alpha1.AnnotationRefresh, "now"},
		"by a consumer": {v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := connectedByHand(t)
			token := w.secret()[v1alpha1.KeyAccessToken]
			w.keepCredentials("wrong")
			w.annotate(annotation[0], annotation[1])
			w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
			w.keepCredentials(firstSecret)
			w.aMinuteLater()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if w.secret()[v1alpha1.KeyAccessToken] == token {
				t.Error("the old token is still published")
			}
		})
	}
}

func TestAPrivateKeyThatWasMissingIsFoundWithinAMinute(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "client_secret_basic")
	w.keep(credentialName, map[string]string{"client_id": registeredID})
	w.apply(w.clientCredentials, func(c *v1alpha1.MCPConnection) { c.Spec.Client.AuthMethod = "private_key_jwt" })
	w.want(registered, isFalse, v1alpha1.ReasonCredentialsMissing)
	w.failsFor(oauthtest.TokenPath)
}

func TestANewInitialAccessTokenIsTriedWithinAMinuteBesideAGrant(t *testing.T) {
	w := newWorld(t, isProtected)
	w.keepInitialToken("token", initialToken)
	w.apply(mayRegister)
	w.consent()
	w.keepInitialToken("token", "spent")
	_, err := w.r.Store.Update(t.Context(), w.stored(), func(c *credential.Credential) error { c.Registrations[0].ExpiredConsents = 3; return nil })
	w.must(err)
	w.annotate(v1alpha1.AnnotationReauthorize, "x")
	w.failsFor(oauthtest.RegisterPath)
	w.keepInitialToken("token", initialToken)
	w.aMinuteLater()
	if w.get().Status.AuthorizationURL == "" {
		t.Error("there is no link")
	}
}

// unavailable refuses for an hour.
func unavailable(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Retry-After", "3600")
	rw.WriteHeader(http.StatusServiceUnavailable)
}

func TestTheCurrentGrantIsRevokedFirst(t *testing.T) {
	w := connected(t)
	other := oauthtest.New(t, func(c *oauthtest.Config) { c.Now = w.clock.Now })
	first := w.server.MCPURL()
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = other.MCPURL() })
	w.consent()
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.ServerURL = first })
	leaked := w.secret()[v1alpha1.KeyAccessToken]
	other.Handle(oauthtest.RevokePath, unavailable)
	w.annotate(v1alpha1.AnnotationRevoke, "leak")
	if w.server.ValidAccessToken(leaked) {
		t.Error("the token is still valid")
	}
}

func TestAConsentDoesNotKeepAWithdrawnGrantFromBeingRevoked(t *testing.T) {
	w := connected(t)
	leaked := w.server.Grants()[0].RefreshToken
	w.annotate(v1alpha1.AnnotationReauthorize, "again")
	w.server.HandleTimes(oauthtest.RevokePath, 2, unavailable)
	w.annotate(v1alpha1.AnnotationRevoke, "leak")
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	revoked := slices.ContainsFunc(w.server.Requests(), func(r oauthtest.Request) bool {
		return r.Path == oauthtest.RevokePath && r.Form.Get("token") == leaked
	})
	if !revoked || w.server.Count(oauthtest.RevokePath) < 4 {
		t.Errorf("%d requests to revoke", w.server.Count(oauthtest.RevokePath))
	}
}

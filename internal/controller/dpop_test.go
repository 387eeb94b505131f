package controller

import (
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// holdsBoundToken checks that the token Secret has all that a consumer needs to prove possession.
func (w *world) holdsBoundToken() {
	w.t.Helper()
	secret := w.secret()
	if secret["token_type"] != "DPoP" || secret["authorization"] != "DPoP "+secret["access_token"] {
		w.t.Errorf("the Secret holds a token of type %q", secret["token_type"])
	}
	if _, err := mcpoauth.ParseDPoPKey([]byte(secret["dpop_jwk"])); err != nil {
		w.t.Error(err)
	}
}

func TestAServerThatAsksForDPoPGetsProofsAndItsTokensCarryTheKey(t *testing.T) {
	for name, nonce := range map[string]string{"without a nonce": "", "with a nonce": "nonce-1"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, nonce })
			w.apply()
			w.consent()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.holdsBoundToken()
			key := w.secret()["dpop_jwk"]
			w.restart()
			w.untilRefresh()
			w.reconcile()
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			w.holdsBoundToken()
			if w.secret()["dpop_jwk"] != key {
				t.Error("the key changed with a refresh")
			}
		})
	}
}

func TestEveryGrantIsBoundWhereTheServerAsksForIt(t *testing.T) {
	t.Run("client credentials", func(t *testing.T) {
		w := newWorld(t, func(c *oauthtest.Config) { c.DPoP = true })
		w.registerByHand(firstSecret, "")
		w.keepCredentials(firstSecret)
		w.apply(w.clientCredentials)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
	})
	t.Run("JWT bearer", func(t *testing.T) {
		w := workloads(t)
		w.server.Configure(func(c *oauthtest.Config) { c.DPoP = true })
		w.account(w.server.Issuer())
		w.apply(byAccount)
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
	})
	t.Run("token exchange", func(t *testing.T) {
		w, idp := enterprise(t, func(string, string) (string, error) { return "alice", nil })
		w.server.Configure(func(c *oauthtest.Config) { c.DPoP = true })
		w.keep("identity", map[string]string{"token": "the-subject-token"})
		w.apply(w.byExchange(idp))
		w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
		w.holdsBoundToken()
	})
}

func TestAServerThatDoesNotAskForDPoPGetsNoKey(t *testing.T) {
	w := connected(t)
	if got := w.secret(); got["token_type"] != "Bearer" || got["dpop_jwk"] != "" || w.server.Last(oauthtest.TokenPath).Header.Get("DPoP") != "" {
		t.Errorf("a token of type %s", got["token_type"])
	}
}

func TestAServerThatBeginsToAskForDPoPIsNoticedByAChallenge(t *testing.T) {
	w := connected(t)
	w.server.Configure(func(c *oauthtest.Config) { c.DPoP = true })
	w.annotate(v1alpha1.AnnotationChallenge, `DPoP error="invalid_token", algs="ES256"`)
	for range 2 {
		w.reconcile()
	}
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.holdsBoundToken()
}

func TestAServerThatTalksOfDPoPAndIssuesBearerTokensIsTakenAtItsWord(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.DPoP = true })
	w.apply()
	answersToken(w, "Bearer")
	w.consent()
	if got := w.secret(); got["token_type"] != "Bearer" || got["dpop_jwk"] != "" {
		t.Errorf("a token of type %s is published with a key", got["token_type"])
	}
}

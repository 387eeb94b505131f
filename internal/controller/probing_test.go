package controller

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

const probed = v1alpha1.ConditionProbed

// tokenTried has the MCP server answer those with a token in this way, and nobody else.
func (w *world) tokenTried(answer http.HandlerFunc) {
	w.server.Handle(oauthtest.MCPPath, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			rw.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+w.server.URL+oauthtest.ResourceMetadataPath+`"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(rw, r)
	})
}

// tries is how often a token was presented at the MCP server.
func (w *world) tries() int {
	n := 0
	for _, r := range w.server.Requests() {
		if r.Path == oauthtest.MCPPath && r.Header.Get("Authorization") != "" && strings.Contains(r.Body, "server/discover") {
			n++
		}
	}
	return n
}

func (w *world) every(interval time.Duration) {
	w.edit(func(c *v1alpha1.MCPConnection) {
		c.Spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: interval}}
	})
}

func TestAConsentIsFollowedByOneProbe(t *testing.T) {
	w := connected(t)
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	server := w.get().Status.Server
	if server == nil || server.Name != "oauthtest" || server.Version != "1.0.0" || server.ProtocolVersion != "2025-11-25" || *server.Tools != 1 || server.ProbedAt == nil {
		t.Fatalf("the server is %+v", server)
	}
	w.restart()
	w.untilRefresh()
	w.reconcile()
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.DeletionPolicy = v1alpha1.DeletionPolicyOrphan })
	if w.tries() != 1 || *w.get().Status.Server.ProbedAt != *server.ProbedAt {
		t.Errorf("%d probes", w.tries())
	}
	w.annotate(v1alpha1.AnnotationReauthorize, "1")
	w.consent()
	if w.tries() != 2 {
		t.Errorf("%d probes after another consent", w.tries())
	}
}

func TestProbesGoOnAtTheInterval(t *testing.T) {
	w := connected(t)
	w.every(10 * time.Minute)
	first := w.get().Status.Server.ProbedAt
	for range 3 {
		w.restart()
		before := w.get().Status
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
		w.reconcile()
		w.reconcile()
		after := w.get().Status
		if next := after.Next; next == nil || !next.At.After(w.clock.Now()) {
			t.Errorf("next is %+v", next)
		}
		if before.Next, after.Next = nil, nil; !equality.Semantic.DeepEqual(before, after) || *after.Server.ProbedAt != *first {
			t.Error("status changed, though the result did not")
		}
	}
	if got := w.tries(); got != 4 {
		t.Errorf("%d probes in half an hour", got)
	}
	w.server.Configure(func(c *oauthtest.Config) { c.RequiredScopes = []string{"mcp:admin"} })
	w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	conn := w.reconcile()
	w.want(probed, isFalse, v1alpha1.ReasonInsufficientScope)
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	if !strings.Contains(findCondition(conn.Status.Conditions, probed).Message, "mcp:admin") || conn.Status.AuthorizationURL != "" || *conn.Status.Server.Tools != 1 {
		t.Errorf("status is %+v", conn.Status)
	}
	w.server.Configure(func(c *oauthtest.Config) { c.RequiredScopes = nil })
	w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestMissingScopesAreToldOnceAndNoConsentIsAskedFor(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.RequiredScopes = []string{"mcp:admin"} })
	w.apply()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonInsufficientScope)
	for range 3 {
		w.restart()
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile()
	}
	if w.tries() != 1 || w.get().Status.AuthorizationURL != "" || w.server.Count(oauthtest.AuthorizePath) != 1 {
		t.Errorf("%d probes, %d consents", w.tries(), w.server.Count(oauthtest.AuthorizePath))
	}
}

func TestARefreshThatHelpsIsAllThereIsToA401(t *testing.T) {
	w := newWorld(t)
	w.apply()
	first := ""
	w.tokenTried(func(rw http.ResponseWriter, r *http.Request) {
		if first == "" {
			first = r.Header.Get("Authorization")
		}
		if r.Header.Get("Authorization") == first {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.server.Handle(oauthtest.MCPPath, nil)
		rw.WriteHeader(http.StatusNotFound) // server/discover is not known; initialize follows
	})
	discoveries := w.server.Count(oauthtest.ResourceMetadataPath)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	if w.tries() != 2 || w.server.Count(oauthtest.ResourceMetadataPath) != discoveries {
		t.Errorf("%d probes, and the server was discovered", w.tries())
	}
}

func TestA401OfAServerThatMovedLeadsToTheNewAuthorizationServer(t *testing.T) {
	w := connected(t)
	w.every(time.Minute)
	other := w.migrated()
	w.server.RevokeGrants()
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	if !other.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) {
		t.Error("the token is not the new server's")
	}
}

func TestAnUnreachableServerIsTriedAgainAndStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.apply()
	w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.want(probed, isFalse, v1alpha1.ReasonServerUnreachable)
	for attempt := range 3 {
		f := w.get().Status.Failure
		if f == nil || f.Step != string(stepProbe) || int(f.Attempts) != attempt+1 || w.tries() != attempt+1 {
			t.Fatalf("after %d probes the failure is %+v", w.tries(), f)
		}
		w.restart()
		w.reconcile()
		w.clock.SetTime(f.RetryAt.Time)
		w.reconcile()
	}
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.untilRefresh()
	w.reconcile()
	if w.secret()[v1alpha1.KeyAccessToken] == token {
		t.Error("the outage stopped the refresh")
	}
	w.server.Handle(oauthtest.MCPPath, nil)
	w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
	w.reconcile()
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	if f := w.get().Status.Failure; f != nil {
		t.Errorf("the failure stays: %+v", f)
	}
}

func TestASuspendedConnectionIsNotProbed(t *testing.T) {
	w := connected(t)
	w.every(time.Minute)
	w.edit(func(c *v1alpha1.MCPConnection) { suspend := true; c.Spec.Suspend = &suspend })
	tries := w.tries()
	w.clock.SetTime(w.clock.Now().Add(time.Hour / 2))
	w.reconcile()
	if w.tries() != tries {
		t.Error("it was probed")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = nil })
	if w.tries() != tries+1 {
		t.Error("it was not probed after that")
	}
}

func TestAPublicServerIsProbedWithoutAToken(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.Public = true })
	w.apply(func(c *v1alpha1.MCPConnection) {
		c.Spec.Probe = &v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Minute}}
	})
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	w.want(ready, isTrue, v1alpha1.ReasonAuthorizationNotRequired)
	if w.tries() != 0 || w.get().Status.Server.Name != "oauthtest" {
		t.Errorf("a token was sent, or the server is %+v", w.get().Status.Server)
	}
	w.server.Configure(func(c *oauthtest.Config) { c.Public = false })
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

func TestATokenBoundToAKeyIsProbedWithProofs(t *testing.T) {
	w := newWorld(t, func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, "n-1" })
	w.apply()
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	for _, r := range w.server.Requests() {
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			t.Errorf("%s %s was sent with a bearer token", r.Method, r.Path)
		}
	}
}

func TestTheNextTokenOfAnUnattendedGrantIsNotProbed(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.apply(w.clientCredentials)
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	w.untilRefresh()
	w.reconcile()
	if w.server.Count(oauthtest.TokenPath) != 2 || w.tries() != 1 {
		t.Errorf("%d token requests, %d probes", w.server.Count(oauthtest.TokenPath), w.tries())
	}
}

func TestA401OfAnUnattendedGrantAsksForOneToken(t *testing.T) {
	w := newWorld(t)
	w.registerByHand(firstSecret, "")
	w.keepCredentials(firstSecret)
	w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
	w.apply(w.clientCredentials)
	w.want(ready, isFalse, v1alpha1.ReasonProbeUnauthorized)
	w.later(time.Minute) // the same token is tried once more
	if w.server.Count(oauthtest.TokenPath) != 2 || w.tries() != 3 || w.get().Status.AuthorizationURL != "" {
		t.Errorf("%d token requests, %d probes", w.server.Count(oauthtest.TokenPath), w.tries())
	}
	if held, err := w.r.Store.Get(t.Context(), w.get().UID); err != nil || held.Grants[0].Probe.Wants != credential.WantsNothing {
		t.Errorf("something is still wanted: %v", err)
	}
}

func TestAServerThatBeginsToDemandDPoPIsSatisfiedByTheProbe(t *testing.T) {
	w := connected(t)
	w.every(time.Minute)
	w.server.Configure(func(c *oauthtest.Config) { c.DPoP = true })
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	w.reconcile()
	w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if secret := w.secret(); secret[v1alpha1.KeyTokenType] != "DPoP" || secret[v1alpha1.KeyDPoPJWK] == "" {
		t.Errorf("the token is of type %q", secret[v1alpha1.KeyTokenType])
	}
}

func TestAProbeThatEndedItsProcessIsNotTriedAgainAtOnce(t *testing.T) {
	for name, before := range map[string]func(w *world){
		"the first of a grant": func(w *world) {
			w.apply()
			w.open(w.get().Status.AuthorizationURL)
		},
		"one at the interval": func(w *world) {
			w.apply()
			w.consent()
			w.every(time.Minute)
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
		},
		"one after a failure": func(w *world) {
			w.apply()
			w.tokenTried(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
			w.consent()
			w.clock.SetTime(w.get().Status.Failure.RetryAt.Time)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before(w)
			w.dieWhenTried()
			tried := w.tries()
			w.clock.SetTime(w.clock.Now().Add(time.Second))
			for range 3 {
				w.restart()
				w.reconcile()
			}
			if got := w.tries(); got != tried {
				t.Fatalf("the server was tried %d times after restarts", got-tried)
			}
			w.clock.SetTime(w.clock.Now().Add(probeRest))
			w.reconcile()
			w.want(probed, isTrue, v1alpha1.ReasonSucceeded)
			if got := w.tries(); got != tried+1 {
				t.Errorf("the server was tried %d times after the rest", got-tried)
			}
		})
	}
}

// dieWhenTried ends a reconcile while the server is tried, before anything else is written.
func (w *world) dieWhenTried() {
	w.t.Helper()
	ctx, die := context.WithCancel(w.t.Context())
	defer die()
	w.tokenTried(func(http.ResponseWriter, *http.Request) { die() })
	if _, err := w.r.Reconcile(ctx, ctrl.Request{NamespacedName: w.key}); err != nil {
		w.t.Fatal(err)
	}
	if ctx.Err() == nil {
		w.t.Fatal("the server was not tried")
	}
	w.server.Handle(oauthtest.MCPPath, nil)
}

package controller

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestAProcessDiesWithTheSecondTryAndNoThirdFollowsWhileTheTokenIsValid(t *testing.T) {
	w := connected(t, keptTokens)
	w.server.Lose(oauthtest.TokenPath, 1)
	w.untilRefresh()
	w.reconcile() // sent once, no answer
	w.abandon(claimGrant)
	w.untilRetry()
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(takeoverAfter))
	w.reconcile()
	if g := w.stored().Grants[0]; g.Claim != nil || g.UnknownOutcomes != 2 || w.server.Count(oauthtest.TokenPath) != 2 {
		t.Fatalf("claim %v, %d unknown outcomes, %d token requests", g.Claim, g.UnknownOutcomes, w.server.Count(oauthtest.TokenPath))
	}
	w.want(ready, isTrue, v1alpha1.ReasonRefreshFailing)
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.TokenPath) != 3 {
		t.Error("no try once nothing could be lost by it")
	}
}

func TestAClaimOfAnEarlierProcessOfThePodIsTakenOverAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		pod  string
		sent int
	}{
		"of this pod":                      {"pod", 2},
		"of a pod whose UID begins alike":  {"po", 1},
		"outside of a pod nothing is said": {"", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			w.abandon(func(c *credential.Credential, claim *credential.Claim) {
				claim.Holder = "pod/before"
				c.Grants[0].Claim = claim
			})
			w.restart()
			w.r.Pod, w.r.Holder = test.pod, test.pod+"/now"
			w.untilRefresh()
			w.reconcile()
			if sent := w.server.Count(oauthtest.TokenPath); sent != test.sent {
				t.Errorf("%d token requests, want %d", sent, test.sent)
			}
		})
	}
}

// flaky is an API server that fails at some updates.
type flaky struct {
	client.Client
	fails func() bool
}

func (f flaky) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if f.fails() {
		return errors.New("connection refused")
	}
	return f.Client.Update(ctx, obj, opts...)
}

// unsaved is how many answers are not saved, by the metric as it is scraped.
func (w *world) unsaved() float64 {
	const name = "mcp_connection_unsaved_answers"
	w.t.Helper()
	families, err := metrics.Registry.Gather()
	w.must(err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

func TestAnAnswerThatCannotBeSavedIsCountedAndKeptUntilItIs(t *testing.T) {
	w := connected(t)
	token := w.stored().Grants[0].RefreshToken
	writes, most := 0, 0.0
	w.r.Store = credential.NewStore(flaky{api, func() bool {
		writes++
		most = max(most, w.unsaved())
		return writes > 1 && writes < 5 // the claim comes through, then the API server is away
	}}, operatorNamespace)
	w.untilRefresh()
	w.reconcile()
	if writes != 5 || most != 1 || w.unsaved() != 0 {
		t.Errorf("%d writes; %v answers were unsaved, and %v are", writes, most, w.unsaved())
	}
	if g := w.stored().Grants[0]; g.Claim != nil || g.RefreshToken == token {
		t.Error("the answer was not saved")
	}
	log := strings.Join(w.log.all(), "\n")
	if strings.Count(log, "cannot be saved") != 1 || strings.Count(log, "is saved now") != 1 {
		t.Errorf("the log says %s", log)
	}
}

func TestAfterALostAnswerTheOneMoreTryDoesNotWaitForEarlierFailures(t *testing.T) {
	w := connected(t, keptTokens)
	w.server.Handle(oauthtest.TokenPath, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.untilRefresh()
	for range 6 {
		w.reconcile()
		w.untilRetry()
	}
	w.server.Handle(oauthtest.TokenPath, nil)
	w.server.Lose(oauthtest.TokenPath, 1)
	w.reconcile()
	if wait := w.get().Status.Failure.RetryAt.Sub(w.clock.Now()); wait > firstRetry+time.Second {
		t.Errorf("the one more try comes after %s", wait)
	}
}

// frozen is a way to the API server on which a process is frozen before its first read of a token Secret.
type frozen struct {
	client.Client
	once      *sync.Once
	meanwhile func()
}

func (f frozen) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	f.once.Do(f.meanwhile)
	return f.Client.Get(ctx, key, obj, opts...)
}

func TestAProcessThatWasFrozenPublishesNoTokenOlderThanTheOneItFinds(t *testing.T) {
	w := connected(t)
	old := w.secret()[v1alpha1.KeyAccessToken]
	w.untilRefresh()
	resumed := w.r
	w.restart()
	token := &corev1.Secret{}
	w.must(api.Get(t.Context(), client.ObjectKey{Namespace: w.key.Namespace, Name: tokenSecretName(w.get())}, token))
	token.Labels["example.com/edited"] = "true" // so that it is read live
	w.must(api.Update(t.Context(), token))
	var published []string
	resumed.Secrets = frozen{api, &sync.Once{}, func() {
		w.reconcile() // the other one refreshes and publishes
		published = append(published, w.secret()[v1alpha1.KeyAccessToken])
	}}
	resumed.Secrets = noting{resumed.Secrets, func(obj client.Object) {
		if s, ok := obj.(*corev1.Secret); ok {
			published = append(published, string(s.Data[v1alpha1.KeyAccessToken]))
		}
	}}
	_, err := resumed.Reconcile(t.Context(), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	if len(published) == 0 || published[0] == old || slices.Contains(published, old) {
		t.Errorf("%d tokens were published, the last %v", len(published), w.secret()[v1alpha1.KeyAccessToken] == old)
	}
	if w.secret()[v1alpha1.KeyAccessToken] != w.stored().Grants[0].AccessToken {
		t.Error("the token that is published is not the newest")
	}
}

// noting tells of every update.
type noting struct {
	client.Client
	updated func(client.Object)
}

func (n noting) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	n.updated(obj)
	return n.Client.Update(ctx, obj, opts...)
}

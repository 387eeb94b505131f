package controller

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// frozenAfter has a policy refuse every update of a credential Secret once an endpoint has answered, until thaw is called.
func (w *world) frozenAfter(path string) (thaw func()) {
	w.t.Helper()
	asked := w.server.Count(path)
	var thawed atomic.Bool
	w.before(apiRules{update: when(isCredential, func(s *corev1.Secret) error {
		if thawed.Load() || w.server.Count(path) == asked || api.Get(context.Background(), client.ObjectKeyFromObject(s), &corev1.Secret{}) != nil {
			return nil // policies are asked about what exists
		}
		return denied(s)
	})})
	return func() { thawed.Store(true) }
}

// saved waits until nothing is in memory only, and reconciles.
func (w *world) saved() {
	w.t.Helper()
	if !w.r.Drain(time.Minute) {
		w.t.Fatal("an answer is still not saved")
	}
	w.reconcile()
}

func TestAnAnswerThatIsRefusedIsSavedBesideTheReconciles(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		// meets has the operator get an answer that it cannot save.
		meets func(w *world, freeze func())
	}{
		"to a code": {oauthtest.TokenPath, func(w *world, freeze func()) { w.apply(); freeze(); w.consent() }},
		"that refuses a code": {oauthtest.TokenPath, func(w *world, freeze func()) {
			w.apply()
			w.server.HandleTimes(oauthtest.TokenPath, 1, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(http.StatusBadRequest)
				_, _ = rw.Write([]byte(`{"error":"invalid_grant"}`))
			})
			freeze()
			w.consent()
		}},
		"to a refresh": {oauthtest.TokenPath, func(w *world, freeze func()) {
			w.apply()
			w.consent()
			w.untilRefresh()
			freeze()
			w.reconcile()
		}},
		"to client credentials": {oauthtest.TokenPath, func(w *world, freeze func()) {
			w.registerByHand(firstSecret, "")
			w.keepCredentials(firstSecret)
			freeze()
			w.apply(w.clientCredentials)
		}},
		"to a registration": {oauthtest.RegisterPath, func(w *world, freeze func()) { freeze(); w.apply() }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			idle, thaw := w.free(), func() {}
			t.Cleanup(func() { thaw() })
			test.meets(w, func() { thaw = w.frozenAfter(test.path) })
			asked := w.server.Count(test.path)
			if w.unsaved() != 1 || w.r.Drain(0) || w.free() != idle {
				t.Fatalf("%v answers are unsaved, or a stop would not wait; %d slots are free of %d", w.unsaved(), w.free(), idle)
			}
			f := w.get().Status.Failure
			if f == nil || f.Step != string(stepSave) || f.Reason != v1alpha1.ReasonSecretWriteFailing || f.RetryAt == nil ||
				!strings.Contains(f.Message, "in memory only") || !strings.Contains(f.Message, "frozen") {
				t.Errorf("the failure is %+v", f)
			}
			w.later(time.Minute)
			w.later(time.Hour)
			if n := w.server.Count(test.path); n != asked {
				t.Errorf("%d more requests while the answer was not saved", n-asked)
			}
			thaw()
			w.saved()
			if f := w.get().Status.Failure; f != nil && f.Step == string(stepSave) {
				t.Errorf("it is saved, and status says %+v", f)
			}
			if w.get().Status.AuthorizationURL != "" {
				w.consent()
			}
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if !w.server.ValidAccessToken(w.secret()[v1alpha1.KeyAccessToken]) || w.unsaved() != 0 {
				t.Errorf("no valid token is published, or %v answers are unsaved", w.unsaved())
			}
		})
	}
}

// whileUnsaved is a connection with a published token whose refresh was answered, which cannot be saved.
func whileUnsaved(t testing.TB) (w *world, thaw func()) {
	t.Helper()
	w = connected(t)
	w.untilRefresh()
	thaw = w.frozenAfter(oauthtest.TokenPath)
	t.Cleanup(thaw)
	w.reconcile()
	if w.unsaved() != 1 {
		t.Fatal("the answer is not in memory only")
	}
	return w, thaw
}

func TestReadyEndsOnTimeThoughAnAnswerCannotBeSaved(t *testing.T) {
	w, thaw := whileUnsaved(t)
	w.want(ready, isTrue, v1alpha1.ReasonSecretWriteFailing)
	w.clock.SetTime(w.get().Status.Token.ExpiresAt.Time)
	w.reconcile()
	w.want(ready, isFalse, v1alpha1.ReasonSecretWriteFailing)
	thaw()
	w.saved()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
}

func TestAConnectionIsWokenWhileAndOnceItsAnswerIsSaved(t *testing.T) {
	w := connected(t)
	w.untilRefresh()
	var woken atomic.Int32
	w.r.slots.SetWake(func(types.NamespacedName, slots.Urgency) { woken.Add(1) })
	thaw := w.frozenAfter(oauthtest.TokenPath)
	t.Cleanup(thaw)
	w.reconcile()
	for woken.Load() == 0 { // bounded by the test's own time-out
		w.reconcile()
	}
	w.reconcile()
	if f := w.get().Status.Failure; f.Attempts < 2 {
		t.Errorf("after another try the failure is %+v", f)
	}
	before := woken.Load()
	thaw()
	w.saved()
	if woken.Load() == before {
		t.Error("it was not woken once its answer was saved")
	}
}

// deletedWhileUnsaved is such a connection that is being deleted. brought is the refresh token of the answer.
func deletedWhileUnsaved(t testing.TB) (w *world, brought string, thaw func()) {
	t.Helper()
	w, thaw = whileUnsaved(t)
	w.must(api.Delete(t.Context(), w.get()))
	w.reconcile()
	return w, w.server.Grants()[0].RefreshToken, thaw
}

func TestADeletionWaitsForAnAnswerAndRevokesWhatItBrought(t *testing.T) {
	w, brought, thaw := deletedWhileUnsaved(t)
	if f := w.get().Status.Failure; f == nil || f.Step != string(stepFinalize) || !strings.Contains(f.Message, "cannot be saved yet") {
		t.Errorf("the failure is %+v", f)
	}
	if w.secret() != nil || w.server.Count(oauthtest.RevokePath) != 0 {
		t.Error("the token is still published, or the old tokens were revoked and would be all")
	}
	thaw()
	w.saved()
	w.untilRetry()
	w.reconcile()
	if w.get() != nil || !slices.Contains(w.revoked(), brought) {
		t.Error("the object is there, or what the answer brought was not revoked")
	}
}

func TestADeletionGivesUpAnAnswerThatCannotBeSavedInTimeAndGivesItBack(t *testing.T) {
	w, brought, _ := deletedWhileUnsaved(t)
	w.later(finalizeWithin)
	if w.get() != nil {
		t.Fatal("the object is still there")
	}
	if !w.r.Drain(time.Minute) {
		t.Fatal("there is nothing to save it in, and saving goes on")
	}
	if !slices.Contains(w.revoked(), brought) {
		t.Error("what the answer brought was not revoked")
	}
}

func TestARevocationAskedForWhileAnAnswerIsNotSavedEndsWhatItBrought(t *testing.T) {
	w, thaw := whileUnsaved(t)
	brought := w.server.Grants()[0].RefreshToken
	w.annotate(v1alpha1.AnnotationRevoke, "leaked")
	if w.get().Status.LastHandled != nil && w.get().Status.LastHandled.Revoke != "" {
		t.Error("it is told as done")
	}
	thaw()
	w.saved()
	w.later(time.Minute)
	if w.secret()[v1alpha1.KeyAccessToken] != "" || !slices.Contains(w.revoked(), brought) {
		t.Error("a token is published, or what the answer brought was not revoked")
	}
}

func TestAPanicInASpendReachesItsReconcile(t *testing.T) {
	r := &Reconciler{}
	defer func() {
		if p, is := recover().(string); !is || !strings.Contains(p, "boom") {
			t.Errorf("it ended with %v", p)
		}
		if !r.Drain(time.Minute) {
			t.Error("a stop would wait for it")
		}
	}()
	_ = r.spend(t.Context(), &observed{}, func(context.Context) error { panic("boom") })
}

package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// strip removes the finalizer, as another manager that replaces the object does, and makes other changes with it.
func (w *world) strip(change ...func(*v1alpha1.MCPConnection)) {
	w.t.Helper()
	conn := w.get()
	conn.Finalizers = nil
	for _, c := range change {
		c(conn)
	}
	w.must(api.Update(w.t.Context(), conn, client.FieldOwner("somebodys-controller")))
}

func (w *world) hasFinalizer() bool {
	return slices.Contains(w.get().Finalizers, v1alpha1.Finalizer)
}

func TestARevocationAskedForByAWriteThatStripsTheFinalizerIsDone(t *testing.T) {
	for name, suspended := range map[string]bool{"a running connection": false, "a suspended connection": true} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			token := w.secret()[v1alpha1.KeyAccessToken]
			w.server.Handle(oauthtest.MCPPath, answers503)
			w.strip(func(c *v1alpha1.MCPConnection) {
				c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "leaked"}
				c.Spec.Suspend = ptr.To(suspended)
			})
			conn := w.reconcile()
			if conn.Status.LastHandled == nil || conn.Status.LastHandled.Revoke != "leaked" || w.secret()[v1alpha1.KeyAccessToken] != "" || w.server.ValidAccessToken(token) {
				t.Error("the token is still published or valid, or the request is not marked as handled")
			}
			if !w.hasFinalizer() {
				t.Error("the finalizer is not back")
			}
		})
	}
}

func TestAStrippedFinalizerIsPutBackAndNothingIsDoneAnew(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.MCPConnection){
		"alone":             func(*v1alpha1.MCPConnection) {},
		"with a suspension": func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = ptr.To(true) },
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			before := len(w.server.Requests())
			w.strip(change)
			conn := w.reconcile()
			if !w.hasFinalizer() || len(w.server.Requests()) != before || conn.Status.Failure != nil {
				t.Errorf("the finalizer is not back, or a server was asked: %+v", conn.Status.Failure)
			}
		})
	}
}

func TestAFinalizerThatIsStrippedAgainIsPutBackLaterAndItsManagerIsNamed(t *testing.T) {
	w := connected(t)
	w.strip()
	w.reconcile()
	w.drainEvents()
	last := time.Duration(0)
	for range 4 {
		w.strip(func(c *v1alpha1.MCPConnection) { c.Labels = map[string]string{"at": w.clock.Now().Format("150405")} })
		wait := w.oneLook()
		conn := w.get()
		if w.hasFinalizer() || wait <= last || conn.Status.Failure == nil || conn.Status.Failure.Step != string(stepAddFinalizer) {
			t.Fatalf("it is put back at once, or not later than the last time: after %s: %+v", wait, conn.Status.Failure)
		}
		if events := strings.Join(w.drainEvents(), "\n"); !strings.Contains(events, reasonFinalizerRemoved) || !strings.Contains(events, "somebodys-controller") {
			t.Fatalf("nobody is named in %q", events)
		}
		last = wait
		w.clock.SetTime(w.clock.Now().Add(wait))
		w.reconcile()
		if !w.hasFinalizer() || w.get().Status.Failure != nil {
			t.Fatalf("it is not put back on time: %+v", w.get().Status.Failure)
		}
	}
	w.strip()
	w.oneLook()
	w.untilRefresh()
	spent := w.server.Count(oauthtest.TokenPath)
	w.reconcile()
	if w.server.Count(oauthtest.TokenPath) != spent+1 {
		t.Error("the refresh waits for the finalizer")
	}
}

func TestADeletedConnectionThatAnothersFinalizerHoldsIsEndedAllTheSame(t *testing.T) {
	w := connected(t)
	uid, token := w.get().UID, w.secret()[v1alpha1.KeyAccessToken]
	const other = "example.com/other"
	conn := w.get()
	conn.Finalizers = []string{other}
	w.must(api.Update(t.Context(), conn))
	w.must(api.Delete(t.Context(), w.get()))
	w.oneLook()
	if w.server.ValidAccessToken(token) || w.credentialSecret(uid) != nil || w.has(w.inNamespace("c-token")) {
		t.Error("the grant or a Secret is left")
	}
	if got := w.get().Finalizers; !slices.Equal(got, []string{other}) {
		t.Fatalf("the finalizers are %v", got)
	}
	asked := len(w.server.Requests())
	if wait := w.oneLook(); wait != 0 || len(w.server.Requests()) != asked {
		t.Errorf("what is ended is ended again, and looked at after %s", wait)
	}
	conn = w.get()
	conn.Finalizers = nil
	w.must(api.Update(t.Context(), conn))
}

func TestOnlyAStrippedFinalizerWakesAConnection(t *testing.T) {
	with := &v1alpha1.MCPConnection{}
	with.Finalizers = []string{"example.com/other", v1alpha1.Finalizer}
	without := &v1alpha1.MCPConnection{}
	without.Finalizers = []string{"example.com/other"}
	p := finalizerStripped()
	if !p.Update(event.UpdateEvent{ObjectOld: with, ObjectNew: without}) {
		t.Error("a stripped one does not")
	}
	if p.Update(event.UpdateEvent{ObjectOld: without, ObjectNew: with}) || p.Update(event.UpdateEvent{ObjectOld: with, ObjectNew: with}) || p.Create(event.CreateEvent{Object: without}) {
		t.Error("something else does")
	}
}

func TestARevocationIsDoneWhileSuspended(t *testing.T) {
	w := connected(t)
	token := w.secret()[v1alpha1.KeyAccessToken]
	w.suspend()
	w.server.HandleTimes(oauthtest.RevokePath, 2, answers503)
	conn := w.annotate(v1alpha1.AnnotationRevoke, "leaked")
	w.want(ready, isFalse, v1alpha1.ReasonSuspended)
	if w.secret()[v1alpha1.KeyAccessToken] != "" || conn.Status.Failure == nil || conn.Status.Failure.Step != string(stepRevoke) {
		t.Fatalf("the token is published, or the revocation did not fail: %+v", conn.Status.Failure)
	}
	w.restart()
	if wait := w.oneLook(); wait <= 0 {
		t.Fatal("nobody tries the revocation again")
	}
	w.untilRetry()
	conn = w.reconcile()
	if w.server.ValidAccessToken(token) || conn.Status.Failure != nil || len(w.stored().Grants) != 0 {
		t.Errorf("the token is still valid, or the grant is kept: %+v", conn.Status.Failure)
	}
	asked := len(w.server.Requests())
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	if conn = w.reconcile(); conn.Status.AuthorizationURL != "" || len(w.server.Requests()) != asked {
		t.Error("a link is offered, or a server was asked, while suspended")
	}
	w.edit(func(c *v1alpha1.MCPConnection) { c.Spec.Suspend = nil })
	w.want(ready, isFalse, v1alpha1.ReasonConsentRequired)
}

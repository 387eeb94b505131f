package controller

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
	"github.com/mcp-connection/operator/internal/slots"
)

// occupy takes all slots of a host that work of an urgency may hold, each for another namespace, and returns what gives them back.
func (w *world) occupy(url string, u slots.Urgency) (leave func()) {
	w.t.Helper()
	leave, n := w.fill(url, u, func(i int) string { return fmt.Sprint("other-", i) })
	if n == 0 {
		w.t.Fatal("the host is full already")
	}
	return leave
}

// free is how many more requests the connection's namespace may make to its server at once.
func (w *world) free() int {
	w.t.Helper()
	leave, n := w.fill(w.server.URL, slots.DueExchange, func(int) string { return w.key.Namespace })
	leave()
	return n
}

// fill takes slots of a host as long as there are any, and returns what gives them back, and their number.
func (w *world) fill(url string, u slots.Urgency, namespace func(i int) string) (leave func(), n int) {
	var passes []*slots.Pass
	for p := w.unqueuedPass(namespace(0)); p.Take(url, u, w.clock.Now()); p = w.unqueuedPass(namespace(len(passes))) {
		passes = append(passes, p)
	}
	return func() {
		for _, p := range passes {
			p.Release()
		}
	}, len(passes)
}

// unqueuedPass takes slots for somebody else.
func (w *world) unqueuedPass(namespace string) *slots.Pass {
	return w.r.slots.UnqueuedPass(types.NamespacedName{Namespace: namespace, Name: "x"})
}

// one makes one reconcile.
func (w *world) one() ctrl.Result {
	w.t.Helper()
	result, err := w.r.Reconcile(ctrl.LoggerInto(w.t.Context(), w.log.logger()), ctrl.Request{NamespacedName: w.key})
	w.must(err)
	return result
}

func TestEveryRequestToAServerWaitsForASlot(t *testing.T) {
	for name, test := range map[string]struct {
		configure func(*oauthtest.Config)
		begin     func(w *world)
		path      string
	}{
		"the revocation of a deletion": {begin: func(w *world) { w.must(api.Delete(w.t.Context(), w.get())) }, path: oauthtest.RevokePath},
		"the revocation that was asked for": {begin: func(w *world) {
			conn := w.get()
			conn.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "leaked"}
			w.must(api.Update(w.t.Context(), conn))
		}, path: oauthtest.RevokePath},
		"the discovery that was asked for": {begin: func(w *world) {
			conn := w.get()
			conn.Annotations = map[string]string{v1alpha1.AnnotationReauthorize: "now"}
			w.must(api.Update(w.t.Context(), conn))
		}, path: oauthtest.MCPPath},
		"the refresh that was asked for": {begin: func(w *world) {
			conn := w.get()
			conn.Annotations = map[string]string{v1alpha1.AnnotationRefresh: "now"}
			w.must(api.Update(w.t.Context(), conn))
		}, path: oauthtest.TokenPath},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			leave := w.occupy(w.server.URL, slots.Ordinary)
			before := len(w.server.Requests())
			test.begin(w)
			result := w.one()
			if sent := len(w.server.Requests()) - before; sent != 0 || result.RequeueAfter == 0 {
				t.Fatalf("%d requests were sent, and it is looked at again after %s", sent, result.RequeueAfter)
			}
			if conn := w.get(); conn == nil || conn.Status.Failure != nil {
				t.Fatalf("waiting counts as a failure: %+v", conn)
			}
			count := w.server.Count(test.path)
			leave()
			w.one()
			w.one()
			if w.server.Count(test.path) == count {
				t.Error("nothing was sent once there was a slot")
			}
		})
	}
}

func TestACodeAndADueRefreshFindASlotWhereOtherWorkWaits(t *testing.T) {
	w := newWorld(t)
	w.apply()
	leave := w.occupy(w.server.URL, slots.Ordinary)
	defer leave()
	w.consent()
	w.want(authorized, isTrue, v1alpha1.ReasonSucceeded)
	before := w.server.Count(oauthtest.TokenPath)
	w.untilRefresh()
	w.one()
	if w.server.Count(oauthtest.TokenPath) != before+1 {
		t.Error("the due refresh waits")
	}
}

func TestTheAuthorizationServerOfADiscoveryHasSlotsOfItsOwn(t *testing.T) {
	w, idp := newWorld(t), oauthtest.New(t)
	w.server.Edit(oauthtest.ResourceMetadataPath, 10, func(m map[string]any) { m["authorization_servers"] = []string{idp.Issuer()} })
	leave := w.occupy(idp.URL, slots.Ordinary)
	w.apply()
	if conn := w.get(); len(idp.Requests()) != 0 || conn.Status.Failure != nil {
		t.Fatalf("%d requests went to the full authorization server; failure %+v", len(idp.Requests()), conn.Status.Failure)
	}
	leave()
	w.one()
	if len(idp.Requests()) == 0 {
		t.Error("it is not asked once there is a slot")
	}
}

func TestTheCredentialsOfAVanishedConnectionAreRevokedWhenThereIsASlot(t *testing.T) {
	w := connected(t)
	uid := w.get().UID
	w.vanish()
	w.orphans(credentialKey(uid))
	w.clock.SetTime(w.clock.Now().Add(orphanLifetime))
	leave := w.occupy(w.server.URL, slots.Ordinary)
	if again := w.orphans(credentialKey(uid)); w.server.Count(oauthtest.RevokePath) != 0 || again == 0 {
		t.Fatalf("%d revocations, and again after %s", w.server.Count(oauthtest.RevokePath), again)
	}
	leave()
	w.orphans(credentialKey(uid))
	if w.server.Count(oauthtest.RevokePath) == 0 {
		t.Error("nothing was revoked once there was a slot")
	}
}

func TestAResultSaysHowUrgentItsTimeIs(t *testing.T) {
	w := connected(t)
	expiry := w.get().Status.Token.ExpiresAt.Time
	if result := w.one(); result.Priority == nil || *result.Priority != int(slots.DueRefresh)-int(expiry.Unix()) {
		t.Errorf("the result is %+v", result)
	}
}

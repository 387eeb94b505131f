package controller

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// emptyStatus takes status away, as a restore without it does, or a careless controller.
func (w *world) emptyStatus() {
	w.t.Helper()
	conn := w.get()
	conn.Status = v1alpha1.MCPConnectionStatus{}
	w.must(api.Status().Update(w.t.Context(), conn))
}

func TestAnEmptiedStatusIsRebuiltAndNothingIsDoneTwice(t *testing.T) {
	for name, test := range map[string]struct{ annotation, value string }{
		"a revocation": {v1alpha1.AnnotationRevoke, "leak"},
		"a refresh":    {v1alpha1.AnnotationRefresh, "1"},
		"a consent":    {v1alpha1.AnnotationReauthorize, "1"},
		"a challenge":  {v1alpha1.AnnotationChallenge, `Bearer error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := connected(t)
			if w.annotate(test.annotation, test.value).Status.AuthorizationURL != "" {
				w.consent()
			}
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			before, token, counts := w.get().Status, w.secret()[v1alpha1.KeyAccessToken], w.counts()
			w.restart()
			w.emptyStatus()
			after := w.reconcile().Status
			w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
			if after.LastHandled == nil || *after.LastHandled != *before.LastHandled || after.AuthorizationURL != "" {
				t.Errorf("lastHandled is %+v, and the link %q", after.LastHandled, after.AuthorizationURL)
			}
			if w.secret()[v1alpha1.KeyAccessToken] != token || w.counts() != counts {
				t.Errorf("the token is another one, or the server was asked: %v, before %v", w.counts(), counts)
			}
		})
	}
}

// counts are the requests that the server got: at the token and the revocation endpoint.
func (w *world) counts() [2]int {
	return [2]int{w.server.Count(oauthtest.TokenPath), w.server.Count(oauthtest.RevokePath)}
}

func TestARevocationThatWasAskedForBeforeTheConsentDoesNotEndItOnceStatusIsLost(t *testing.T) {
	w := newWorld(t)
	w.apply(func(c *v1alpha1.MCPConnection) { c.Annotations = map[string]string{v1alpha1.AnnotationRevoke: "old"} })
	w.consent()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	w.emptyStatus()
	w.reconcile()
	w.want(ready, isTrue, v1alpha1.ReasonSucceeded)
	if w.server.Count(oauthtest.RevokePath) != 0 {
		t.Error("the new grant was revoked")
	}
}

func TestARequestThatIsTooLongIsRefusedOnceAndDoesNothing(t *testing.T) {
	for _, annotation := range requestAnnotations {
		o := given(granted(), published, annotated(annotation, strings.Repeat("x", maxRequest+1)))
		if !requested(o.conn) {
			t.Errorf("%s: a connection at rest does not look at it", annotation)
		}
		o.refuseLongRequests()
		if len(o.notes) != 1 || !o.notes[0].warning || !strings.Contains(o.notes[0].message, annotation) {
			t.Errorf("%s: the events are %+v", annotation, o.notes)
		}
		o.refuseLongRequests()
		if s := decide(epoch, o); s != stepNone || len(o.notes) != 1 {
			t.Errorf("%s: it leads to %q, and %d events", annotation, s, len(o.notes))
		}
		if conn := reported(epoch, o); requested(conn) || len(*requestHandled(conn.Status.LastHandled, annotation)) > maxRequest {
			t.Errorf("%s: it is looked at again and again, or status holds it all", annotation)
		}
		o.conn.Annotations[annotation] = strings.Repeat("x", maxRequest)
		if _, is := asked(o.conn, annotation, *requestHandled(&o.handled, annotation)); !is {
			t.Errorf("%s: one of the greatest length is refused", annotation)
		}
	}
}

func TestAChallengeThatWasTakenOffIsForgottenWithTheCredentialToo(t *testing.T) {
	kept := func(o *observed) { o.stored().Handled.Challenge = credential.Hash(givenChallenge) }
	for name, test := range map[string]struct {
		o    *observed
		want step
	}{
		"taken off":                 {given(granted(), published, kept), stepForgetChallenge},
		"taken off while suspended": {given(granted(), published, kept, isSuspended), stepForgetChallenge},
		"still there":               {given(granted(), published, kept, annotated(v1alpha1.AnnotationChallenge, givenChallenge), func(o *observed) { o.recallHandled() }), stepNone},
		"deleted":                   {given(granted(), published, kept, isDeleted), stepFinalize},
	} {
		if got := decide(epoch, test.o); got != test.want {
			t.Errorf("%s: the step is %q, want %q", name, got, test.want)
		}
	}
}

func TestAnotherProcessesNewsAreNotOverwritten(t *testing.T) {
	o := given(granted(), func(o *observed) { o.stored().Handled.Refresh = credential.Hash("1") }, annotated(v1alpha1.AnnotationRefresh, "1"))
	o.recallHandled()
	o.handled.Revoke = "2" // was handled, and is not kept yet
	newer := &credential.Credential{Handled: credential.Handled{Refresh: credential.Hash("2")}}
	if err := o.keeping(func(*credential.Credential) error { return nil })(newer); err != nil {
		t.Fatal(err)
	}
	if want := (credential.Handled{Refresh: credential.Hash("2"), Revoke: credential.Hash("2")}); newer.Handled != want {
		t.Errorf("it is %+v", newer.Handled)
	}
}

func TestAnUpdateThatTookStatusAwayIsLetThrough(t *testing.T) {
	whole := reported(epoch, given(granted(), published, func(o *observed) { o.handled.Refresh = "1" }))
	for name, test := range map[string]struct {
		change func(*v1alpha1.MCPConnection)
		want   bool
	}{
		"nothing":                      {func(*v1alpha1.MCPConnection) {}, false},
		"all of it":                    {func(c *v1alpha1.MCPConnection) { c.Status = v1alpha1.MCPConnectionStatus{} }, true},
		"all of it, with the default":  {func(c *v1alpha1.MCPConnection) { c.Status = v1alpha1.MCPConnectionStatus{ObservedGeneration: -1} }, true},
		"the conditions":               {func(c *v1alpha1.MCPConnection) { c.Status.Conditions = nil }, true},
		"the observed generation":      {func(c *v1alpha1.MCPConnection) { c.Status.ObservedGeneration = 0 }, true},
		"what was handled":             {func(c *v1alpha1.MCPConnection) { c.Status.LastHandled = nil }, true},
		"a condition that comes, goes": {func(c *v1alpha1.MCPConnection) { c.Status.Conditions = c.Status.Conditions[:2] }, false},
		"another message":              {func(c *v1alpha1.MCPConnection) { c.Status.Conditions[0].Message = "x" }, false},
	} {
		after := whole.DeepCopy()
		test.change(after)
		if got := statusLost().Update(event.UpdateEvent{ObjectOld: whole, ObjectNew: after}); got != test.want {
			t.Errorf("%s was taken away: %t", name, got)
		}
		if statusLost().Update(event.UpdateEvent{ObjectOld: after, ObjectNew: after}) {
			t.Errorf("%s: what stays away wakes it again", name)
		}
	}
	if statusLost().Create(event.CreateEvent{Object: whole}) || statusLost().Update(event.UpdateEvent{ObjectOld: &metav1.PartialObjectMetadata{}, ObjectNew: whole}) {
		t.Error("something else is let through")
	}
}

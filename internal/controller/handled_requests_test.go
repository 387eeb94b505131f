package controller

import (
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

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

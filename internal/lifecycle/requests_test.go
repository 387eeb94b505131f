package lifecycle

import (
	"strings"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestARequestThatIsTooLongIsRefusedOnceAndDoesNothing(t *testing.T) {
	for _, annotation := range requestAnnotations {
		o := given(granted(), published, annotated(annotation, strings.Repeat("x", maxRequest+1)))
		if !requested(o.Conn) {
			t.Errorf("%s: a connection at rest does not look at it", annotation)
		}
		o.RefuseLongRequests()
		if len(o.Notes) != 1 || !o.Notes[0].Warning || !strings.Contains(o.Notes[0].Message, annotation) {
			t.Errorf("%s: the events are %+v", annotation, o.Notes)
		}
		o.RefuseLongRequests()
		if s := Decide(epoch, o); s != StepNone || len(o.Notes) != 1 {
			t.Errorf("%s: it leads to %q, and %d events", annotation, s, len(o.Notes))
		}
		if conn := reported(epoch, o); requested(conn) ||
			len(*requestHandled(conn.Status.LastHandled, annotation)) > maxRequest {
			t.Errorf("%s: it is looked at again and again, or status holds it all", annotation)
		}
		o.Conn.Annotations[annotation] = strings.Repeat("x", maxRequest)
		if _, is := asked(o.Conn, annotation, *requestHandled(&o.Handled, annotation)); !is {
			t.Errorf("%s: one of the greatest length is refused", annotation)
		}
	}
}

func TestAChallengeThatWasTakenOffIsForgottenWithTheCredentialToo(t *testing.T) {
	kept := func(o *State) { o.stored().Handled.Challenge = credential.Hash(givenChallenge) }
	for name, test := range map[string]struct {
		o    *State
		want Step
	}{
		"taken off":                 {given(granted(), published, kept), StepForgetChallenge},
		"taken off while suspended": {given(granted(), published, kept, isSuspended), StepForgetChallenge},
		"still there": {given(granted(), published, kept,
			annotated(v1alpha1.AnnotationChallenge, givenChallenge), func(o *State) { o.RecallHandled() }), StepNone},
		"deleted": {given(granted(), published, kept, isDeleted), StepFinalize},
	} {
		if got := Decide(epoch, test.o); got != test.want {
			t.Errorf("%s: the step is %q, want %q", name, got, test.want)
		}
	}
}

func TestAWriteThatActsOnANewRequestKeepsThatOne(t *testing.T) {
	for name, test := range map[string]struct {
		annotation string
		handled    v1alpha1.LastHandled
	}{
		"A refresh":   {v1alpha1.AnnotationRefresh, v1alpha1.LastHandled{Refresh: "long before"}},
		"A consent":   {v1alpha1.AnnotationReauthorize, v1alpha1.LastHandled{Reauthorize: "long before"}},
		"A challenge": {v1alpha1.AnnotationChallenge, v1alpha1.LastHandled{Challenge: credential.Hash("long before")}},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(), annotated(test.annotation, "2"), func(o *State) { o.Handled = test.handled })
			acted := &credential.Credential{}
			if err := o.Keeping(func(c *credential.Credential) error {
				o.Keep(c, test.annotation)
				return nil
			})(acted); err != nil {
				t.Fatal(err)
			}
			if got := *keptHandled(&acted.Handled, test.annotation); got != credential.Hash("2") {
				t.Errorf("%q is kept", got)
			}
		})
	}
}

func TestAnotherProcessesNewsAreNotOverwritten(t *testing.T) {
	o := given(granted(), func(o *State) { o.stored().Handled.Refresh = credential.Hash("1") },
		annotated(v1alpha1.AnnotationRefresh, "1"))
	o.RecallHandled()
	o.Handled.Revoke = "2" // was handled, and is not kept yet
	newer := &credential.Credential{Handled: credential.Handled{Refresh: credential.Hash("2")}}
	if err := o.Keeping(func(*credential.Credential) error { return nil })(newer); err != nil {
		t.Fatal(err)
	}
	if want := (credential.Handled{Refresh: credential.Hash("2"), Revoke: credential.Hash("2")}); newer.Handled != want {
		t.Errorf("it is %+v", newer.Handled)
	}
}

package lifecycle

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestStatusTellsWhatComesNext(t *testing.T) {
	const nothing = time.Duration(-1)
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		step Step
		want time.Duration
	}{
		"a first look": {given(), 0, StepDiscover, 0},
		"a refresh":    {given(granted(), published), 0, StepRefresh, givenRefresh},
		"a refresh that waits for a slot": {given(granted(), published, isBusyWith(StepRefresh)), givenRefresh +
			time.Minute, StepRefresh, givenRefresh + time.Minute},
		"another try of a refresh": {given(granted(), published,
			failing(StepRefresh, v1alpha1.ReasonTokenRequestFailing, givenRefresh+time.Minute)), givenRefresh, StepRefresh,
			givenRefresh + time.Minute},
		"the end of a token that is refreshed": {given(granted(), published,
			failing(StepRefresh, v1alpha1.ReasonTokenRequestFailing, 2*time.Hour)), givenRefresh, StepObserve, givenLifetime},
		"a probe":         {given(granted(), probes(10*time.Minute), published), 0, StepProbe, 10 * time.Minute},
		"the first probe": {given(granted(unprobed), published), 0, StepProbe, 0},
		"another link":    {given(offered()), 0, StepStartAuthorization, credential.TicketLifetime},
		"a link once the token runs out": {given(granted(withoutRefreshToken), published), 0, StepStartAuthorization,
			40 * time.Minute},
		"another try of a discovery": {given(failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Minute)),
			0, StepDiscover, time.Minute},
		"a look at a Secret that may be mended": {given(
			func(o *State) { o.Conn.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"} }, offered()), 0, StepObserve,
			InputsRecheck},
		"the end of a suspended token": {given(granted(), published, isSuspended), 0, StepObserve, givenLifetime},
		"nothing for a token that lasts": {given(granted(withoutRefreshToken, withoutExpiry), published), 0, StepNone,
			nothing},
		"nothing where only an edit helps": {given(noURL, failing(StepStartAuthorization, v1alpha1.ReasonConsentUnavailable,
			0)), 0, StepNone, nothing},
		"nothing at the end": {given(granted(), published, isDeleted), 0, StepNone, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			next := reportNext(epoch.Add(test.at), test.o)
			switch {
			case next == nil:
				if test.want != nothing {
					t.Error("nothing is next")
				}
			case Step(next.Step) != test.step || next.At.Sub(epoch) != test.want:
				t.Errorf("next is %s after %s", next.Step, next.At.Sub(epoch))
			}
		})
	}
}

// isBusyWith is a step that found no slot.
func isBusyWith(s Step) func(*State) {
	return func(o *State) { o.Busy, o.Waits = UrgentSlotRetry, s }
}

func TestAPlanThatDidNotChangeKeepsItsWords(t *testing.T) {
	later := epoch.Add(time.Minute)
	for name, test := range map[string]struct {
		o    *State
		edit func(*State)
		kept bool
	}{
		"a refresh ahead": {o: given(granted(), published), kept: true},
		"a look again and again": {o: given(
			func(o *State) { o.Conn.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"} }, offered()), kept: true},
		"a step that waits for a slot": {o: given(granted(unprobed), published), kept: true},
		"another basis":                {o: given(granted(), published), edit: func(o *State) { o.Held.Writes++ }},
		"another step":                 {o: given(granted(), published), edit: isBusyWith(StepProbe)},
		"a plan that was made tomorrow": {o: given(granted(), published),
			edit: func(o *State) { o.Conn.Status.Next.ComputedAt = &metav1.Time{Time: later.Add(time.Hour)} }},
		"a plan without a time": {o: given(granted(), published), edit: func(o *State) { o.Conn.Status.Next.At = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			o := *test.o
			o.Conn = reported(epoch, test.o)
			if test.edit != nil {
				test.edit(&o)
			}
			if old, next := o.Conn.Status.Next, reportNext(later, &o); (old == next) != test.kept {
				t.Errorf("%+v follows %+v", next, old)
			}
		})
	}
}

func TestAnotherTryIsPlannedForEachFailure(t *testing.T) {
	o := given(failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Minute))
	o.Conn = reported(epoch, o)
	failing(StepDiscover, v1alpha1.ReasonServerUnreachable, 3*time.Minute)(o)
	if next := reportNext(epoch.Add(time.Minute), o); next.At.Sub(epoch) != 3*time.Minute {
		t.Errorf("next is after %s", next.At.Sub(epoch))
	}
}

func TestAPlanIsBelievedOnItsLastDay(t *testing.T) {
	long := func(g *credential.Grant) {
		g.ExpiresAt, g.RefreshAt = epoch.Add(30*24*time.Hour), epoch.Add(20*24*time.Hour)
	}
	o := given(granted(long), published)
	o.Conn = reported(epoch, o)
	if next := reportNext(epoch.Add(10*24*time.Hour), o); next != o.Conn.Status.Next {
		t.Error("a plan that is far ahead is written again")
	}
	o.Conn = reported(epoch.Add(19*24*time.Hour+time.Hour), o)
	if _, rests := resting(epoch.Add(19*24*time.Hour+2*time.Hour), o); !rests {
		t.Error("it does not rest on the last day")
	}
}

package controller

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
		o    *observed
		at   time.Duration
		step step
		want time.Duration
	}{
		"a first look":                          {given(), 0, stepDiscover, 0},
		"a refresh":                             {given(granted(), published), 0, stepRefresh, givenRefresh},
		"a refresh that waits for a slot":       {given(granted(), published, isBusyWith(stepRefresh)), givenRefresh + time.Minute, stepRefresh, givenRefresh + time.Minute},
		"another try of a refresh":              {given(granted(), published, failing(stepRefresh, v1alpha1.ReasonTokenRequestFailing, givenRefresh+time.Minute)), givenRefresh, stepRefresh, givenRefresh + time.Minute},
		"the end of a token that is refreshed":  {given(granted(), published, failing(stepRefresh, v1alpha1.ReasonTokenRequestFailing, 2*time.Hour)), givenRefresh, stepObserve, givenLifetime},
		"a probe":                               {given(granted(), probes(10*time.Minute), published), 0, stepProbe, 10 * time.Minute},
		"the first probe":                       {given(granted(unprobed), published), 0, stepProbe, 0},
		"another link":                          {given(offered()), 0, stepStartAuthorization, credential.TicketLifetime},
		"a link once the token runs out":        {given(granted(withoutRefreshToken), published), 0, stepStartAuthorization, 40 * time.Minute},
		"another try of a discovery":            {given(failing(stepDiscover, v1alpha1.ReasonServerUnreachable, time.Minute)), 0, stepDiscover, time.Minute},
		"a look at a Secret that may be mended": {given(func(o *observed) { o.conn.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"} }, offered()), 0, stepObserve, mendedRecheck},
		"the end of a suspended token":          {given(granted(), published, isSuspended), 0, stepObserve, givenLifetime},
		"nothing for a token that lasts":        {given(granted(withoutRefreshToken, withoutExpiry), published), 0, stepNone, nothing},
		"nothing where only an edit helps":      {given(noURL, failing(stepStartAuthorization, v1alpha1.ReasonConsentUnavailable, 0)), 0, stepNone, nothing},
		"nothing at the end":                    {given(granted(), published, isDeleted), 0, stepNone, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			next := reportNext(epoch.Add(test.at), test.o)
			switch {
			case next == nil:
				if test.want != nothing {
					t.Error("nothing is next")
				}
			case step(next.Step) != test.step || next.At.Sub(epoch) != test.want:
				t.Errorf("next is %s after %s", next.Step, next.At.Sub(epoch))
			}
		})
	}
}

// isBusyWith is a step that found no slot.
func isBusyWith(s step) func(*observed) {
	return func(o *observed) { o.busy, o.waits = busyRetry, s }
}

func TestAPlanThatDidNotChangeKeepsItsWords(t *testing.T) {
	later := epoch.Add(time.Minute)
	for name, test := range map[string]struct {
		o    *observed
		edit func(*observed)
		kept bool
	}{
		"a refresh ahead":               {o: given(granted(), published), kept: true},
		"a look again and again":        {o: given(func(o *observed) { o.conn.Spec.ImportSecretRef = &v1alpha1.SecretReference{Name: "old"} }, offered()), kept: true},
		"a step that waits for a slot":  {o: given(granted(unprobed), published), kept: true},
		"another basis":                 {o: given(granted(), published), edit: func(o *observed) { o.held.Writes++ }},
		"another step":                  {o: given(granted(), published), edit: isBusyWith(stepProbe)},
		"a plan that was made tomorrow": {o: given(granted(), published), edit: func(o *observed) { o.conn.Status.Next.ComputedAt = &metav1.Time{Time: later.Add(time.Hour)} }},
		"a plan without a time":         {o: given(granted(), published), edit: func(o *observed) { o.conn.Status.Next.At = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			o := *test.o
			o.conn = reported(epoch, test.o)
			if test.edit != nil {
				test.edit(&o)
			}
			if old, next := o.conn.Status.Next, reportNext(later, &o); (old == next) != test.kept {
				t.Errorf("%+v follows %+v", next, old)
			}
		})
	}
}

func TestAnotherTryIsPlannedForEachFailure(t *testing.T) {
	o := given(failing(stepDiscover, v1alpha1.ReasonServerUnreachable, time.Minute))
	o.conn = reported(epoch, o)
	failing(stepDiscover, v1alpha1.ReasonServerUnreachable, 3*time.Minute)(o)
	if next := reportNext(epoch.Add(time.Minute), o); next.At.Sub(epoch) != 3*time.Minute {
		t.Errorf("next is after %s", next.At.Sub(epoch))
	}
}

func TestAPlanIsBelievedOnItsLastDay(t *testing.T) {
	long := func(g *credential.Grant) {
		g.ExpiresAt, g.RefreshAt = epoch.Add(30*24*time.Hour), epoch.Add(20*24*time.Hour)
	}
	o := given(granted(long), published)
	o.conn = reported(epoch, o)
	if next := reportNext(epoch.Add(10*24*time.Hour), o); next != o.conn.Status.Next {
		t.Error("a plan that is far ahead is written again")
	}
	o.conn = reported(epoch.Add(19*24*time.Hour+time.Hour), o)
	if _, rests := resting(epoch.Add(19*24*time.Hour+2*time.Hour), o); !rests {
		t.Error("it does not rest on the last day")
	}
}

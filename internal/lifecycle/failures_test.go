package lifecycle

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestAFailureCountsItsAttemptsAndKeepsItsBeginning(t *testing.T) {
	o := given()
	var asked []int32
	for i := range 3 {
		now := epoch.Add(time.Duration(i) * time.Minute)
		o.RecordFailure(StepDiscover, "ServerUnreachable", "no answer", now, func(attempts int32) time.Time {
			asked = append(asked, attempts)
			return now.Add(time.Second)
		})
	}
	f := o.Failures.Find(StepDiscover)
	if len(o.Failures) != 1 || f.Attempts != 3 || !f.Since.Time.Equal(epoch) ||
		!f.RetryAt.Time.Equal(epoch.Add(2*time.Minute+time.Second)) {
		t.Errorf("the failures are %+v", o.Failures)
	}
	if f.Message != "no answer." || f.Reason != "ServerUnreachable" || f.Trigger != TriggerOf(o.Conn) ||
		!slices.Equal(asked, []int32{1, 2, 3}) {
		t.Errorf("the failure is %+v after %v", f, asked)
	}
	o.Failures.Clear(StepDiscover)
	if o.Failures.Has(StepDiscover) || len(o.Failures) != 0 {
		t.Error("it is not forgotten")
	}
	failing(StepDiscover, "ServerUnreachable", time.Minute)(o)
	if o.Failures.Find(StepDiscover).Attempts != 1 {
		t.Error("a success does not start the count anew")
	}
}

func TestTheMostImportantFailureComesFirst(t *testing.T) {
	o := given()
	for _, s := range slices.Backward(steps) {
		failing(s.step, "TokenRequestFailing", time.Minute)(o)
	}
	for i, s := range steps {
		if o.Failures[i].Step != string(s.step) {
			t.Errorf("failure %d is of %s, want %s", i, o.Failures[i].Step, s.step)
		}
	}
}

func TestAStepWaitsForItsRetryOnly(t *testing.T) {
	o := given(failing(StepDiscover, "ServerUnreachable", time.Minute),
		failing(StepStartAuthorization, "ConsentUnavailable", 0))
	for name, test := range map[string]struct {
		step Step
		at   time.Duration
		want bool
	}{
		"until its time":             {StepDiscover, time.Minute - 1, true},
		"no longer than that":        {StepDiscover, time.Minute, false},
		"for ever without a time":    {StepStartAuthorization, 1000 * time.Hour, true},
		"not for another step":       {StepRefresh, 0, false},
		"not after its time is over": {StepDiscover, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := o.Failures.waiting(test.step, epoch.Add(test.at)); got != test.want {
				t.Errorf("waiting is %t", got)
			}
		})
	}
	if tasks := o.Failures.Retries(); len(tasks) != 1 || tasks[0].Step != StepDiscover ||
		!tasks[0].At.Equal(epoch.Add(time.Minute)) {
		t.Errorf("the retries are %v", tasks)
	}
}

func TestFailuresAreRememberedUntilSomethingCallsForANewStart(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(*State)
		remembered int
	}{
		"nothing changed":             {func(*State) {}, 2},
		"the spec was edited":         {func(o *State) { o.Conn.Generation++ }, 0},
		"a consent was asked for":     {annotated(v1alpha1.AnnotationReauthorize, "2"), 0},
		"a refresh was asked for":     {annotated(v1alpha1.AnnotationRefresh, "2"), 0},
		"a revocation was asked for":  {annotated(v1alpha1.AnnotationRevoke, "2"), 0},
		"an annotation was taken off": {func(o *State) { delete(o.Conn.Annotations, v1alpha1.AnnotationRefresh) }, 0},
		"another annotation was set":  {annotated("example.com/note", "2"), 2},
		"values moved between the two": {all(annotated(v1alpha1.AnnotationRefresh, ""),
			annotated(v1alpha1.AnnotationRevoke, "1")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(annotated(v1alpha1.AnnotationRefresh, "1"), failing(StepDiscover, "ServerUnreachable", time.Minute),
				failing(StepRegister, "RegistrationFailing", time.Minute))
			o.Conn.Status = Report(epoch, o)
			test.change(o)
			if got := failuresOf(o.Conn); len(got) != test.remembered {
				t.Errorf("it remembers %+v", got)
			}
		})
	}
	if got := failuresOf(given().Conn); got != nil {
		t.Errorf("a new connection remembers %+v", got)
	}
}

func TestAFailureEndsWhenItsStepIsNotToBeDoneAnyMore(t *testing.T) {
	fails := func(s Step) func(*State) { return failing(s, "TokenRequestFailing", time.Minute) }
	for name, test := range map[string]struct {
		step Step
		o    *State
		at   time.Duration
		kept bool
	}{
		"a discovery for a new consent":            {StepDiscover, given(), 0, true},
		"a discovery for a consent that was given": {StepDiscover, given(granted(), published), 0, false},
		"a discovery under an open link":           {StepDiscover, given(offered()), 0, false},
		"a discovery for a refresh that fails too": {StepDiscover, given(granted(), published, fails(StepRefresh)), 0, true},
		"the same after its time": {StepDiscover, given(granted(), published, fails(StepRefresh)),
			time.Minute, false},
		"a registration for a new consent":            {StepRegister, given(), 0, true},
		"a registration for a consent that was given": {StepRegister, given(granted(), published), 0, false},
		"a consent nobody can give":                   {StepStartAuthorization, given(noURL), 0, true},
		"a consent nobody needs to give":              {StepStartAuthorization, given(noURL, granted(), published), 0, false},
		"a code that waits":                           {StepExchangeCode, given(answered), 0, true},
		"a code that is gone":                         {StepExchangeCode, given(), 0, false},
		"a refresh":                                   {StepRefresh, given(granted(), published), 0, true},
		"a refresh of a grant that is gone":           {StepRefresh, given(), 0, false},
		"a refresh of a grant that was set aside":     {StepRefresh, given(granted(isSetAside), published), 0, false},
		"a refresh of a grant without refresh token": {StepRefresh, given(granted(withoutRefreshToken), published), 0,
			false},
		"a publication": {StepPublish, given(granted(), isForeign), 0, true},
		"a publication that something else made up for": {StepPublish, given(granted(), published), 0, false},
		"a publication of nothing":                      {StepPublish, given(offered()), 0, false},
		"a revocation":                                  {StepRevoke, given(granted(toBeRevoked)), 0, true},
		"a revocation of a grant that is gone":          {StepRevoke, given(), 0, false},
		"a finalization":                                {StepFinalize, given(isDeleted), 0, true},
		"a finalization of what is alive":               {StepFinalize, given(), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			fails(test.step)(test.o)
			before := len(test.o.Failures)
			if got := test.o.settled(epoch.Add(test.at)).Failures.Has(test.step); got != test.kept {
				t.Errorf("kept is %t", got)
			}
			if len(test.o.Failures) != before {
				t.Error("what was observed has changed")
			}
		})
	}
}

func TestAFailureToReplaceATokenIsForgottenOnceTheTokenIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		step   Step
		issued time.Duration
		kept   bool
	}{
		"a refresh of this token":                        {StepRefresh, -givenRefresh, true},
		"one in the very second in which it was issued":  {StepRefresh, 500 * time.Millisecond, true},
		"a refresh of the token before":                  {StepRefresh, time.Second, false},
		"a request for the token that came since":        {StepRequestToken, time.Second, false},
		"a request for the next token":                   {StepRequestToken, -time.Second, true},
		"a discovery, whatever became of the token":      {StepDiscover, time.Second, true},
		"a publication, which the token may still await": {StepPublish, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(func(g *credential.Grant) { g.IssuedAt = epoch.Add(test.issued) }),
				failing(test.step, "TokenRequestFailing", time.Minute))
			if o.Failures.Outlived(o.Grant(), epoch); o.Failures.Has(test.step) != test.kept {
				t.Errorf("kept is %t", !test.kept)
			}
		})
	}
	o := given(failing(StepRefresh, "TokenRequestFailing", time.Minute))
	if o.Failures.Outlived(o.Grant(), epoch); !o.Failures.Has(StepRefresh) {
		t.Error("without a grant a failure is forgotten")
	}
}

func TestAHealedRefreshLeavesNoTraceOfTheRediscovery(t *testing.T) {
	o := given(granted(), published, failing(StepRefresh, "TokenRequestFailing", time.Minute),
		failing(StepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour))
	if c := meta.FindStatusCondition(Report(epoch, o).Conditions,
		v1alpha1.ConditionDiscovered); c.Reason != v1alpha1.ReasonServerUnreachable {
		t.Errorf("while the refresh fails, Discovered says %s", c.Reason)
	}
	o.Failures.Clear(StepRefresh)
	status := Report(epoch, o)
	if c := meta.FindStatusCondition(status.Conditions,
		v1alpha1.ConditionDiscovered); c.Reason != v1alpha1.ReasonSucceeded || status.Failure != nil {
		t.Errorf("Discovered says %s, with the failure %+v", c.Reason, status.Failure)
	}
}

func TestTimesOfStatusAreInWholeSecondsAndNeverEarly(t *testing.T) {
	for at, want := range map[time.Time]time.Time{
		epoch:                                epoch,
		epoch.Add(1):                         epoch.Add(time.Second),
		epoch.Add(time.Second - 1):           epoch.Add(time.Second),
		epoch.Add(credential.TicketLifetime): epoch.Add(credential.TicketLifetime),
	} {
		if got := TimeOf(at); !got.Time.Equal(want) {
			t.Errorf("%s becomes %s", at, got)
		}
	}
	if TimeOf(time.Time{}) != nil {
		t.Error("no time becomes one")
	}
}

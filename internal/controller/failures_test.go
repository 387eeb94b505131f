package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func TestAFailureCountsItsAttemptsAndKeepsItsBeginning(t *testing.T) {
	o := given()
	var asked []int32
	for i := range 3 {
		now := epoch.Add(time.Duration(i) * time.Minute)
		o.recordFailure(stepDiscover, "ServerUnreachable", "no answer", now, func(attempts int32) time.Time {
			asked = append(asked, attempts)
			return now.Add(time.Second)
		})
	}
	f := o.failures.find(stepDiscover)
	if len(o.failures) != 1 || f.Attempts != 3 || !f.Since.Time.Equal(epoch) || !f.RetryAt.Time.Equal(epoch.Add(2*time.Minute+time.Second)) {
		t.Errorf("the failures are %+v", o.failures)
	}
	if f.Message != "no answer." || f.Reason != "ServerUnreachable" || f.Trigger != triggerOf(o.conn) || !slices.Equal(asked, []int32{1, 2, 3}) {
		t.Errorf("the failure is %+v after %v", f, asked)
	}
	o.failures.clear(stepDiscover)
	if o.failures.has(stepDiscover) || len(o.failures) != 0 {
		t.Error("it is not forgotten")
	}
	failing(stepDiscover, "ServerUnreachable", time.Minute)(o)
	if o.failures.find(stepDiscover).Attempts != 1 {
		t.Error("a success does not start the count anew")
	}
}

func TestTheMostImportantFailureComesFirst(t *testing.T) {
	o := given()
	for _, s := range slices.Backward(steps) {
		failing(s.step, "TokenRequestFailing", time.Minute)(o)
	}
	for i, s := range steps {
		if o.failures[i].Step != string(s.step) {
			t.Errorf("failure %d is of %s, want %s", i, o.failures[i].Step, s.step)
		}
	}
}

func TestAStepWaitsForItsRetryOnly(t *testing.T) {
	o := given(failing(stepDiscover, "ServerUnreachable", time.Minute), failing(stepStartAuthorization, "ConsentUnavailable", 0))
	for name, test := range map[string]struct {
		step step
		at   time.Duration
		want bool
	}{
		"until its time":             {stepDiscover, time.Minute - 1, true},
		"no longer than that":        {stepDiscover, time.Minute, false},
		"for ever without a time":    {stepStartAuthorization, 1000 * time.Hour, true},
		"not for another step":       {stepRefresh, 0, false},
		"not after its time is over": {stepDiscover, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := o.failures.waiting(test.step, epoch.Add(test.at)); got != test.want {
				t.Errorf("waiting is %t", got)
			}
		})
	}
	if tasks := o.failures.retries(); len(tasks) != 1 || tasks[0].step != stepDiscover || !tasks[0].at.Equal(epoch.Add(time.Minute)) {
		t.Errorf("the retries are %v", tasks)
	}
}

func TestFailuresAreRememberedUntilSomethingCallsForANewStart(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(*observed)
		remembered int
	}{
		"nothing changed":              {func(*observed) {}, 2},
		"the spec was edited":          {func(o *observed) { o.conn.Generation++ }, 0},
		"a consent was asked for":      {annotated(v1alpha1.AnnotationReauthorize, "2"), 0},
		"a refresh was asked for":      {annotated(v1alpha1.AnnotationRefresh, "2"), 0},
		"a revocation was asked for":   {annotated(v1alpha1.AnnotationRevoke, "2"), 0},
		"an annotation was taken off":  {func(o *observed) { delete(o.conn.Annotations, v1alpha1.AnnotationRefresh) }, 0},
		"another annotation was set":   {annotated("example.com/note", "2"), 2},
		"values moved between the two": {all(annotated(v1alpha1.AnnotationRefresh, ""), annotated(v1alpha1.AnnotationRevoke, "1")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(annotated(v1alpha1.AnnotationRefresh, "1"), failing(stepDiscover, "ServerUnreachable", time.Minute), failing(stepRegister, "RegistrationFailing", time.Minute))
			o.conn.Status = report(epoch, o)
			test.change(o)
			if got := failuresOf(o.conn); len(got) != test.remembered {
				t.Errorf("it remembers %+v", got)
			}
		})
	}
	if got := failuresOf(given().conn); got != nil {
		t.Errorf("a new connection remembers %+v", got)
	}
}

func TestAFailureEndsWhenItsStepIsNotToBeDoneAnyMore(t *testing.T) {
	fails := func(s step) func(*observed) { return failing(s, "TokenRequestFailing", time.Minute) }
	for name, test := range map[string]struct {
		step step
		o    *observed
		at   time.Duration
		kept bool
	}{
		"a discovery for a new consent":                 {stepDiscover, given(), 0, true},
		"a discovery for a consent that was given":      {stepDiscover, given(granted(), published), 0, false},
		"a discovery under an open link":                {stepDiscover, given(offered()), 0, false},
		"a discovery for a refresh that fails too":      {stepDiscover, given(granted(), published, fails(stepRefresh)), 0, true},
		"the same after its time":                       {stepDiscover, given(granted(), published, fails(stepRefresh)), time.Minute, false},
		"a registration for a new consent":              {stepRegister, given(), 0, true},
		"a registration for a consent that was given":   {stepRegister, given(granted(), published), 0, false},
		"a consent nobody can give":                     {stepStartAuthorization, given(noURL), 0, true},
		"a consent nobody needs to give":                {stepStartAuthorization, given(noURL, granted(), published), 0, false},
		"a code that waits":                             {stepExchangeCode, given(answered), 0, true},
		"a code that is gone":                           {stepExchangeCode, given(), 0, false},
		"a refresh":                                     {stepRefresh, given(granted(), published), 0, true},
		"a refresh of a grant that is gone":             {stepRefresh, given(), 0, false},
		"a refresh of a grant that was set aside":       {stepRefresh, given(granted(isSetAside), published), 0, false},
		"a refresh of a grant without refresh token":    {stepRefresh, given(granted(withoutRefreshToken), published), 0, false},
		"a publication":                                 {stepPublish, given(granted(), isForeign), 0, true},
		"a publication that something else made up for": {stepPublish, given(granted(), published), 0, false},
		"a publication of nothing":                      {stepPublish, given(offered()), 0, false},
		"a revocation":                                  {stepRevoke, given(granted(toBeRevoked)), 0, true},
		"a revocation of a grant that is gone":          {stepRevoke, given(), 0, false},
		"a finalization":                                {stepFinalize, given(isDeleted), 0, true},
		"a finalization of what is alive":               {stepFinalize, given(), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			fails(test.step)(test.o)
			before := len(test.o.failures)
			if got := test.o.settled(epoch.Add(test.at)).failures.has(test.step); got != test.kept {
				t.Errorf("kept is %t", got)
			}
			if len(test.o.failures) != before {
				t.Error("what was observed has changed")
			}
		})
	}
}

func TestAFailureToReplaceATokenIsForgottenOnceTheTokenIsReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		step   step
		issued time.Duration
		kept   bool
	}{
		"a refresh of this token":                        {stepRefresh, -givenRefresh, true},
		"one in the very second in which it was issued":  {stepRefresh, 500 * time.Millisecond, true},
		"a refresh of the token before":                  {stepRefresh, time.Second, false},
		"a request for the token that came since":        {stepRequestToken, time.Second, false},
		"a request for the next token":                   {stepRequestToken, -time.Second, true},
		"a discovery, whatever became of the token":      {stepDiscover, time.Second, true},
		"a publication, which the token may still await": {stepPublish, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := given(granted(func(g *credential.Grant) { g.IssuedAt = epoch.Add(test.issued) }), failing(test.step, "TokenRequestFailing", time.Minute))
			if o.failures.outlived(o.grant(), epoch); o.failures.has(test.step) != test.kept {
				t.Errorf("kept is %t", !test.kept)
			}
		})
	}
	o := given(failing(stepRefresh, "TokenRequestFailing", time.Minute))
	if o.failures.outlived(o.grant(), epoch); !o.failures.has(stepRefresh) {
		t.Error("without a grant a failure is forgotten")
	}
}

func TestAHealedRefreshLeavesNoTraceOfTheRediscovery(t *testing.T) {
	o := given(granted(), published, failing(stepRefresh, "TokenRequestFailing", time.Minute), failing(stepDiscover, v1alpha1.ReasonServerUnreachable, time.Hour))
	if c := findCondition(report(epoch, o).Conditions, v1alpha1.ConditionDiscovered); c.Reason != v1alpha1.ReasonServerUnreachable {
		t.Errorf("while the refresh fails, Discovered says %s", c.Reason)
	}
	o.failures.clear(stepRefresh)
	status := report(epoch, o)
	if c := findCondition(status.Conditions, v1alpha1.ConditionDiscovered); c.Reason != v1alpha1.ReasonSucceeded || status.Failure != nil {
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
		if got := timeOf(at); !got.Time.Equal(want) {
			t.Errorf("%s becomes %s", at, got)
		}
	}
	if timeOf(time.Time{}) != nil {
		t.Error("no time becomes one")
	}
}

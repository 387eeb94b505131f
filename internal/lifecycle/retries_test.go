package lifecycle

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// retriesOf has a step fail again whenever its retry comes, a process started anew each time, and returns the waits
// that status shows.
func retriesOf(s Step, e *mcpoauth.Error, n int, changes ...func(*State)) []time.Duration {
	now := epoch.Add(givenRefresh)
	o := given(changes...)
	var waits []time.Duration
	for range n {
		o.FailAs(now, s, e, string(e.Code), "no answer")
		f := o.Failures.Find(s)
		waits = append(waits, f.RetryAt.Sub(now))
		now = f.RetryAt.Time
		o.Conn.Status.Failure, o.Failures = f, nil
		o.Failures = failuresOf(o.Conn)
	}
	return waits
}

func TestEachStepIsTriedAgainLaterEachTimeUpToALimit(t *testing.T) {
	for _, row := range steps {
		s := row.step
		for name, test := range map[string]struct {
			kind         mcpoauth.Kind
			first, limit time.Duration
		}{
			"what may heal":       {mcpoauth.Transient, FirstRetry, maxRetry},
			"what wants a person": {mcpoauth.Rejected, FirstRecheck, maxRecheck},
			"what wants an edit":  {mcpoauth.Misconfigured, FirstRecheck, maxRecheck},
		} {
			nominal := test.first
			for i, wait := range retriesOf(s, &mcpoauth.Error{Kind: test.kind, Code: mcpoauth.TokenRequestFailing}, 14) {
				if wait > nominal || wait < nominal*9/10-time.Second {
					t.Errorf("%s, %s: after %d attempts it waits %s, want about %s", s, name, i+1, wait, nominal)
				}
				nominal = min(2*nominal, test.limit)
			}
		}
		e := &mcpoauth.Error{Code: mcpoauth.TokenRequestFailing, RetryAfter: time.Hour}
		if wait := retriesOf(s, e, 1)[0]; wait != time.Hour {
			t.Errorf("%s: asked to wait an hour, it waits %s", s, wait)
		}
	}
}

func TestOnlyTheNextTokenIsMoreUrgentNearItsExpiry(t *testing.T) {
	e := &mcpoauth.Error{Code: mcpoauth.TokenRequestFailing, RetryAfter: time.Hour}
	left := givenLifetime - givenRefresh
	for _, row := range steps {
		s := row.step
		wait := retriesOf(s, e, 1, granted(), published)[0]
		switch urgent := s == StepRefresh || s == StepRequestToken; {
		case urgent && wait != left/4:
			t.Errorf("%s waits %s of the %s that are left", s, wait, left)
		case !urgent && wait != time.Hour:
			t.Errorf("%s waits %s instead of an hour", s, wait)
		}
	}
}

func TestRetriesGrowMoreFrequentUntilTheExpiryAndGoOnAfterIt(t *testing.T) {
	for _, s := range []Step{StepRefresh, StepRequestToken} {
		at, tried, after := givenRefresh, 0, 0
		for _, wait := range retriesOf(s, &mcpoauth.Error{Code: mcpoauth.TokenRequestFailing}, 60, granted(), published) {
			if left := givenLifetime - at; left > 4*time.Second {
				tried++
				if wait > left/4+time.Second {
					t.Errorf("%s waits %s with %s left", s, wait, left)
				}
			}
			if at >= givenLifetime {
				if after++; wait > maxRetry {
					t.Errorf("%s waits %s after the expiry", s, wait)
				}
			}
			at += wait
		}
		if tried < 10 || tried > 35 || after < 20 {
			t.Errorf("%s is tried %d times before the expiry and %d times after it", s, tried, after)
		}
	}
}

func TestAnEditOrARequestStartsTheCountOfEachStepAnew(t *testing.T) {
	for name, change := range map[string]func(*State){
		"a new generation":     func(o *State) { o.Conn.Generation++ },
		"a refresh asked for":  annotated(v1alpha1.AnnotationRefresh, "2"),
		"a consent asked for":  annotated(v1alpha1.AnnotationReauthorize, "2"),
		"a withdrawal ordered": annotated(v1alpha1.AnnotationRevoke, "2"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, row := range steps {
				s := row.step
				o := given()
				for range 9 {
					o.FailAs(epoch, s, &mcpoauth.Error{Code: mcpoauth.TokenRequestFailing}, "TokenRequestFailing", "no answer")
				}
				o.Conn.Status.Failure = o.Failures.Find(s)
				change(o)
				if o.Failures = failuresOf(o.Conn); o.Failures.waiting(s, epoch) {
					t.Errorf("%s waits on", s)
				}
				o.FailAs(epoch, s, &mcpoauth.Error{Code: mcpoauth.TokenRequestFailing}, "TokenRequestFailing", "no answer")
				if f := o.Failures.Find(s); f.Attempts != 1 || f.RetryAt.Sub(epoch) > FirstRetry {
					t.Errorf("%s: attempt %d, tried again after %s", s, f.Attempts, f.RetryAt.Sub(epoch))
				}
			}
		})
	}
}

package callback

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

func TestOutcomePageWaitsForTheReconciler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		go func() {
			time.Sleep(3 * time.Second)
			f.finish("", "")
		}()
		began, reads := time.Now(), f.reads.Load()
		expect(f, b.open(), http.StatusOK, "team-a/files is connected", "You can close this window")
		if waited := time.Since(began); waited < 3*time.Second || waited > 3*time.Second+2*outcomePoll {
			t.Errorf("waited %v for an outcome that took 3 s", waited)
		}
		// One read to begin with, one of the reconciler, one at the end: polling looks at cached metadata only.
		if n := f.reads.Load() - reads; n != 3 {
			t.Errorf("%d reads of the Secret, want 3", n)
		}
	})
}

func TestOutcomePageRefreshesItselfWhenTheReconcilerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		began := time.Now()
		expect(f, b.open(), http.StatusOK, `<meta http-equiv="refresh" content="2">`)
		if waited := time.Since(began); waited != outcomeWait {
			t.Errorf("waited %v, want %v", waited, outcomeWait)
		}
		for name, w := range map[string]func() int{
			"HEAD":     func() int { return b.do(http.MethodHead, "/connect/"+f.ticket, "").Code },
			"prefetch": func() int { return b.get("/connect/"+f.ticket, "Sec-Purpose", "prefetch").Code },
		} {
			began = time.Now()
			if code := w(); code != http.StatusOK || time.Since(began) != 0 {
				t.Errorf("%s: status %d after %v; want 200 at once", name, code, time.Since(began))
			}
		}
	})
}

func TestPagesThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		for range maxWaiting {
			f.server.waiting <- struct{}{}
		}
		began := time.Now()
		expect(f, b.open(), http.StatusOK, `http-equiv="refresh"`)
		if time.Since(began) != 0 {
			t.Error("a page waited although no place was free")
		}
	})
}

func TestTheSuccessPageWaitsForTheTokenToBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.report(metav1.ConditionFalse, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired, "Open the link.")
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		go func() {
			time.Sleep(2 * time.Second)
			f.finish("", "")
			time.Sleep(time.Second)
			f.report(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretWriteFailing, taken)
		}()
		began := time.Now()
		expect(f, b.open(), http.StatusOK, "not yet published")
		if waited := time.Since(began); waited > 3*time.Second+2*outcomePoll {
			t.Errorf("waited %v for a status that took 3 s", waited)
		}
	})
}

func TestTheSuccessPageDoesNotWaitForeverForStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.report(metav1.ConditionFalse, metav1.ConditionFalse, v1alpha1.ReasonConsentRequired, "Open the link.")
		b := f.browser()
		expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
		f.finish("", "")
		began := time.Now()
		expect(f, b.open(), http.StatusOK, "is publishing it", `<meta http-equiv="refresh" content="2">`)
		if waited := time.Since(began); waited != outcomeWait {
			t.Errorf("waited %v, want %v", waited, outcomeWait)
		}
		f.now = f.now.Add(outcomeWait)
		began = time.Now()
		expect(f, b.open(), http.StatusOK, "is connected") // status may be about something that came later
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v for what is long past", waited)
		}
	})
}

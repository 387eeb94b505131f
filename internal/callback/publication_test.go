package callback

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// report writes status as the reconciler does.
func (f *fixture) report(authorized, ready metav1.ConditionStatus, reason, message string) {
	f.Helper()
	f.editConnection(func(c *v1alpha1.MCPConnection) {
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionAuthorized, Status: authorized, Reason: reason, Message: message})
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message})
	})
}

const taken = "The Secret files-token in this namespace is not of this connection <b>"

func TestATokenThatIsHeldUpIsNotToldAsConnected(t *testing.T) {
	for name, tt := range map[string]struct {
		authorized, ready metav1.ConditionStatus
		reason            string
		says              []string
	}{
		"a Secret that is somebody's":          {metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, []string{"team-a/files is authorized", "stored the token and not yet published"}},
		"a Secret that cannot be written":      {metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretWriteFailing, []string{"team-a/files is authorized", "need not sign in again"}},
		"one while an older token still works": {metav1.ConditionTrue, metav1.ConditionTrue, v1alpha1.ReasonSecretWriteFailing, []string{"team-a/files is authorized", "need not sign in again"}},
		"a token that nobody can send":         {metav1.ConditionFalse, metav1.ConditionFalse, v1alpha1.ReasonUnsupportedTokenType, []string{"is not connected", "a kind of token that cannot be used"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			b := f.browser()
			expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
			f.finish("", "")
			f.report(tt.authorized, tt.ready, tt.reason, taken)
			w := b.open()
			expect(f, w, http.StatusOK, append(tt.says, "is not of this connection &lt;b&gt;")...)
			if strings.Contains(w.Body.String(), "is connected") {
				t.Error("the page says that workloads have the token")
			}
			f.report(metav1.ConditionTrue, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "The token Secret files-token is up to date.")
			expect(f, b.open(), http.StatusOK, "team-a/files is connected")
		})
	}
}

func TestAHeldUpTokenIsLookedForAgain(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	f.finish("", "")
	f.report(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, taken)
	expect(f, b.open(), http.StatusOK, `<meta http-equiv="refresh" content="30">`)
}

func TestTheSuccessPageWaitsForTheTokenToBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
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
		f := newFixture(t)
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

// Another object of the same name is none of this browser's business.
func TestTheSuccessPageSaysNothingOfAnotherConnectionOfThatName(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	expect(f, b.answer(b.begin(), "code", "c"), http.StatusSeeOther)
	f.finish("", "")
	f.report(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict, taken)
	f.editConnection(func(c *v1alpha1.MCPConnection) { c.UID = "11111111-2222-4333-8444-555555555555" })
	w := b.open()
	expect(f, w, http.StatusOK, "is connected")
	if strings.Contains(w.Body.String(), "files-token") {
		t.Error("the page shows a condition of another connection")
	}
}

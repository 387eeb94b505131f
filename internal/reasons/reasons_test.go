package reasons

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// constants are the values of the reasons of the API, read from its source.
func constants(t *testing.T) []string {
	t.Helper()
	source, err := os.ReadFile("../../api/v1alpha1/conditions.go")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, found := range regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
		values = append(values, found[1])
	}
	return values
}

func TestEveryReasonHasOneRowAndAPlace(t *testing.T) {
	var rows []string
	for _, row := range All() {
		rows = append(rows, row.Reason)
		if len(row.Places) == 0 || !Known(row.Reason) {
			t.Errorf("%s is told by no condition, or is not known", row.Reason)
		}
		for _, p := range row.Places {
			if !v1alpha1.IsConditionType(p.Condition) || !slices.Contains(At(p.Condition, p.Status), row.Reason) {
				t.Errorf("%s is not found at %s", row.Reason, p)
			}
		}
	}
	wanted := constants(t)
	slices.Sort(wanted)
	slices.Sort(rows)
	if len(wanted) < 30 || !slices.Equal(wanted, rows) {
		t.Errorf("the rows are of %q, the constants of %q", rows, wanted)
	}
}

func TestAReasonThatIsNotKnownHasNoTraits(t *testing.T) {
	for _, reason := range []string{"", "NoSuchReason", v1alpha1.ConditionReady} {
		if Known(reason) || Is(reason, ^Trait(0)) {
			t.Errorf("%q is known, or has traits", reason)
		}
	}
}

// TestWhatAPageSaysIsASentence of a reason that stands where the outcome of a consent is told.
func TestWhatAPageSaysIsASentence(t *testing.T) {
	n := 0
	for _, row := range All() {
		page := Page(row.Reason)
		if page == "" {
			continue
		}
		n++
		if !regexp.MustCompile(`^[A-Z].*[a-z]\.$`).MatchString(page) {
			t.Errorf("the page of %s says %q", row.Reason, page)
		}
		if !slices.Contains(row.Places, authorizedFalse) && !Is(row.Reason, OfClient) {
			t.Errorf("%s is no outcome of a consent", row.Reason)
		}
	}
	if n < 10 {
		t.Errorf("%d reasons have a page only", n)
	}
}

// TestAConsentThatFailsIsToldOnThePageAndByThePlugin, but for what authorize tells apart or waits for: a no, a consent
// that is still needed, a code that is tried again, and a client that is refused.
func TestAConsentThatFailsIsToldOnThePageAndByThePlugin(t *testing.T) {
	apart := []string{v1alpha1.ReasonAccessDenied, v1alpha1.ReasonConsentRequired, v1alpha1.ReasonTokenRequestFailing}
	for _, row := range All() {
		told := row.Page != "" && !Is(row.Reason, OfClient) && !slices.Contains(apart, row.Reason)
		if told != Is(row.Reason, FailsConsent) {
			t.Errorf("%s: on the page %t, FailsConsent %t", row.Reason, told, !told)
		}
	}
}

// TestTraitsStandWhereTheyAreAskedFor: a trait of a reason that no condition tells there would be of no use.
func TestTraitsStandWhereTheyAreAskedFor(t *testing.T) {
	for name, trait := range map[string]struct {
		is     Trait
		places []Place
	}{
		"Yields":           {Yields, []Place{authorizedTrue}},
		"Stalls":           {Stalls, []Place{discoveredFalse, registeredFalse, authorizedFalse, readyFalse}},
		"OfInputs":         {OfInputs, []Place{registeredFalse, authorizedFalse}},
		"OfClient":         {OfClient, []Place{registeredFalse}},
		"OfAPIServer":      {OfAPIServer, []Place{readyTrue, readyFalse}},
		"HoldsPublication": {HoldsPublication, []Place{readyFalse}},
		"FailsConsent":     {FailsConsent, []Place{authorizedFalse}},
		"Succeeds":         {Succeeds, []Place{authorizedTrue}},
	} {
		n := 0
		for _, row := range All() {
			if !Is(row.Reason, trait.is) {
				continue
			}
			n++
			if !slices.ContainsFunc(row.Places, func(p Place) bool { return slices.Contains(trait.places, p) }) {
				t.Errorf("%s is of %s, which stands at %s alone", name, row.Reason, row.Places)
			}
		}
		if n == 0 {
			t.Errorf("%s is of no reason", name)
		}
	}
}

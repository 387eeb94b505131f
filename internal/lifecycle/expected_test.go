package lifecycle

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/slots"
)

func TestUrgencyIsTheSameByFactsAndByCaches(t *testing.T) {
	for name, test := range map[string]struct {
		o    *State
		at   time.Duration
		want slots.Urgency
	}{
		"nothing is stored": {given(), 0, slots.Ordinary},
		"a token is fresh":  {given(granted(), published), 0, slots.Ordinary},
		"a refresh is due":  {given(granted(), published), 45 * time.Minute, slots.DueRefresh},
		"a refresh that failed is due again": {given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", time.Minute)), 45 * time.Minute, slots.FailedRefresh},
		"a refresh that failed is not due yet": {given(granted(), published,
			failing(StepRefresh, "TokenRequestFailing", 50*time.Minute)), 45 * time.Minute, slots.Ordinary},
		"a refresh is due, but it is suspended": {given(granted(), published, isSuspended), 45 * time.Minute, slots.Ordinary},
		"a refresh is due, but it is deleted":   {given(granted(), published, isDeleted), 45 * time.Minute, slots.Ordinary},
		"a code is recorded":                    {given(offered(), answered), 0, slots.DueExchange},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(test.at)
			got, expected := Urgency(now, test.o), ExpectedUrgency(now, reported(now, test.o), &cachedOf(test.o).Held)
			if got != expected {
				t.Errorf("by facts %d, by caches %d", got, expected)
			}
			if got > slots.Woken && got < slots.DueExchange { // less its deadline
				got = map[bool]slots.Urgency{true: slots.DueRefresh, false: slots.FailedRefresh}[got > slots.FailedRefresh]
			}
			if got != test.want {
				t.Errorf("it is %d, want %d", got, test.want)
			}
		})
	}
}

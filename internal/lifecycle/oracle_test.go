package lifecycle

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mcp-connection/operator/internal/slots"
)

// urgencyBefore is what the agenda's deadlines took the place of.
func urgencyBefore(now time.Time, s *State) slots.Urgency {
	g := s.Grant()
	switch {
	case s.Conn == nil, s.Deleted(), s.suspended(), s.Unusable != nil, s.Saving != nil:
		return slots.Ordinary
	case s.Response() != nil && !s.Failures.waiting(StepExchangeCode, now):
		return slots.DueExchange
	case !renewable(g), g.SetAside != nil, g.Revoke != "", s.renewAt(g, now).After(now):
		return slots.Ordinary
	case s.Failures.waiting(StepRefresh, now), s.Failures.waiting(StepRequestToken, now), fateUnknown(g, now):
		return slots.Ordinary
	}
	return slots.RefreshUrgency(deadline(g.RefreshAt, g.ExpiresAt), s.renewalFails())
}

func TestUrgencyAgreesWithWhatItWas(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 48)
	count := map[string]int{}
	for range 2_000_000 {
		for i := range data {
			data[i] = byte(random.UintN(256))
		}
		now, s := arbitrary(data)
		before, after, g := urgencyBefore(now, s), Urgency(now, s), s.Grant()
		switch {
		case before == after:
			count["the same"]++
		case after == slots.Ordinary && g.RefreshAt.IsZero() && g.ExpiresAt.IsZero():
			count["a token without any time"]++
		case after == slots.Ordinary && s.NonInteractive() && s.Offer() != nil:
			count["a link of another grant type ends first"]++
		case before == slots.Ordinary && s.failuresOfOthers():
			count["a failure of a step that is not to be done"]++
		default:
			t.Errorf("it was %d and is %d: %+v", before, after, s.Failures)
		}
	}
	t.Log(count)
}

// failuresOfOthers reports whether a token is refreshed though requesting it failed, or the other way round.
func (s *State) failuresOfOthers() bool {
	return s.Failures.Has(StepRequestToken) != s.NonInteractive() || s.Failures.Has(StepRefresh) == s.NonInteractive()
}

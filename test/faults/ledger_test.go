package main

import (
	"strings"
	"testing"
	"time"
)

// script is a ledger with one family, and a clock that tests move.
type script struct {
	*ledger
	at    time.Time
	first *issue
}

func newScript(g grace) *script {
	s := &script{ledger: newLedger(newTable()), at: time.Unix(1_800_000_000, 0)}
	s.now = func() time.Time { return s.at }
	s.pods["a1"], s.pods["a2"], s.pods["b1"] = "a", "a", "b"
	s.first = s.consent(0, "client", g, time.Minute)
	return s
}

// send is a request with the first refresh token and what the client learns.
func (s *script) send(process string, f fate) *script {
	spend := s.present(s.first, process)
	if f != underWay {
		s.finish(s.first, spend, f)
	}
	return s
}

func (s *script) after(d time.Duration) *script {
	s.at = s.at.Add(d)
	return s
}

func (s *script) died(process string) *script {
	s.doubt(s.first.refresh, process, killed)
	return s
}

func TestEveryDoubleSpendIsNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		play func(*script)
		want int
	}{
		"once is no double spend":            {func(s *script) { s.send("a1", answered) }, 0},
		"again after an answer":              {func(s *script) { s.send("a1", answered).send("a1", underWay) }, 1},
		"by another process after an answer": {func(s *script) { s.send("a1", answered).send("b1", underWay) }, 1},
		"while the first is under way":       {func(s *script) { s.send("a1", underWay).send("a1", underWay) }, 1},
		"again after a refusal":              {func(s *script) { s.send("a1", refused).send("a1", underWay) }, 1},
		"what was free may be tried often": {
			func(s *script) { s.send("a1", free).send("a1", free).send("b1", answered) }, 0},
		"one more try after an unknown outcome": {func(s *script) { s.send("a1", unknown).send("a1", answered) }, 0},
		"a third while the token is valid": {
			func(s *script) { s.send("a1", unknown).send("a1", unknown).send("a1", unknown) }, 1},
		"a third after it has expired": {
			func(s *script) { s.send("a1", unknown).send("a1", unknown).after(time.Minute).send("a1", unknown) }, 0},
		"by the next process of a pod": {func(s *script) { s.send("a1", answered).died("a1").send("a2", answered) }, 0},
		"by another pod before it can know": {
			func(s *script) { s.send("a1", underWay).died("a1").after(20*time.Second).send("b1", answered) }, 1},
		"by another pod after it has watched": {
			func(s *script) { s.send("a1", underWay).died("a1").after(45*time.Second).send("b1", answered) }, 0},
		"a death is an unknown outcome like any other": {
			func(s *script) { s.send("a1", answered).died("a1").send("a2", unknown).send("a2", unknown) }, 1},
		"deaths and losses together are one rule": {
			func(s *script) { s.send("a1", unknown).send("a2", answered).died("a2").send("a2", unknown) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(noGrace)
			test.play(s)
			if got := s.table.doubleSpends.count; got != test.want {
				t.Errorf("%d double spends, want %d", got, test.want)
			}
		})
	}
}

func TestAGraceIsKeptAndOnlyWhatNobodyCouldHaveKeptIsCountedApart(t *testing.T) {
	for name, test := range map[string]struct {
		grace          grace
		play           func(*script)
		revoked, apart int
	}{
		"without grace a second use ends the family": {noGrace,
			func(s *script) { s.send("a1", answered).redeem(s.first, 0) }, 1, 0},
		"without grace a lost answer is counted apart": {noGrace,
			func(s *script) { s.send("a1", unknown).redeem(s.first, 0) }, 0, 1},
		"without grace a kill is counted apart": {noGrace,
			func(s *script) { s.send("a1", answered).died("a1").redeem(s.first, 0) }, 0, 1},
		"within thirty seconds nothing ends": {thirtySeconds,
			func(s *script) { s.send("a1", unknown).after(30*time.Second).redeem(s.first, 0) }, 0, 0},
		"after thirty seconds nothing excuses": {thirtySeconds,
			func(s *script) { s.send("a1", unknown).after(31*time.Second).redeem(s.first, 0) }, 1, 0},
		"until the first use nothing ends": {untilFirstUse,
			func(s *script) { s.send("a1", unknown).after(time.Hour).redeem(s.first, 0) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(test.grace)
			s.redeem(s.first, time.Minute)
			test.play(s)
			apart := 0
			for _, n := range s.table.excused {
				apart += n
			}
			if s.table.revoked.count != test.revoked || apart != test.apart ||
				s.first.family.revoked != (test.revoked+test.apart > 0) {
				t.Errorf("%d families revoked, %d counted apart, want %d and %d", s.table.revoked.count, apart, test.revoked,
					test.apart)
			}
		})
	}
	s := newScript(untilFirstUse)
	next := s.redeem(s.first, time.Minute)
	s.redeem(next, time.Minute)
	if s.redeem(s.first, time.Minute) != nil || s.table.revoked.count != 1 {
		t.Error("the first use of the next token did not end the grace")
	}
}

func TestTheTableNamesEveryBound(t *testing.T) {
	table := newTable()
	for _, b := range table.bounds() {
		table.broken(b, "a test")
	}
	var out strings.Builder
	table.print(&out, settings{seed: 7}, 500, time.Minute)
	if table.failures() != 7 || strings.Count(out.String(), "(must be 0)") != 7 ||
		!strings.HasPrefix(out.String(), "seed 7,") {
		t.Errorf("%d failures in\n%s", table.failures(), out.String())
	}
}

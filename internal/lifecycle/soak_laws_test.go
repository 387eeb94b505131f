package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// soakCount is what happened.
type soakCount struct {
	Looks, Rests, Requests, Tokens, Restarts, Consents, Outages, Attempts, Expired, Excused int
}

func (c *soakCount) add(other *soakCount) {
	c.Looks += other.Looks
	c.Rests += other.Rests
	c.Requests += other.Requests
	c.Tokens += other.Tokens
	c.Restarts += other.Restarts
	c.Consents += other.Consents
	c.Outages += other.Outages
	c.Attempts += other.Attempts
	c.Expired += other.Expired
	c.Excused += other.Excused
}

// check reports whether enough has happened to prove anything.
func (c *soakCount) check(t testing.TB) {
	if c.Tokens < 20_000 || c.Outages < 1000 || c.Attempts < 10_000 || c.Restarts < 1000 || c.Consents < 1000 ||
		c.Expired < 100 || c.Rests < 1000 {
		t.Errorf("too little happened: %+v", c)
	}
}

// soakLaws watch one connection.
type soakLaws struct {
	count soakCount
	wrong []string
	// sentOn and lookedOn count requests and reconciles by day.
	sentOn, lookedOn map[int]int
	// sent is the last request for a token, generation that of the grant it was for.
	sent       time.Time
	generation int64
	// expiryOf is the generation whose expiry was judged.
	expiryOf int64
	edited   time.Time
}

func (s *soaked) broken(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf("%s: %s", s.clock.Now().Sub(s.start), fmt.Sprintf(format, args...)))
}

func (s *soaked) day() int { return int(s.clock.Now().Sub(epoch) / (24 * time.Hour)) }

// before judges what has become of the connection until now.
func (s *soaked) before(now time.Time, o *State) {
	s.count.Looks++
	if s.lookedOn[s.day()]++; s.lookedOn[s.day()]%30_000 == 0 {
		s.broken("it spins")
	}
	s.judgeExpiry(now, o)
	s.judgeReadiness(now, o)
}

// judgeExpiry reports whether a token expired although it could have been replaced in time.
func (s *soaked) judgeExpiry(now time.Time, o *State) {
	g := o.Grant()
	if g == nil || g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt) || s.expiryOf == g.IssuedAt.UnixNano() {
		return
	}
	s.expiryOf = g.IssuedAt.UnixNano()
	s.count.Expired++
	calm, ok := s.server.calmSince(g.ExpiresAt)
	for _, t := range []time.Time{s.disturbed, g.RefreshAt} {
		if t.After(calm) {
			calm = t
		}
	}
	// Neither a person nor a token of unknown fate is hurried.
	if !ok || !renewable(g) || g.SetAside != nil || fateUnknown(g, g.ExpiresAt.Add(-1)) ||
		g.ExpiresAt.Sub(calm) < 4*time.Second {
		s.count.Excused++
		return
	}
	s.broken("a token of %s expired, though nothing was wrong for %s", g.ExpiresAt.Sub(g.IssuedAt), g.ExpiresAt.Sub(calm))
}

// judgeReadiness reports whether status is late, or help that was possible did not come.
func (s *soaked) judgeReadiness(now time.Time, o *State) {
	ready := meta.FindStatusCondition(o.Conn.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || now.Before(s.disturbed) {
		return
	}
	g := o.Grant()
	if ready.Status == "True" && g != nil && !g.ExpiresAt.IsZero() && now.Sub(g.ExpiresAt) > lateness+time.Millisecond {
		s.broken("Ready is True %s after the token expired", now.Sub(g.ExpiresAt))
	}
	wellSince := s.disturbed
	for _, t := range []time.Time{s.start, s.edited} {
		if t.After(wellSince) {
			wellSince = t
		}
	}
	if s.server.troubled(now.Add(-recovery), now) || now.Sub(wellSince) < recovery {
		return
	}
	if !o.NonInteractive() && (g == nil || g.SetAside != nil || (g.RefreshToken == "" && !g.ExpiresAt.IsZero() &&
		now.Sub(g.IssuedAt) > g.ExpiresAt.Sub(g.IssuedAt)*2/3+2*time.Second)) {
		if o.Response() == nil && o.Conn.Status.AuthorizationURL == "" {
			s.broken("a person's consent would help, and there is no link")
		}
		return
	}
	if ready.Status != "True" && (g == nil || now.Sub(g.ExpiresAt) > recovery) {
		s.broken("nothing has been wrong for %s, and Ready says %s: %s", recovery, ready.Reason, ready.Message)
	}
}

// sends judges a request for the next token; g is nil before the first.
func (s *soaked) sends(g *credential.Grant) {
	now := s.clock.Now()
	s.count.Requests++
	s.sentOn[s.day()]++
	if o := s.server.inTrouble(false); o != nil {
		o.attempts++
	}
	last := s.sent
	s.sent = now
	if now.Sub(last) < time.Second && now.Sub(s.edited) > time.Second {
		s.broken("two requests within %s", now.Sub(last))
	}
	if g == nil || g.SpecHash != "" && WantsConsent(g) {
		return
	}
	if now.Sub(g.IssuedAt) < minRefreshInterval {
		s.broken("a token is replaced after %s", now.Sub(g.IssuedAt))
	}
	due := RefreshMoment(s.conn.UID, g.RefreshAt)
	if now.Before(due) {
		s.broken("a token is replaced %s before its time", due.Sub(now))
	}
	if alive := keepAlive(&s.conn.Spec); alive > 0 && s.edited.Before(g.IssuedAt) && due.Sub(g.IssuedAt) > alive {
		s.broken("a token is kept for %s, longer than keepAlive, which is %s", due.Sub(g.IssuedAt), alive)
	}
	if g.UnknownOutcomes > 1 && !g.ExpiresAt.IsZero() && now.Before(g.ExpiresAt) {
		s.broken("a refresh token is sent after %d unknown outcomes", g.UnknownOutcomes)
	}
	if s.generation != g.IssuedAt.UnixNano() {
		s.generation = g.IssuedAt.UnixNano()
		if s.disturbed.After(due) {
			due = s.disturbed
		}
		if now.Sub(due) > 2*time.Second {
			s.broken("a refresh begins %s late", now.Sub(due))
		}
	}
}

// rests judges a look that caches ended.
func (s *soaked) rests(now time.Time, o *State, rest time.Duration) {
	s.count.Rests++
	if step := Decide(now, o); step != StepNone {
		s.broken("it rests, and is to %s", step)
	}
	if wait := pause(now, o); wait > 0 && (rest == 0 || rest > wait) {
		s.broken("it rests for %s, and something is due after %s", rest, wait)
	}
}

// after judges a whole reconcile.
func (s *soaked) after(now time.Time, o *State, wait time.Duration) {
	for _, wrong := range CheckStatusLaws(o.Conn, now) {
		s.broken("%s", wrong)
	}
	g := o.Grant()
	lasts := g != nil && g.ExpiresAt.IsZero() && g.RefreshAt.IsZero() && probeInterval(o.Spec()) == 0 &&
		len(o.settled(now).Failures) == 0
	if wait < 0 || (wait == 0 && !lasts) {
		s.broken("it looks again after %s", wait)
	}
	if g != nil && g.AccessToken != "" && string(o.Secret.Data[v1alpha1.KeyAccessToken]) != g.AccessToken {
		s.broken("the token is not the one that is published")
	}
	for _, f := range o.settled(now).Failures {
		switch {
		case f.RetryAt == nil:
			s.broken("%s is not tried again", f.Step)
		case f.RetryAt.Sub(now) > maxRecheck+time.Second &&
			(g == nil || g.UnknownOutcomes <= 1 || !f.RetryAt.Time.Equal(TimeOf(g.ExpiresAt).Time)):
			s.broken("%s is tried again after %s only", f.Step, f.RetryAt.Sub(now))
		}
	}
}

// last judges the end of a life.
func (s *soaked) last() {
	now, o := s.clock.Now(), s.observe()
	s.judgeExpiry(now, o)
	s.judgeReadiness(now, o)
	for i := range s.server.outages {
		out := &s.server.outages[i]
		s.count.Outages++
		s.count.Attempts += out.attempts
		// Eight back-offs up to their limit, the last quarters before an expiry, then the longest back-off; again for each
		// edit.
		if limit := 45 + 10*out.edits + int(out.to.Sub(out.from)/(maxRetry*8/10)); out.attempts > limit {
			s.broken("%d attempts in an outage of %s, more than %d", out.attempts, out.to.Sub(out.from), limit)
		}
	}
	s.count.Tokens = s.server.issued
	for day, looks := range s.lookedOn {
		limit := 20 + 6*s.sentOn[day]
		if from := epoch.Add(time.Duration(day) * 24 * time.Hour); s.server.troubled(from.Add(-recovery),
			from.Add(24*time.Hour)) {
			limit += 2 * 340 // two steps may fail at once, each with a back-off of five minutes at most
		}
		if looks > limit {
			s.broken("%d reconciles on day %d, more than %d", looks, day, limit)
		}
	}
	if !o.NonInteractive() && !s.server.refreshes {
		return // a person comes when it pleases
	}
	if !meta.IsStatusConditionTrue(o.Conn.Status.Conditions, v1alpha1.ConditionReady) {
		s.broken("in the end it is not Ready: %+v", o.Conn.Status.Conditions)
	}
}

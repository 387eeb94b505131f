package lifecycle

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// refreshing is by the clock, or because somebody asked. One that failed is tried again.
func refreshing(s *State, now time.Time) []Task {
	g := s.Grant()
	if !Refreshable(g) {
		return nil
	}
	t := Task{Step: StepRefresh, since: s.renewAt(g, now), deadline: s.renewalDeadline(g, now), after: []Step{StepRefresh}}
	if s.Failures.Has(StepRefresh) {
		t.since = time.Time{}
	}
	if s.refreshAsked() {
		t.since = time.Time{}
		return []Task{t}
	}
	if fateUnknown(g, now) { // by then nothing can be lost
		t.notBefore = TimeOf(certainExpiry(g, now)).Time
	}
	t.waits = s.refreshHeldBack(now)
	return []Task{t}
}

// renewAt is when a token is to be replaced by the next one.
func (s *State) renewAt(g *credential.Grant, now time.Time) time.Time {
	if SetBack(now, g.IssuedAt) {
		return time.Time{}
	}
	return RefreshMoment(s.Conn.UID, g.RefreshAt)
}

// renewalDeadline is by when that has to have been done; zero before its time, and where nothing hurries: the grant is
// over, or nobody knows whether its refresh token was spent.
func (s *State) renewalDeadline(g *credential.Grant, now time.Time) time.Time {
	if g.SetAside != nil || s.renewAt(g, now).After(now) || fateUnknown(g, now) {
		return time.Time{}
	}
	return deadline(g.RefreshAt, g.ExpiresAt)
}

// deadline of a refresh: the expiry of the token, or the planned time if nobody knows that.
func deadline(refreshAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return refreshAt
	}
	return expiresAt
}

// Refreshable reports whether the refresh token may be spent. A grant that was set aside may be one that is tried now
// and then.
func Refreshable(g *credential.Grant) bool {
	return g != nil && g.GrantType == "" && g.RefreshToken != "" && (g.SetAside == nil || g.SetAside.Retried) &&
		g.Revoke == ""
}

// renewable reports whether a new access token can be had without a person.
func renewable(g *credential.Grant) bool {
	return Refreshable(g) || (g != nil && g.GrantType != "" && g.Revoke == "")
}

// refreshAsked reports whether a person, a consumer or a probe asks for the next token now.
func (s *State) refreshAsked() bool {
	_, is := asked(s.Conn, v1alpha1.AnnotationRefresh, s.Handled.Refresh)
	return is || s.calledFor(credential.WantsRefresh)
}

// fateUnknown reports whether a refresh token was sent twice without an answer, so that the access token is kept until
// it expires: then nothing can be lost by another try. Without a known expiry there is nothing to wait for.
func fateUnknown(g *credential.Grant, now time.Time) bool {
	return g.UnknownOutcomes > 1 && now.Before(g.ExpiresAt) && !SetBack(now, g.IssuedAt)
}

// DeclineRefresh marks a request to refresh as handled where nothing can be refreshed: only another consent would help.
func (s *State) DeclineRefresh() {
	value, is := asked(s.Conn, v1alpha1.AnnotationRefresh, s.Handled.Refresh)
	if !is || s.NonInteractive() || s.Deleted() || s.suspended() || s.Unusable != nil || Refreshable(s.Grant()) ||
		s.offerTaken() || s.importWanted() {
		return
	}
	s.Handled.Refresh = value
	message := "There is no refresh token, so nothing was refreshed. Set the annotation " +
		v1alpha1.AnnotationReauthorize + " to ask for a new consent."
	switch g := s.Grant(); {
	case s.IssuerChanged():
		message = "The server names another authorization server than the spec, so nothing was refreshed."
	case g != nil && g.Public:
		message = "The server requires no authorization, so there is nothing to refresh."
	}
	s.Notes = append(s.Notes, Note{Warning: true, Reason: "NothingToRefresh", Message: message})
}

// refreshHeldBack reports whether a refresh waits until the published token has expired: the next token cannot be
// published, and many servers end the old one at a refresh. The refresh token itself must not die of that.
func (s *State) refreshHeldBack(now time.Time) bool {
	g := s.Grant()
	if !s.Failures.Has(StepPublish) || !s.holdsToken(now) || s.secretExpiry().IsZero() ||
		s.SecretValue(v1alpha1.KeyAccessToken) == g.AccessToken {
		return false
	}
	if alive := keepAlive(s.Spec()); alive > 0 && !now.Before(g.IssuedAt.Add(alive).Truncate(time.Second)) {
		return false
	}
	return g.EndsAt.IsZero() || now.Before(g.IssuedAt.Add(g.EndsAt.Sub(g.IssuedAt)*2/3))
}

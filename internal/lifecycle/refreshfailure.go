package lifecycle

import (
	"fmt"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Blame releases the claim of a grant whose refresh failed, and counts what may end it.
func Blame(now time.Time, c *credential.Credential, g *credential.Grant, e *mcpoauth.Error) {
	g.Claim = nil
	Refreshed(g)
	if e.Outcome == mcpoauth.Unknown {
		g.UnknownOutcomes++
	}
	countRefusal(g, e, now)
	if clientRejected(e) && g.Client.Method == mcpoauth.Dynamic {
		g.SetAside = setAsideClient(now, e, g, refuseClient(c, &g.Binding))
		return
	}
	if over := setAside(now, e, g); over != nil && (g.SetAside == nil || g.SetAside.Reason != over.Reason) {
		g.SetAside = over
	}
}

// setAsideClient says what a refused client that registered itself means for its grant.
func setAsideClient(now time.Time, e *mcpoauth.Error, g *credential.Grant, next remedy) *credential.SetAside {
	over := &credential.SetAside{Reason: v1alpha1.ReasonRefreshRejected, At: now}
	switch next {
	case sendsSecret:
		return g.SetAside
	case wantsPerson:
		over.Message = refusedAgainText(e)
	case registersAnew:
		over.Message = "The authorization server no longer knows this client, so it is registered anew. " + openLink
	}
	return over
}

// countRefusal counts what ends a grant, or makes a consent worth offering, only if it lasts.
func countRefusal(g *credential.Grant, e *mcpoauth.Error, now time.Time) {
	switch {
	case e.OAuthError == "invalid_grant", clientRejected(e):
	case e.Kind == mcpoauth.Rejected && e.OAuthError == g.Rejected:
		g.Rejections++
	case e.Kind == mcpoauth.Rejected:
		g.Rejections, g.Rejected, g.RejectedSince = 1, e.OAuthError, now
	case e.Kind == mcpoauth.Transient && e.Status >= 400 && e.Status <= 499 && e.Outcome == mcpoauth.Answered &&
		!e.Moved():
		g.Refusals++
	}
}

// setAside reports whether the grant is over: the server ended it, or refused it for too long.
func setAside(now time.Time, e *mcpoauth.Error, g *credential.Grant) *credential.SetAside {
	switch {
	case e.OAuthError == "invalid_grant":
		return &credential.SetAside{Reason: v1alpha1.ReasonRefreshRejected, At: now,
			Message: "The authorization server ended the grant (" + e.Message + "). " + openLink}
	case g.Rejections >= MaxRejections && now.Sub(g.RejectedSince) >= RejectedFor:
		return &credential.SetAside{Reason: v1alpha1.ReasonTokenRequestRejected, At: now, Retried: publishable(g),
			Message: fmt.Sprintf("The token endpoint has refused %d refreshes since %s with the same error (%s), and is still "+
				"asked now and then. Check spec.compatibility. If that does not help: %s",
				g.Rejections, g.RejectedSince.UTC().Format(time.RFC3339), e.Message, openLink)}
	}
	return nil
}

// NoteRefreshFailure notes why the token was not refreshed, and when that is tried again. method is how the client was
// had before the failure was blamed on it.
func (s *State) NoteRefreshFailure(now time.Time, e *mcpoauth.Error, method mcpoauth.RegistrationMethod) {
	reason, message := string(e.Code), e.Message
	switch {
	case clientRejected(e) && method == mcpoauth.Dynamic: // else the grant was set aside
		reason, message, e = v1alpha1.ReasonTokenRequestRejected, secretDemanded, &mcpoauth.Error{RetryAfter: e.RetryAfter}
	case clientRejected(e):
		reason, message = clientReason(e, method)
	}
	if e.Kind == mcpoauth.Rejected {
		e = &mcpoauth.Error{Kind: mcpoauth.Misconfigured, RetryAfter: e.RetryAfter}
	}
	g := s.Grant()
	s.FailAs(now, StepRefresh, e, reason, message)
	if e.Outcome == mcpoauth.Unknown && g.UnknownOutcomes == 1 {
		// The server may have replaced the token, and takes the old one for a while only: earlier failures are no reason to
		// wait.
		delay := RetryDelay(s.Conn.UID, StepRefresh, 1, e.Kind)
		s.Failures.Find(StepRefresh).RetryAt = TimeOf(RetryTime(now, delay, e.RetryAfter, g.ExpiresAt))
	}
	if g.UnknownOutcomes > 1 && now.Before(g.ExpiresAt) {
		// One more try is allowed while the token is valid; after it has expired nothing can be lost.
		s.Failures.Find(StepRefresh).RetryAt = TimeOf(certainExpiry(g, now))
	}
}

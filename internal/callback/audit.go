package callback

import (
	"errors"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// Outcomes in the audit log.
const (
	auditBegun         = "begun"
	auditConsented     = "consented"
	auditDeclined      = "declined"
	auditRejected      = "request rejected"
	auditFailing       = "authorization server failing"
	auditNotAsked      = "not asked"
	auditForeignIssuer = "foreign issuer"
	auditOtherBrowser  = "refused: another browser"
	auditOtherUser     = "refused: another user"
	auditNoUser        = "refused: no user"
	auditNotPermitted  = "refused: not permitted"
)

// audit puts on record who did what about the consent of a connection. It holds no secret: no ticket, state, code or
// cookie.
func (s *Server) audit(x *exchange, outcome string) {
	s.o.Audit.Info("consent", "outcome", outcome, "connection", x.connection.name(), "uid", x.uid, "user", x.user,
		"client", x.client.String())
}

// auditOf is the outcome of an error of the authorization server, with its code if that is one that servers are known
// to send.
func auditOf(e *mcpoauth.Error) string {
	outcome := auditRejected
	switch e.Code {
	case mcpoauth.AccessDenied:
		outcome = auditDeclined
	case mcpoauth.AuthorizationServerFailing:
		outcome = auditFailing
	case mcpoauth.ConsentRequired:
		outcome = auditNotAsked
	}
	if outcome == auditDeclined || !mcpoauth.KnownAuthorizationError(e.OAuthError) {
		return outcome
	}
	return outcome + ": " + e.OAuthError
}

// auditRefusal puts on record who was turned away from a connection that is known. What strangers make up is not
// recorded.
func (s *Server) auditRefusal(x *exchange, err error) {
	var denied notPermitted
	switch {
	case x.connection.Name == "":
	case errors.Is(err, credential.ErrOtherBrowser):
		s.audit(x, auditOtherBrowser)
	case errors.Is(err, errOtherUser):
		s.audit(x, auditOtherUser)
	case errors.Is(err, errNoUser):
		s.audit(x, auditNoUser)
	case errors.As(err, &denied):
		s.audit(x, auditNotPermitted)
	}
}

package lifecycle

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func exchanging(s *State, _ time.Time) []Task {
	return whenNeeded(StepExchangeCode, s.Response() != nil)
}

const (
	// CodeLifetime is how long an authorization code is worth trying: RFC 6749, section 4.1.2, recommends ten minutes at
	// most.
	CodeLifetime = 5 * time.Minute
	// MaxRejections is how often, and RejectedFor how long, a token endpoint may refuse to refresh with the same error
	// other than invalid_grant, before the grant is set aside.
	MaxRejections = 10
	// RejectedFor is explained with MaxRejections.
	RejectedFor = 3 * time.Hour
	// minRefusals is how many answers that are no OAuth error make a consent worth offering once the token has expired.
	minRefusals = 3
	// endMoves is how much later a refresh has to make a grant end, to have prolonged it.
	endMoves = time.Minute
)

// FinishFailed puts the outcome of a refused code on record. Where another client or its secret may help, a new link
// follows at once; the same code is never sent again.
func FinishFailed(c *credential.Credential, e *mcpoauth.Error, now time.Time) {
	b := &c.Authorization.Response.Request.Binding
	reason, message := codeReason(e, b.Client.Method)
	if !clientRejected(e) || b.Client.Method != mcpoauth.Dynamic {
		c.Authorization.Finish(reason, message, now)
		return
	}
	switch refuseClient(c, b) {
	case wantsPerson:
		c.Authorization.Finish(reason, refusedAgainText(e), now)
		return
	case sendsSecret:
		c.Authorization.Finish(v1alpha1.ReasonConsentRequired, secretDemanded, now)
	case registersAnew:
		c.Authorization.Finish(v1alpha1.ReasonConsentRequired, "The server no longer knows this client; it is "+
			"registered anew", now)
	}
	c.Authorization.Withdraw()
}

// codeReason says why a code led to no token, and what to do.
func codeReason(e *mcpoauth.Error, method mcpoauth.RegistrationMethod) (reason, message string) {
	switch {
	case e.OAuthError == "invalid_grant":
		return v1alpha1.ReasonCodeRejected, e.Message
	case clientRejected(e):
		return clientReason(e, method)
	case e.OAuthError != "":
		return v1alpha1.ReasonTokenRequestRejected, e.Message
	}
	return v1alpha1.ReasonTokenRequestFailing, e.Message
}

// clientReason says what to do about a client that the authorization server does not accept.
func clientReason(e *mcpoauth.Error, method mcpoauth.RegistrationMethod) (reason, message string) {
	if method == mcpoauth.MetadataDocument {
		return v1alpha1.ReasonRegistrationRefused,
			"The authorization server does not accept the client (" + e.Message +
				"). It must be able to fetch the client metadata document."
	}
	return v1alpha1.ReasonCredentialsRejected,
		"The authorization server does not accept the client credentials (" + e.Message +
			"). Check the Secret named by spec.client.credentialsSecretRef."
}

// clientRejected reports whether the authorization server does not accept the client (RFC 6749, section 5.2).
func clientRejected(e *mcpoauth.Error) bool {
	return e.OAuthError == "invalid_client" || e.OAuthError == "unauthorized_client"
}

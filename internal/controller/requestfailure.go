package controller

import (
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// noteRequestFailure notes that there is no token, and why. atProvider says that it was the identity provider that refused.
func (o *observed) noteRequestFailure(now time.Time, anew bool, e *mcpoauth.Error, atProvider bool) {
	reason, message := string(e.Code), e.Message
	switch {
	case clientRejected(e) && atProvider:
		reason, message = v1alpha1.ReasonCredentialsRejected,
			"The identity provider does not accept the client credentials ("+e.Message+"). Check the Secret named by "+fieldIdentity+"."
	case clientRejected(e) && o.client != nil:
		reason, message = clientReason(e, mcpoauth.Preregistered)
	case e.Kind == mcpoauth.Rejected:
		reason = v1alpha1.ReasonTokenRequestRejected
	case slices.Contains(metadataCodes, e.Code): // of the identity provider
		reason = v1alpha1.ReasonTokenRequestFailing
	}
	o.failAs(now, stepRequestToken, e, reason, message)
	if g, f := o.grant(), o.failures.find(stepRequestToken); anew && g != nil && g.RefreshAt.After(now) && f.RetryAt.After(g.RefreshAt) {
		f.RetryAt = timeOf(g.RefreshAt) // an edit that the server refuses must not keep the old token from being renewed
	}
	if !anew && e.Moved() && !atProvider {
		o.rediscover = true
	}
}

// metadataCodes are of metadata documents, which a token request reads only of an identity provider.
var metadataCodes = []mcpoauth.Code{mcpoauth.ServerUnreachable, mcpoauth.MetadataNotFound, mcpoauth.InvalidMetadata, mcpoauth.IssuerMismatch}

package controller

import (
	"time"

	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// linkTrouble is why no link to the authorization server that was found could work, whoever the client is; nil if one
// could, or none is wanted.
func linkTrouble(o *observed, now time.Time) error {
	if o.unattended() || o.importWanted() || !o.consentDue(now) {
		return nil
	}
	before := *o
	before.registered = &mcpoauth.ClientRegistration{}
	b := binding(&before)
	if o.externalURL == "" {
		b.RedirectURI = ""
	}
	return mcpoauth.CheckAuthorizationEndpoint(b.AuthorizationRequest("", ""))
}

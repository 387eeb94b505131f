package controller

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

// revokeAsked says whether a person asked for revocation and the token is still published.
func (o *observed) revokeAsked() bool {
	_, asked := asked(o.conn, v1alpha1.AnnotationRevoke, o.handled.Revoke)
	return asked
}

// withdrawn is a grant that is still to be revoked at its server, the current one first; nil if there is none.
func (o *observed) withdrawn() *credential.Grant {
	if g := o.grant(); g != nil && g.Revoke != "" {
		return g
	}
	if c := o.credential(); c != nil {
		for i := range c.Grants {
			if c.Grants[i].Revoke != "" {
				return &c.Grants[i]
			}
		}
	}
	return nil
}

// refreshAsked reports whether a person, a consumer or a probe asks for the next token now.
func (o *observed) refreshAsked() bool {
	_, is := asked(o.conn, v1alpha1.AnnotationRefresh, o.handled.Refresh)
	return is || o.calledFor(credential.WantsRefresh)
}

// fateUnknown says whether a refresh token was sent twice without an answer, so that the access token is kept until it
// expires: then nothing can be lost by another try. Without a known expiry there is nothing to wait for.
func fateUnknown(g *credential.Grant, now time.Time) bool {
	return g.UnknownOutcomes > 1 && now.Before(g.ExpiresAt) && !setBack(now, g.IssuedAt)
}

package controller

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
)

// secretTaken reports whether somebody else has a Secret of the token Secret's name.
func (o *observed) secretTaken() bool {
	return o.secret != nil && ownerOf(o.secret, o.conn, o.ownerGone) == ownedByOthers
}

// nowhereToPublish reports whether a consent would be in vain, since the token Secret's name is taken and nothing was ever published.
func (o *observed) nowhereToPublish() bool {
	return o.secretTaken() && o.offer() == nil && o.publishedName == ""
}

// refreshHeldBack reports whether a refresh waits until the published token has expired: the next token cannot be published,
// and many servers end the old one at a refresh. The refresh token itself must not die of that.
func (o *observed) refreshHeldBack(now time.Time) bool {
	g := o.grant()
	if !o.failures.has(stepPublish) || !o.holdsToken(now) || o.secretExpiry().IsZero() || o.secretValue(v1alpha1.KeyAccessToken) == g.AccessToken {
		return false
	}
	if alive := keepAlive(o.spec()); alive > 0 && !now.Before(g.IssuedAt.Add(alive).Truncate(time.Second)) {
		return false
	}
	return g.EndsAt.IsZero() || now.Before(g.IssuedAt.Add(g.EndsAt.Sub(g.IssuedAt)*2/3))
}

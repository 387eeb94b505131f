package controller

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// wornOutLead is how long before its secret expires a client is updated or replaced, at least: a person may have to consent.
	wornOutLead = 24 * time.Hour
	// minUpdateInterval is the least time between two updates of a registration.
	minUpdateInterval = time.Minute
)

// updateTime chooses when a client whose secret expires is updated: at two thirds of the secret's life and a day before its
// end, but not in the first half, less at most a tenth of that. It is zero for a secret that does not expire.
func updateTime(uid types.UID, issuedAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return time.Time{}
	}
	lifetime := expiresAt.Sub(issuedAt)
	lead := min(lifetime*2/3, max(lifetime-wornOutLead, lifetime/2))
	lead -= time.Duration(float64(lead) * 0.1 * fraction(uid, string(stepUpdateRegistration)))
	return issuedAt.Add(max(lead, minUpdateInterval)).Truncate(time.Second)
}

// updateMoment is when a client is to be updated or replaced; zero if its secret does not expire.
func updateMoment(c *mcpoauth.ClientRegistration) time.Time {
	if c.Method != mcpoauth.Dynamic || c.SecretExpiresAt.IsZero() || !c.UpdateAt.IsZero() {
		return c.UpdateAt
	}
	return c.SecretExpiresAt.Add(-wornOutLead)
}

func updateDue(c *mcpoauth.ClientRegistration, now time.Time) bool {
	at := updateMoment(c)
	return !at.IsZero() && !now.Before(at)
}

func updatable(c *mcpoauth.ClientRegistration) bool { return c.Managed() && !c.UpdateRefused }

// clientWornOut says whether the secret of the client that refreshes the token will expire, and only another client helps.
func (o *observed) clientWornOut(now time.Time) bool {
	g := o.grant()
	return refreshable(g) && updateDue(&g.Client, now) && !updatable(&g.Client)
}

// offersWornOut says whether a link would bring a grant of the same client again.
func (o *observed) offersWornOut(offer *credential.Offer, now time.Time) bool {
	return o.clientWornOut(now) && offer.Binding.Issuer == o.grant().Issuer && offer.Binding.Client.ClientID == o.grant().Client.ClientID
}

// updateAt is what status shows; zero once a consent is wanted.
func (o *observed) updateAt(now time.Time) time.Time {
	g := o.grant()
	if !refreshable(g) || o.clientWornOut(now) {
		return time.Time{}
	}
	return updateMoment(&g.Client)
}

// unused are registrations to be deleted at their servers.
func (o *observed) unused() []credential.Registration {
	if c := o.credential(); c != nil {
		return c.Unused()
	}
	return nil
}

// clientText names a client, and says what hinders its update.
func (o *observed) clientText(c *mcpoauth.ClientRegistration) string {
	text := fmt.Sprintf("The client is %s (%s).", c.ClientID, c.Method)
	if failure := o.failures.find(stepUpdateRegistration); failure != nil {
		text += " " + failure.Message
	}
	return text
}

// wornOutText says why another client is wanted.
func wornOutText(c *mcpoauth.ClientRegistration) string {
	return "The client secret expires at " + c.SecretExpiresAt.UTC().Format(time.RFC3339) +
		" and the authorization server does not renew it, so the client is registered anew. "
}

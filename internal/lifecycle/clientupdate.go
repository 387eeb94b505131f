package lifecycle

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

const (
	// secretLead is how long before its secret expires a client is updated or replaced, at least: a person may have to
	// consent.
	secretLead = 24 * time.Hour
	// minUpdateInterval is the least time between two updates of a registration.
	minUpdateInterval = time.Minute
)

// UpdateTime chooses when a client whose secret expires is updated: at two thirds of the secret's life and a day before
// its end, but not in the first half, less at most a tenth of that. It is zero for a secret that does not expire.
func UpdateTime(uid types.UID, issuedAt, expiresAt time.Time) time.Time {
	if expiresAt.IsZero() {
		return time.Time{}
	}
	lifetime := expiresAt.Sub(issuedAt)
	lead := min(lifetime*2/3, max(lifetime-secretLead, lifetime/2))
	lead -= time.Duration(float64(lead) * 0.1 * fraction(uid, string(StepUpdateRegistration)))
	return issuedAt.Add(max(lead, minUpdateInterval)).Truncate(time.Second)
}

// UpdateMoment is when a client is to be updated or replaced; zero if its secret does not expire.
func UpdateMoment(c *mcpoauth.ClientRegistration) time.Time {
	if c.Method != mcpoauth.Dynamic || c.SecretExpiresAt.IsZero() || !c.UpdateAt.IsZero() {
		return c.UpdateAt
	}
	return c.SecretExpiresAt.Add(-secretLead)
}

func updateDue(c *mcpoauth.ClientRegistration, now time.Time) bool {
	at := UpdateMoment(c)
	return !at.IsZero() && !now.Before(at)
}

func updatable(c *mcpoauth.ClientRegistration) bool { return c.Managed() && !c.UpdateRefused }

// clientSecretRunsOut reports whether the secret of the client that refreshes the token will expire, and only another
// client helps.
func (s *State) clientSecretRunsOut(now time.Time) bool {
	g := s.Grant()
	return Refreshable(g) && updateDue(&g.Client, now) && !updatable(&g.Client)
}

// offersSameClient reports whether a link would bring a grant of the same client again.
func (s *State) offersSameClient(offer *credential.Offer, now time.Time) bool {
	return s.clientSecretRunsOut(now) && offer.Binding.Issuer == s.Grant().Issuer &&
		offer.Binding.Client.ClientID == s.Grant().Client.ClientID
}

// updateAt is what status shows; zero once a consent is wanted.
func (s *State) updateAt(now time.Time) time.Time {
	g := s.Grant()
	if !Refreshable(g) || s.clientSecretRunsOut(now) {
		return time.Time{}
	}
	return UpdateMoment(&g.Client)
}

// Unused are registrations to be deleted at their servers.
func (s *State) Unused() []credential.Registration {
	if c := s.Credential(); c != nil {
		return c.Unused()
	}
	return nil
}

// clientText names a client, and says what hinders its update.
func (s *State) clientText(c *mcpoauth.ClientRegistration) string {
	text := fmt.Sprintf("The client is %s (%s).", c.ClientID, c.Method)
	if failure := s.Failures.Find(StepUpdateRegistration); failure != nil {
		text += " " + failure.Message
	}
	return text
}

// secretRunsOutText says why another client is wanted.
func secretRunsOutText(c *mcpoauth.ClientRegistration) string {
	return "The client secret expires at " + c.SecretExpiresAt.UTC().Format(time.RFC3339) +
		" and the authorization server does not renew it, so the client is registered anew. "
}

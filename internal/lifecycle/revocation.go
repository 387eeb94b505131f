package lifecycle

import (
	"slices"
	"time"

	"k8s.io/utils/ptr"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
)

func withdrawing(s *State, _ time.Time) []Task { return whenNeeded(StepWithdrawToken, s.revokeAsked()) }

// revoking comes before a new grant takes the place of the one to be revoked, and once the token is published no more.
func revoking(s *State, _ time.Time) []Task {
	g := s.Withdrawn()
	if g == nil {
		return nil
	}
	t := dueNow(StepRevoke)
	t.waits = g.AccessToken == "" && g.RefreshToken == "" && s.ShowsWithdrawn()
	return []Task{t}
}

// revokeAsked reports whether a person asked for revocation and the token is still published.
func (s *State) revokeAsked() bool {
	_, asked := asked(s.Conn, v1alpha1.AnnotationRevoke, s.Handled.Revoke)
	return asked
}

// Withdrawn is a grant that is still to be revoked at its server, the current one first; nil if there is none.
func (s *State) Withdrawn() *credential.Grant {
	if g := s.Grant(); g != nil && g.Revoke != "" {
		return g
	}
	if c := s.Credential(); c != nil {
		for i := range c.Grants {
			if c.Grants[i].Revoke != "" {
				return &c.Grants[i]
			}
		}
	}
	return nil
}

// MaxRevokeAttempts bounds how often a revocation that may heal is tried.
const MaxRevokeAttempts = 5

// IfWithdrawn is a copy of a grant that is still to be revoked; nil of any other.
func IfWithdrawn(g *credential.Grant) *credential.Grant {
	if g == nil || g.Revoke == "" {
		return nil
	}
	return ptr.To(*g)
}

// revocationFailed is the reason of the event that says so.
const revocationFailed = "RevocationFailed"

// NotRevoked tells that a grant stays at its server.
func NotRevoked(err error) Note {
	return Note{Warning: true, Reason: revocationFailed, Message: "The grant could not be revoked; revoke it at the " +
		"authorization server: " + err.Error()}
}

// HeldToken is one that can be revoked.
type HeldToken struct{ Hint, Value string }

// TokensOf are the tokens of a grant, in the order in which they are revoked.
func TokensOf(g *credential.Grant) []HeldToken {
	if g.Public {
		return nil
	}
	return slices.DeleteFunc([]HeldToken{{"refresh_token", g.RefreshToken}, {"access_token", g.AccessToken}},
		func(t HeldToken) bool { return t.Value == "" })
}

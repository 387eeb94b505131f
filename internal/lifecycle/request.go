package lifecycle

import (
	"slices"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// requestingNext is the same without a person: the next token is requested as the last one was. No server but the
// authorization server is needed for that.
func requestingNext(s *State, now time.Time) []Task {
	g := s.Grant()
	if !s.NonInteractive() || g == nil || g.Revoke != "" || s.clientReplaced(&g.Client) {
		return nil
	}
	t := Task{Step: StepRequestToken, since: s.renewAt(g, now), deadline: s.renewalDeadline(g, now),
		after: []Step{StepRequestToken}}
	if s.refreshAsked() {
		t.since = time.Time{}
	}
	return []Task{t}
}

// requestChain leads to a token without a person, in a new way.
func requestChain(s *State, now time.Time) []Task {
	wanted, rediscover := s.tokenWanted(), s.rediscoveryWanted()
	var tasks []Task
	switch {
	case wanted:
		t := Task{Step: StepRequestToken, after: []Step{StepDiscover, StepRegister, StepRequestToken}, anytime: true}
		if g := s.Grant(); g != nil {
			t.deadline = s.renewalDeadline(g, now)
		}
		switch {
		case s.Discovery == nil:
			t.Step = StepDiscover
		case s.Registered == nil && !s.IssuerChanged():
			t.Step = StepRegister
		}
		tasks = []Task{t}
	case rediscover:
		tasks = whenNeeded(StepDiscover, s.Discovery == nil)
	}
	if s.Offer() != nil { // of another grant type
		return append(whenNeeded(StepEndAuthorization, true), blocked(tasks)...)
	}
	return tasks
}

// RequestBinding says how to ask: as was just discovered, or as last time.
func (s *State) RequestBinding() (b credential.Binding, anew bool) {
	if s.Discovery != nil && s.Registered != nil {
		return Binding(s), true
	}
	return s.Grant().Binding, false
}

// SucceedNonInteractive carries a challenge over to the next token, as refresh and consent do.
func SucceedNonInteractive(g, old *credential.Grant) {
	Succeed(g, old)
	if c := old.Challenge; c != nil && !c.Insufficient {
		kept := *c
		g.Challenge = &kept
		Refreshed(g)
	}
}

// NoteRequestFailure notes that there is no token, and why. atProvider says that it was the identity provider that
// refused.
func (s *State) NoteRequestFailure(now time.Time, anew bool, e *mcpoauth.Error, atProvider bool) {
	reason, message := string(e.Code), e.Message
	switch {
	case clientRejected(e) && atProvider:
		reason, message = v1alpha1.ReasonCredentialsRejected,
			"The identity provider does not accept the client credentials ("+e.Message+"). Check the Secret named by "+
				FieldIdentity+"."
	case clientRejected(e) && s.Client != nil:
		reason, message = clientReason(e, mcpoauth.Preregistered)
	case e.Kind == mcpoauth.Rejected:
		reason = v1alpha1.ReasonTokenRequestRejected
	case slices.Contains(metadataCodes, e.Code): // of the identity provider
		reason = v1alpha1.ReasonTokenRequestFailing
	}
	s.FailAs(now, StepRequestToken, e, reason, message)
	if g, f := s.Grant(), s.Failures.Find(StepRequestToken); anew && g != nil && g.RefreshAt.After(now) &&
		f.RetryAt.After(g.RefreshAt) {
		f.RetryAt = TimeOf(g.RefreshAt) // an edit that the server refuses must not keep the old token from being renewed
	}
	if !anew && e.Moved() && !atProvider {
		s.Rediscover = true
	}
}

// metadataCodes are of metadata documents, which a token request reads only of an identity provider.
var metadataCodes = []mcpoauth.Code{mcpoauth.ServerUnreachable, mcpoauth.MetadataNotFound, mcpoauth.InvalidMetadata,
	mcpoauth.IssuerMismatch}

// GrantTypeOf is the grant type as grants keep it: empty for AuthorizationCode.
func GrantTypeOf(spec *v1alpha1.MCPConnectionSpec) string {
	if spec.GrantType == v1alpha1.GrantTypeAuthorizationCode {
		return ""
	}
	return string(spec.GrantType)
}

// NonInteractive reports whether tokens are had without a person.
func (s *State) NonInteractive() bool { return GrantTypeOf(s.Spec()) != "" }

// tokenWanted reports whether a token of a grant without a person is to be requested in a new way: the first, for an
// edited spec, for another client, for more scopes, or because somebody asked.
func (s *State) tokenWanted() bool {
	g := s.Grant()
	if !s.NonInteractive() {
		return false
	}
	_, reauthorize := asked(s.Conn, v1alpha1.AnnotationReauthorize, s.Handled.Reauthorize)
	return g == nil || (g.Revoke == "" && (reauthorize || g.SpecHash != BindingHash(s.Spec()) ||
		s.clientReplaced(&g.Client) || WantsConsent(g)))
}

// requestVerdict speaks of a token that is still to be had without a person; nil if an earlier step stands in the way.
func requestVerdict(s *State) *verdict {
	for _, step := range []Step{StepRequestToken, StepRevoke} {
		if failure := s.Failures.Find(step); failure != nil && !reasons.Is(failure.Reason, reasons.OfClient) {
			return no(failure.Reason, failure.Message)
		}
	}
	return nil
}

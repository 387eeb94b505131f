package lifecycle

import (
	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// importChain leads to a grant that exists already. No consent is asked for meanwhile.
func importChain(s *State) []Task {
	t := Task{Step: StepImportGrant, after: []Step{StepDiscover, StepImportGrant}, anytime: true}
	if s.Discovery == nil && s.Imported.Missing == "" {
		t.Step = StepDiscover
	}
	t.waits = s.nowhereToPublish()
	return []Task{t}
}

// ImportedGrant is what importSecretRef holds now.
type ImportedGrant struct {
	RefreshToken, Issuer string
	Client               mcpoauth.ClientRegistration
	// Missing says what is not there; empty if all is.
	Missing string
	// Holder is what it was read from.
	Holder Holder
}

// MayImport reports whether what importSecretRef refers to is of use: the spec names something, and the connection has
// no grant.
func (s *State) MayImport() bool {
	g := s.Grant()
	return s.Spec().ImportSecretRef != nil && !s.Deleted() && (g == nil || g.SetAside != nil)
}

// importWanted reports whether a grant that was brought along is to be taken over. One that was taken over once is not
// again.
func (s *State) importWanted() bool {
	if s.Imported == nil || s.NonInteractive() || s.offerTaken() {
		return false
	}
	c := s.Credential()
	return c == nil || s.Imported.Missing != "" && c.Spent.Import == "" || s.Imported.Missing == "" &&
		c.Spent.Import != credential.Hash(s.Imported.RefreshToken)
}

// offerTaken reports whether a person is giving consent already.
func (s *State) offerTaken() bool { return s.Response() != nil }

// ImportedClient is the client that the grant was given to: the spec's, or one that counts as registered dynamically,
// for if the server forgets it, the operator registers one of its own.
func ImportedClient(s *State, i *ImportedGrant) *mcpoauth.ClientRegistration {
	client := i.Client
	methods := s.Discovery.AuthorizationServer.TokenEndpointAuthMethodsSupported
	wanted := mcpoauth.AuthMethod(ClientSpec(s.Spec()).AuthMethod)
	switch {
	case s.Client != nil:
		client.Method, client.ClientSecret = mcpoauth.Preregistered, s.Client.Secret
		client.AuthMethod = mcpoauth.SelectAuthMethod(methods, wanted, s.Client.Secret, s.Client.Key != nil)
		return &client
	case ClientSpec(s.Spec()).Registration == v1alpha1.RegistrationMetadataDocument:
		client.Method = mcpoauth.MetadataDocument
	}
	client.AuthMethod = mcpoauth.SelectAuthMethod(methods, wanted, client.ClientSecret, false)
	return &client
}

// importVerdict speaks of a grant that cannot be taken over; nil if the client is what is wrong.
func importVerdict(failure *v1alpha1.Failure) *verdict {
	if reasons.Is(failure.Reason, reasons.OfClient) {
		return nil
	}
	return no(failure.Reason, failure.Message)
}

// tokenlessVerdict speaks of a grant that has brought no access token yet: it was taken over, or only the refresh token
// of an answer could be kept.
func tokenlessVerdict(s *State) *verdict {
	what := "The imported grant was taken over"
	if credential.Hash(s.Grant().RefreshToken) != s.Credential().Spent.Import {
		what = "The person consented, and only the refresh token could be kept"
	}
	if failure := s.Failures.Find(StepRefresh); failure != nil {
		if reasons.Is(failure.Reason, reasons.OfClient) {
			return nil // the client is what is wrong
		}
		return no(failure.Reason, what+", but refreshing it fails and is retried. "+failure.Message)
	}
	return no(v1alpha1.ReasonProgressing, what+"; its first token is being requested.")
}

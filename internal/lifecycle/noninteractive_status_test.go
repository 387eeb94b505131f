package lifecycle

import (
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/reasons"
)

// nonInteractiveStates are those of grants without a person, and of grants that were brought along. works says which of
// Reconciling and Stalled goes with a reason.
func nonInteractiveStates(works func(reason string) string) map[string]state {
	edited := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServiceAccountName = "another" })
	failed := func(reason string) func(*State) { return failing(StepRequestToken, reason, time.Hour) }
	brought := func(o *State) { o.Imported = &ImportedGrant{Missing: "It is missing."} }
	out := map[string]state{
		"a token came without a person": {o: given(nonInteractive, requestedToken(), published),
			ready: succeeded, discovered: succeeded, registered: succeeded, authorized: succeeded},
		"a token for an edited spec is on its way": {o: given(nonInteractive, requestedToken(), published, edited),
			ready: "True Progressing", discovered: succeeded, registered: succeeded, authorized: "True Progressing"},
		"the next token cannot be had": {at: givenRefresh, o: given(nonInteractive, requestedToken(), published,
			failed(v1alpha1.ReasonTokenRequestFailing)),
			ready: "True RefreshFailing", discovered: succeeded, registered: succeeded, authorized: "True RefreshFailing"},
		"the token expired and is being requested": {at: givenLifetime, o: given(nonInteractive, requestedToken(), published),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling},
		"the token expired and no other can be had": {at: givenLifetime, o: given(nonInteractive, requestedToken(), published,
			failed(v1alpha1.ReasonTokenRequestFailing)),
			ready: "False TokenExpired", discovered: succeeded, registered: succeeded, authorized: "False TokenExpired",
			worker: reconciling},
		"the request is refused": {o: given(nonInteractive, failed(v1alpha1.ReasonTokenRequestRejected)),
			ready: "False TokenRequestRejected", discovered: succeeded, registered: succeeded,
			authorized: "False TokenRequestRejected", worker: stalled},
		"a grant to be brought along is not there": {
			o:     given(brought, failing(StepImportGrant, v1alpha1.ReasonCredentialsMissing, time.Minute)),
			ready: "False CredentialsMissing", discovered: succeeded, registered: "False CredentialsMissing",
			worker: reconciling},
		"a grant that was brought along is another issuer's": {
			o:     given(brought, failing(StepImportGrant, v1alpha1.ReasonIssuerChanged, time.Minute)),
			ready: "False IssuerChanged", discovered: succeeded, authorized: "False IssuerChanged", worker: stalled},
		"a grant that was brought along is to be refreshed": {o: given(granted(isImported)),
			ready: "False Progressing", discovered: succeeded, registered: succeeded, authorized: "False Progressing",
			worker: reconciling},
		"a grant that was brought along cannot be refreshed": {o: given(granted(isImported),
			failing(StepRefresh, v1alpha1.ReasonTokenRequestFailing, time.Minute)),
			ready: "False TokenRequestFailing", discovered: succeeded, registered: succeeded,
			authorized: "False TokenRequestFailing", worker: reconciling},
		"the client of a grant that was brought along is refused": {o: given(granted(isImported),
			failing(StepRefresh, v1alpha1.ReasonCredentialsRejected, time.Minute)),
			ready: "False CredentialsRejected", discovered: succeeded, registered: "False CredentialsRejected", worker: stalled},
	}
	for _, reason := range reasonsWith(reasons.OfClient) {
		out["the request ends with "+reason] = state{o: given(nonInteractive, failed(reason)),
			ready: "False " + reason, discovered: succeeded, registered: "False " + reason, worker: works(reason)}
	}
	for _, reason := range []string{v1alpha1.ReasonTokenRequestFailing, v1alpha1.ReasonUnsupportedTokenType,
		v1alpha1.ReasonInsecureURL, v1alpha1.ReasonEgressDenied} {
		out["the request ends with "+reason] = state{o: given(nonInteractive, failed(reason)),
			ready: "False " + reason, discovered: succeeded, registered: succeeded, authorized: "False " + reason,
			worker: works(reason)}
	}
	return out
}

// isImported is a grant as importGrant leaves it: nothing but a refresh token.
func isImported(g *credential.Grant) {
	g.AccessToken, g.TokenType, g.ExpiresAt, g.RefreshAt, g.Probe = "", "", time.Time{}, epoch, nil
}

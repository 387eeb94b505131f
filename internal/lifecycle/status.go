package lifecycle

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/internal/reasons"
)

// Report derives the whole status from facts. Conditions of the old status matter only for their transition times.
func Report(now time.Time, s *State) v1alpha1.MCPConnectionStatus {
	s = s.settled(now)
	status := v1alpha1.MCPConnectionStatus{
		ObservedGeneration: s.Conn.Generation,
		LastHandled:        handledStatus(s.Handled),
		UnknownAnnotations: unknownAnnotations(s.Conn),
	}
	reportFailures(&status, s.Failures)
	if s.linkOpens(now) {
		status.AuthorizationURL = credential.ConnectURL(s.ExternalURL, s.Offer().Ticket)
	}
	reportBinding(now, &status, s)
	if uri := s.RedirectURI(); status.Client == nil && uri != "" && !s.NonInteractive() && s.Failures.Has(StepRegister) {
		status.Client = &v1alpha1.ClientStatus{RedirectURI: uri} // for whoever registers a client by hand
	}
	reportToken(&status, s)
	reportServer(&status, s)
	status.Conditions = conditions(now, s)
	status.Next = reportNext(now, s)
	return status
}

func reportFailures(status *v1alpha1.MCPConnectionStatus, f Failures) {
	status.Failure, status.OtherFailures = nil, nil
	if len(f) > 0 {
		status.Failure = &f[0]
	}
	if len(f) > 1 {
		status.OtherFailures = slices.Clone(f[1:])
	}
}

// linkOpens reports whether a person who follows the open link gets anywhere.
func (s *State) linkOpens(now time.Time) bool {
	return s.offerFits(now) && !s.offerForAnotherServer() && s.ExternalURL != "" && !s.suspended() && !s.Deleted()
}

func handledStatus(h v1alpha1.LastHandled) *v1alpha1.LastHandled {
	if h == (v1alpha1.LastHandled{}) {
		return nil
	}
	return &h
}

// reportBinding shows what was discovered and registered: of the offer, else of the grant, else of this reconcile.
func reportBinding(now time.Time, status *v1alpha1.MCPConnectionStatus, s *State) {
	var b *credential.Binding
	if g := s.Grant(); g != nil && !g.Public {
		b = &g.Binding
	}
	if offer := s.Offer(); offer != nil && offer.Binding.ServerURL == s.Conn.Spec.ServerURL {
		b = &offer.Binding
	}
	switch {
	case b != nil:
		status.Resource = b.ResourceIdentifier
		status.AuthorizationServer = &v1alpha1.AuthorizationServerStatus{
			Issuer: b.Issuer, AuthorizationEndpoint: b.AuthorizationEndpoint, TokenEndpoint: b.TokenEndpoint,
			RegistrationEndpoint: b.RegistrationEndpoint, RevocationEndpoint: b.RevocationEndpoint,
		}
		if status.Client = clientStatus(&b.Client); status.Client != nil {
			status.Client.UpdateAt = TimeOf(s.updateAt(now))
			if b.GrantType == "" {
				status.Client.RedirectURI = b.RedirectURI
			}
		}
	case s.Discovery != nil && s.Discovery.AuthorizationRequired:
		as := s.Discovery.AuthorizationServer
		status.Resource = s.Discovery.Resource
		status.AuthorizationServer = &v1alpha1.AuthorizationServerStatus{
			Issuer: as.Issuer, AuthorizationEndpoint: as.AuthorizationEndpoint, TokenEndpoint: as.TokenEndpoint,
			RegistrationEndpoint: as.RegistrationEndpoint, RevocationEndpoint: as.RevocationEndpoint,
		}
	case s.Failures.Has(StepRegister) || s.Failures.Has(StepStartAuthorization) || s.Failures.Has(StepRequestToken) ||
		s.Failures.Has(StepImportGrant):
		// The discovery was another reconcile's; what it found still holds.
		status.Resource, status.AuthorizationServer = s.Conn.Status.Resource, s.Conn.Status.AuthorizationServer
	}
}

// clientStatus is nil where an assertion says it all and no client is named.
func clientStatus(c *mcpoauth.ClientRegistration) *v1alpha1.ClientStatus {
	if c.ClientID == "" {
		return nil
	}
	return &v1alpha1.ClientStatus{
		ID: c.ClientID, Registration: v1alpha1.Registration(c.Method), AuthMethod: string(c.AuthMethod),
		ExpiresAt: TimeOf(c.SecretExpiresAt),
	}
}

func reportToken(status *v1alpha1.MCPConnectionStatus, s *State) {
	g := s.Grant()
	if g != nil {
		status.Scopes, status.AuthorizedBy = slices.Clone(g.GrantedScopes), g.AuthorizedBy
	}
	if !s.ownsSecret() {
		if old := s.Conn.Status.Token; old != nil && s.renamed() { // not to forget the one to be removed
			status.Token = &v1alpha1.TokenStatus{SecretName: old.SecretName, SecretResourceVersion: old.SecretResourceVersion}
		}
		return
	}
	status.Token = &v1alpha1.TokenStatus{SecretName: s.Secret.Name, SecretResourceVersion: s.Secret.ResourceVersion}
	if at := s.secretExpiry(); !at.IsZero() {
		status.Token.ExpiresAt = &metav1.Time{Time: at}
	}
	if g == nil || g.Public || g.Revoke != "" {
		return
	}
	status.Token.IssuedAt = &metav1.Time{Time: g.IssuedAt.Truncate(time.Second)}
	if renewable(g) && !g.RefreshAt.IsZero() {
		status.Token.RefreshAt = &metav1.Time{Time: g.RefreshAt}
	}
	if Refreshable(g) && !g.EndsAt.IsZero() {
		status.Token.GrantExpiresAt = &metav1.Time{Time: g.EndsAt.Truncate(time.Second)}
	}
}

// verdict is a condition before it has a time.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

func yes(reason, message string) *verdict { return &verdict{metav1.ConditionTrue, reason, message} }

func no(reason, message string) *verdict { return &verdict{metav1.ConditionFalse, reason, message} }

// conditions derives all conditions. One that was not reached yet is absent.
func conditions(now time.Time, s *State) []metav1.Condition {
	heard := *s
	heard.Failures = s.Failures.ofServers()
	discovered, registered, authorized := discoveredVerdict(&heard), registeredVerdict(&heard),
		authorizedVerdict(now, &heard)
	probed := probedVerdict(now, &heard)
	ready := readyVerdict(now, s, discovered, registered, authorized, probed)
	reconciling, stalled := progressVerdicts(s, ready)
	var out []metav1.Condition
	for _, c := range []struct {
		name string
		v    *verdict
	}{
		{v1alpha1.ConditionReady, ready},
		{v1alpha1.ConditionDiscovered, discovered},
		{v1alpha1.ConditionRegistered, registered},
		{v1alpha1.ConditionAuthorized, authorized},
		{v1alpha1.ConditionProbed, probed},
		{v1alpha1.ConditionReconciling, reconciling},
		{v1alpha1.ConditionStalled, stalled},
	} {
		if c.v != nil {
			out = append(out, condition(now, s, c.name, c.v))
		}
	}
	return out
}

func condition(now time.Time, s *State, name string, v *verdict) metav1.Condition {
	c := metav1.Condition{
		Type: name, Status: v.status, Reason: v.reason, Message: Sentence(v.message),
		ObservedGeneration: s.Conn.Generation, LastTransitionTime: metav1.Time{Time: now.Truncate(time.Second)},
	}
	if old := meta.FindStatusCondition(s.Conn.Status.Conditions, name); old != nil && old.Status == v.status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	return c
}

// readyVerdict is True exactly while the token Secret holds a token that has not expired and that the server is not
// known to refuse; its reason is that of whatever wants attention.
func readyVerdict(now time.Time, s *State, discovered, registered, authorized, probed *verdict) *verdict {
	ready := firstUnmet(discovered, registered, authorized)
	if s.holdsToken(now) || s.servesPublic() {
		ready = yes(v1alpha1.ReasonSucceeded, "The token Secret "+TokenSecretName(s.Conn)+" is up to date.")
		if authorized != nil && authorized.reason != v1alpha1.ReasonSucceeded {
			ready = yes(authorized.reason, authorized.message)
		}
		switch {
		case probed == nil:
		case probed.reason == v1alpha1.ReasonProbeUnauthorized:
			ready = no(probed.reason, probed.message)
		case probed.reason == v1alpha1.ReasonInsufficientScope && reasons.Is(ready.reason, reasons.Yields):
			ready = yes(probed.reason, probed.message)
		}
	}
	for _, failure := range []*v1alpha1.Failure{s.Failures.ofAPIServer(), s.Failures.Find(StepPublish),
		s.Failures.Find(StepFinalize)} {
		if failure != nil {
			ready.reason, ready.message = failure.Reason, failure.Message
		}
	}
	if _, broken := s.DesiredSecret(); len(broken) > 0 && ready.status == metav1.ConditionTrue &&
		reasons.Is(ready.reason, reasons.Yields) {
		ready.reason, ready.message = v1alpha1.ReasonInvalidTemplate,
			"The token Secret lacks the keys of templates that cannot be rendered, or keeps what they last made of this very "+
				"token. Correct "+broken.Error()
	}
	if s.suspended() {
		ready.reason, ready.message = v1alpha1.ReasonSuspended, "spec.suspend is true: nothing is refreshed and no consent "+
			"is asked for until it is false again."
	}
	return ready
}

// firstUnmet is Ready=False for the first condition that stands in the way.
func firstUnmet(verdicts ...*verdict) *verdict {
	for _, v := range verdicts {
		if v != nil && v.status != metav1.ConditionTrue {
			return no(v.reason, v.message)
		}
	}
	return no(v1alpha1.ReasonProgressing, "The operator has begun to look at the server.")
}

// servesPublic reports whether the Secret of a server that needs no authorization is in place.
func (s *State) servesPublic() bool {
	g := s.Grant()
	return g != nil && g.Public && s.ownsSecret() && s.SecretValue(v1alpha1.KeyServerURL) == s.Conn.Spec.ServerURL
}

// progressVerdicts tells kstatus whether to wait: at most one of the two is present, and none while Ready is True.
func progressVerdicts(s *State, ready *verdict) (reconciling, stalled *verdict) {
	switch {
	case ready.status == metav1.ConditionTrue || s.suspended():
		return nil, nil
	case reasons.Is(ready.reason, reasons.Stalls), s.NonInteractive() &&
		ready.reason == v1alpha1.ReasonTokenRequestRejected:
		return nil, yes(ready.reason, ready.message)
	}
	return yes(ready.reason, ready.message), nil
}

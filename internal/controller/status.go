package controller

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// report derives the whole status from facts. Conditions of the old status matter only for their transition times.
func report(now time.Time, o *observed) v1alpha1.MCPConnectionStatus {
	o = o.settled(now)
	status := v1alpha1.MCPConnectionStatus{
		ObservedGeneration: o.conn.Generation,
		LastHandled:        handledStatus(o.handled),
		UnknownAnnotations: unknownAnnotations(o.conn),
	}
	reportFailures(&status, o.failures)
	if o.linkOpens(now) {
		status.AuthorizationURL = credential.ConnectURL(o.externalURL, o.offer().Ticket)
	}
	reportBinding(now, &status, o)
	if uri := o.redirectURI(); status.Client == nil && uri != "" && !o.unattended() && o.failures.has(stepRegister) {
		status.Client = &v1alpha1.ClientStatus{RedirectURI: uri} // for whoever registers a client by hand
	}
	reportToken(&status, o)
	reportServer(&status, o)
	status.Conditions = conditions(now, o)
	status.Next = reportNext(now, o)
	return status
}

func reportFailures(status *v1alpha1.MCPConnectionStatus, f failures) {
	status.Failure, status.OtherFailures = nil, nil
	if len(f) > 0 {
		status.Failure = &f[0]
	}
	if len(f) > 1 {
		status.OtherFailures = slices.Clone(f[1:])
	}
}

// linkOpens says whether a person who follows the open link gets anywhere.
func (o *observed) linkOpens(now time.Time) bool {
	return o.offerFits(now) && !o.offerAstray() && o.externalURL != "" && !o.suspended() && !o.deleted()
}

func handledStatus(h v1alpha1.LastHandled) *v1alpha1.LastHandled {
	if h == (v1alpha1.LastHandled{}) {
		return nil
	}
	return &h
}

// reportBinding shows what was discovered and registered: of the offer, else of the grant, else of this reconcile.
func reportBinding(now time.Time, status *v1alpha1.MCPConnectionStatus, o *observed) {
	var b *credential.Binding
	if g := o.grant(); g != nil && !g.Public {
		b = &g.Binding
	}
	if offer := o.offer(); offer != nil && offer.Binding.ServerURL == o.conn.Spec.ServerURL {
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
			status.Client.UpdateAt = timeOf(o.updateAt(now))
			if b.GrantType == "" {
				status.Client.RedirectURI = b.RedirectURI
			}
		}
	case o.discovery != nil && o.discovery.AuthorizationRequired:
		as := o.discovery.AuthorizationServer
		status.Resource = o.discovery.Resource
		status.AuthorizationServer = &v1alpha1.AuthorizationServerStatus{
			Issuer: as.Issuer, AuthorizationEndpoint: as.AuthorizationEndpoint, TokenEndpoint: as.TokenEndpoint,
			RegistrationEndpoint: as.RegistrationEndpoint, RevocationEndpoint: as.RevocationEndpoint,
		}
	case o.failures.has(stepRegister) || o.failures.has(stepStartAuthorization) || o.failures.has(stepRequestToken) || o.failures.has(stepImportGrant):
		// The discovery was another reconcile's; what it found still holds.
		status.Resource, status.AuthorizationServer = o.conn.Status.Resource, o.conn.Status.AuthorizationServer
	}
}

// clientStatus is nil where an assertion says it all and no client is named.
func clientStatus(c *mcpoauth.ClientRegistration) *v1alpha1.ClientStatus {
	if c.ClientID == "" {
		return nil
	}
	return &v1alpha1.ClientStatus{
		ID: c.ClientID, Registration: v1alpha1.Registration(c.Method), AuthMethod: string(c.AuthMethod), ExpiresAt: timeOf(c.SecretExpiresAt),
	}
}

func reportToken(status *v1alpha1.MCPConnectionStatus, o *observed) {
	g := o.grant()
	if g != nil {
		status.Scopes, status.AuthorizedBy = slices.Clone(g.GrantedScopes), g.AuthorizedBy
	}
	if !o.ownsSecret() {
		if old := o.conn.Status.Token; old != nil && o.renamed() { // not to forget the one to be removed
			status.Token = &v1alpha1.TokenStatus{SecretName: old.SecretName, SecretResourceVersion: old.SecretResourceVersion}
		}
		return
	}
	status.Token = &v1alpha1.TokenStatus{SecretName: o.secret.Name, SecretResourceVersion: o.secret.ResourceVersion}
	if at := o.secretExpiry(); !at.IsZero() {
		status.Token.ExpiresAt = &metav1.Time{Time: at}
	}
	if g == nil || g.Public || g.Revoke != "" {
		return
	}
	status.Token.IssuedAt = &metav1.Time{Time: g.IssuedAt.Truncate(time.Second)}
	if renewable(g) && !g.RefreshAt.IsZero() {
		status.Token.RefreshAt = &metav1.Time{Time: g.RefreshAt}
	}
	if refreshable(g) && !g.EndsAt.IsZero() {
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
func no(reason, message string) *verdict  { return &verdict{metav1.ConditionFalse, reason, message} }

// conditions derives all conditions. One that was not reached yet is absent.
func conditions(now time.Time, o *observed) []metav1.Condition {
	heard := *o
	heard.failures = o.failures.ofServers()
	discovered, registered, authorized := discoveredVerdict(&heard), registeredVerdict(&heard), authorizedVerdict(now, &heard)
	probed := probedVerdict(now, &heard)
	ready := readyVerdict(now, o, discovered, registered, authorized, probed)
	reconciling, stalled := progressVerdicts(o, ready)
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
			out = append(out, condition(now, o, c.name, c.v))
		}
	}
	return out
}

func condition(now time.Time, o *observed, name string, v *verdict) metav1.Condition {
	c := metav1.Condition{
		Type: name, Status: v.status, Reason: v.reason, Message: sentence(v.message),
		ObservedGeneration: o.conn.Generation, LastTransitionTime: metav1.Time{Time: now.Truncate(time.Second)},
	}
	if old := meta.FindStatusCondition(o.conn.Status.Conditions, name); old != nil && old.Status == v.status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	return c
}

// readyVerdict is True exactly while the token Secret holds a token that has not expired and that the server is not known to
// refuse; its reason is that of whatever wants attention.
func readyVerdict(now time.Time, o *observed, discovered, registered, authorized, probed *verdict) *verdict {
	ready := firstUnmet(discovered, registered, authorized)
	if o.holdsToken(now) || o.servesPublic() {
		ready = yes(v1alpha1.ReasonSucceeded, "The token Secret "+tokenSecretName(o.conn)+" is up to date.")
		if authorized != nil && authorized.reason != v1alpha1.ReasonSucceeded {
			ready = yes(authorized.reason, authorized.message)
		}
		switch {
		case probed == nil:
		case probed.reason == v1alpha1.ReasonProbeUnauthorized:
			ready = no(probed.reason, probed.message)
		case probed.reason == v1alpha1.ReasonInsufficientScope && is(ready.reason, yields):
			ready = yes(probed.reason, probed.message)
		}
	}
	for _, failure := range []*v1alpha1.Failure{o.failures.ofAPIServer(), o.failures.find(stepPublish), o.failures.find(stepFinalize)} {
		if failure != nil {
			ready.reason, ready.message = failure.Reason, failure.Message
		}
	}
	if _, broken := o.desiredSecret(); len(broken) > 0 && ready.status == metav1.ConditionTrue && is(ready.reason, yields) {
		ready.reason, ready.message = v1alpha1.ReasonInvalidTemplate,
			"The token Secret lacks the keys of templates that cannot be rendered, or keeps what they last made of this very token. Correct "+broken.Error()
	}
	if o.suspended() {
		ready.reason, ready.message = v1alpha1.ReasonSuspended, "spec.suspend is true: nothing is refreshed and no consent is asked for until it is false again."
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

// servesPublic says whether the Secret of a server that needs no authorization is in place.
func (o *observed) servesPublic() bool {
	g := o.grant()
	return g != nil && g.Public && o.ownsSecret() && o.secretValue(v1alpha1.KeyServerURL) == o.conn.Spec.ServerURL
}

// progressVerdicts tells kstatus whether to wait: at most one of the two is present, and none while Ready is True.
func progressVerdicts(o *observed, ready *verdict) (reconciling, stalled *verdict) {
	switch {
	case ready.status == metav1.ConditionTrue || o.suspended():
		return nil, nil
	case is(ready.reason, stalls), o.unattended() && ready.reason == v1alpha1.ReasonTokenRequestRejected:
		return nil, yes(ready.reason, ready.message)
	}
	return yes(ready.reason, ready.message), nil
}

package controller

import (
	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// grantTypeOf is the grant type as grants keep it: empty for AuthorizationCode.
func grantTypeOf(spec *v1alpha1.MCPConnectionSpec) string {
	if spec.GrantType == v1alpha1.GrantTypeAuthorizationCode {
		return ""
	}
	return string(spec.GrantType)
}

// unattended says whether tokens are had without a person.
func (o *observed) unattended() bool { return grantTypeOf(o.spec()) != "" }

// tokenWanted says whether a token of an unattended grant is to be requested in a new way: the first, for an edited spec,
// for another client, for more scopes, or because somebody asked.
func (o *observed) tokenWanted() bool {
	g := o.grant()
	if !o.unattended() {
		return false
	}
	_, reauthorize := asked(o.conn, v1alpha1.AnnotationReauthorize, o.handled.Reauthorize)
	return g == nil || (g.Revoke == "" && (reauthorize || g.SpecHash != bindingHash(o.spec()) || o.clientReplaced(&g.Client) || wantsConsent(g)))
}

// registerUnattended takes the client that the spec names. An assertion may need none (RFC 7523, section 3.1).
func (r *Reconciler) registerUnattended(o *observed) {
	if o.client != nil {
		r.usePreregistered(o)
	} else {
		o.registered = &mcpoauth.ClientRegistration{AuthMethod: mcpoauth.AuthMethodNone}
	}
	if o.registered != nil {
		o.failures.clear(stepRegister)
	}
}

// requestVerdict speaks of a token that is still to be had without a person; nil if an earlier step stands in the way.
func requestVerdict(o *observed) *verdict {
	for _, s := range []step{stepRequestToken, stepRevoke} {
		if failure := o.failures.find(s); failure != nil && !is(failure.Reason, ofClient) {
			return no(failure.Reason, failure.Message)
		}
	}
	return nil
}

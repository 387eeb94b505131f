package controller

import (
	"time"

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

// requestVerdict speaks of a token that is still to be had without a person; nil if an earlier step stands in the way.
func requestVerdict(o *observed) *verdict {
	for _, s := range []step{stepRequestToken, stepRevoke} {
		if failure := o.failures.find(s); failure != nil && !is(failure.Reason, ofClient) {
			return no(failure.Reason, failure.Message)
		}
	}
	return nil
}

func (o *observed) usePreregistered(now time.Time) {
	if o.client.missing != "" {
		o.missing(now, stepRegister)
		return
	}
	if err := o.clientMayGo(destinations(&o.discovery.AuthorizationServer)...); err != nil {
		o.notMet(now, stepRegister, err)
		return
	}
	wanted := mcpoauth.AuthMethod(clientSpec(o.spec()).AuthMethod)
	o.registered = &mcpoauth.ClientRegistration{
		Method: mcpoauth.Preregistered, ClientID: o.client.id, ClientSecret: o.client.secret,
		AuthMethod: mcpoauth.SelectAuthMethod(o.discovery.AuthorizationServer.TokenEndpointAuthMethodsSupported, wanted, o.client.secret, o.client.key != nil),
	}
}

// registerUnattended takes the client that the spec names. An assertion may need none (RFC 7523, section 3.1).
func (o *observed) registerUnattended(now time.Time) {
	if o.client != nil {
		o.usePreregistered(now)
	} else {
		o.registered = &mcpoauth.ClientRegistration{AuthMethod: mcpoauth.AuthMethodNone}
	}
	if o.registered != nil {
		o.failures.clear(stepRegister)
	}
}

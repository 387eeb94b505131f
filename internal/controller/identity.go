package controller

import (
	"context"
	"slices"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/claims"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/lifecycle"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// identityAssertion has the identity provider exchange the subject token for an assertion that the MCP server's
// authorization server accepts (RFC 8693; draft-ietf-oauth-identity-assertion-authz-grant).
func (r *Reconciler) identityAssertion(ctx context.Context, w *work, b *credential.Binding) (string, error) {
	idp := w.Spec().IdentityProvider
	client, err := r.readClient(ctx, w, idp.CredentialsSecretRef.Name, lifecycle.FieldIdentity)
	if err != nil {
		return "", err
	}
	if client.Missing != "" {
		return "", lifecycle.Unmet{Reason: v1alpha1.ReasonCredentialsMissing, Message: client.Missing}
	}
	oauth := r.OAuth.For(b.ServerURL)
	to, methods, err := identityEndpoint(ctx, oauth, idp)
	if err != nil {
		return "", identityFailure{err}
	}
	if err := client.Holder.Admits(to); err != nil {
		return "", err
	}
	subject, tokenType, err := r.subjectToken(ctx, w, to)
	if err != nil {
		return "", err
	}
	exchanged, err := oauth.TokenExchange(ctx, mcpoauth.TokenExchangeRequest{
		TokenEndpoint: mcpoauth.TokenEndpoint{
			URL: to.Endpoint, Issuer: idp.Issuer, Key: client.Key, Resource: b.Resource,
			SendBy: r.Clock.Now().Add(claims.SendBy),
			Client: mcpoauth.ClientRegistration{
				Method: mcpoauth.Preregistered, ClientID: client.ID, ClientSecret: client.Secret,
				AuthMethod: mcpoauth.SelectAuthMethod(methods, "", client.Secret, client.Key != nil),
			},
		},
		SubjectToken: subject, SubjectTokenType: tokenType, RequestedTokenType: mcpoauth.TokenTypeIDJAG, Audience: b.Issuer,
		Scopes: b.Scopes,
	})
	countTokenRequest(mcpoauth.GrantTypeTokenExchange, err)
	if err != nil {
		return "", identityError(err, subject)
	}
	if audiences, err := mcpoauth.AssertionAudience(exchanged.Token); err == nil &&
		!slices.Equal(audiences, []string{b.Issuer}) {
		return "", identityFailure{&mcpoauth.Error{Kind: mcpoauth.Misconfigured, Code: mcpoauth.TokenRequestRejected,
			Message: "the identity provider " + idp.Issuer +
				" issued an assertion for another audience than " + b.Issuer + ", or for several, so it is not sent; have it " +
				"issue them for that authorization server alone"}}
	}
	return exchanged.Token, nil
}

// identityEndpoint is the token endpoint of the identity provider, with the client authentication methods that it
// lists.
func identityEndpoint(ctx context.Context, oauth *mcpoauth.Client,
	idp *v1alpha1.IdentityProviderSpec) (to lifecycle.Destination, methods []string, err error) {
	if idp.TokenEndpoint != "" {
		return lifecycle.Destination{Endpoint: string(idp.TokenEndpoint), Issuer: idp.Issuer}, nil, nil
	}
	md, err := oauth.IdentityProviderMetadata(ctx, idp.Issuer)
	if err != nil {
		return lifecycle.Destination{}, nil, err
	}
	return lifecycle.Destination{Endpoint: md.TokenEndpoint, Issuer: idp.Issuer, Documented: md.Documented},
		md.TokenEndpointAuthMethodsSupported, nil
}

// subjectToken is what the identity provider is to exchange, and its type.
func (r *Reconciler) subjectToken(ctx context.Context, w *work,
	to lifecycle.Destination) (token, tokenType string, err error) {
	audience, wanted := w.Spec().IdentityProvider.Issuer, ""
	if a := w.Spec().Assertion; a != nil {
		tokenType, wanted = a.TokenType, a.Audience
		if wanted != "" {
			audience = wanted
		}
	}
	if token, err = r.workloadToken(ctx, w, audience, to); err != nil {
		return "", "", err
	}
	projected := w.Spec().ServiceAccountName != ""
	switch {
	case tokenType != "":
	case projected:
		tokenType = mcpoauth.TokenTypeJWT
	default:
		tokenType = mcpoauth.TokenTypeIDToken
	}
	if projected || wanted != "" {
		return token, tokenType, checkAssertion(token, audience)
	}
	return token, tokenType, nil
}

// identityFailure is a failure at the identity provider, which says nothing of the MCP server's authorization server.
type identityFailure struct{ error }

func (e identityFailure) Unwrap() error { return e.error }

// identityURL is at the identity provider, if the grant needs one; else what is given.
func identityURL(spec *v1alpha1.MCPConnectionSpec, otherwise string) string {
	switch idp := spec.IdentityProvider; {
	case spec.GrantType != v1alpha1.GrantTypeTokenExchange:
		return otherwise
	case idp.TokenEndpoint != "":
		return string(idp.TokenEndpoint)
	default:
		return idp.Issuer
	}
}

// identityError says of a refusal that it was the identity provider's.
func identityError(err error, subject string) error {
	e := mcpoauth.AsError(err)
	switch {
	case e == nil:
		return err
	case e.OAuthError == "invalid_grant" ||
		e.OAuthError == "invalid_request": // RFC 8693, section 2.2.2, has the latter for a subject token
		return refusedAssertion{error: e, assertion: subject}
	}
	return identityFailure{e}
}

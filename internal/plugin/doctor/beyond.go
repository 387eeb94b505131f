package doctor

import (
	"slices"
	"strings"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/discovery"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

// grantTypes by what they are called at a token endpoint.
var grantTypes = map[v1alpha1.GrantType]string{
	v1alpha1.GrantTypeClientCredentials: mcpoauth.GrantTypeClientCredentials,
	v1alpha1.GrantTypeJWTBearer:         mcpoauth.GrantTypeJWTBearer,
	v1alpha1.GrantTypeTokenExchange:     mcpoauth.GrantTypeJWTBearer,
}

// beyond are the findings about what follows a discovery, none of which is tried.
func (x *Examination) beyond(a *attempt) []Finding {
	if a.public() {
		return []Finding{{Level: Skipped, Title: "Registration, grant types, scopes, resource indicator",
			Notes: []string{"Not needed: the token Secret holds server_url alone."}}}
	}
	out := []Finding{x.registration(a), a.grantTypes(), x.scopes(a), x.resourceIndicator(a)}
	if a.found.DPoPRequired {
		f := Finding{Title: "Tokens bound to a key (RFC 9449)"}
		f.warn("The server accepts DPoP tokens only: whoever uses the token signs each request with the key dpop_jwk of " +
			"the token Secret. A fixed header does not work.")
		out = append(out, f)
	}
	return out
}

// registration says how the operator would become a client. Nothing is registered.
func (x *Examination) registration(a *attempt) Finding {
	f := Finding{Title: "Client registration (MCP authorization specification)"}
	as, client := a.found.AuthorizationServer, clientSpec(a.spec)
	if discovery.NonInteractive(a.spec) {
		f.note("None: grantType %s uses the client of client.credentialsSecretRef, if there is one.", a.spec.GrantType)
		return f
	}
	want := mcpoauth.RegistrationMethod("")
	if client.Registration != v1alpha1.RegistrationAuto {
		want = mcpoauth.RegistrationMethod(client.Registration)
	}
	document := x.metadataDocumentURL(client)
	method, err := mcpoauth.SelectRegistration(want, client.CredentialsSecretRef != nil, document, as)
	if err != nil {
		f.fail("%s", sentence(err.Error()))
		x.askForClient(a)
		return f
	}
	switch method {
	case mcpoauth.Preregistered:
		f.note("The client of the Secret %s, which spec.client.credentialsSecretRef names. The Secret is not read here.",
			client.CredentialsSecretRef.Name)
	case mcpoauth.MetadataDocument:
		f.note("A client ID metadata document: %s (the server lists client_id_metadata_document_supported, or the spec "+
			"asks for it). Not tried.", shownText(document))
	case mcpoauth.Dynamic:
		f.note("Dynamic registration at %s (RFC 7591). Not tried: nothing is registered.", shownText(as.RegistrationEndpoint))
		f.note("The client would authenticate by %s.", mcpoauth.SelectRegisteredMethod(as.TokenEndpointAuthMethodsSupported))
		if as.ClientIDMetadataDocumentSupported && x.Rules.ExternalURL == "" {
			f.note("The server supports client ID metadata documents: an operator with a public https --external-url would " +
				"use one instead.")
		}
		if client.AuthMethod == string(mcpoauth.AuthMethodPrivateKeyJWT) {
			f.fail("spec.client.authMethod is private_key_jwt, which dynamic registration is not used with; remove it, or " +
				"name a client in spec.client.credentialsSecretRef.")
		}
	}
	return f
}

// metadataDocumentURL is the client_id that the operator would use; empty without a public address.
func (x *Examination) metadataDocumentURL(client v1alpha1.ClientSpec) string {
	switch {
	case client.MetadataDocumentURL != "":
		return client.MetadataDocumentURL
	case !strings.HasPrefix(x.Rules.ExternalURL, "https://"):
		return ""
	case client.AuthMethod == string(mcpoauth.AuthMethodPrivateKeyJWT):
		return strings.TrimRight(x.Rules.ExternalURL, "/") + "/oauth/client-metadata-jwt.json"
	}
	return strings.TrimRight(x.Rules.ExternalURL, "/") + "/oauth/client-metadata.json"
}

// askForClient has a client that was registered by hand written into the spec.
func (x *Examination) askForClient(a *attempt) {
	issuer := plainURL(a.found.AuthorizationServer.Issuer)
	if issuer == "" {
		return
	}
	x.patch.Client = &v1alpha1.ClientSpec{CredentialsSecretRef: &v1alpha1.SecretReference{Name: "mcp-client"},
		Issuer: issuer}
	redirect := "<--external-url of the operator>/oauth/callback"
	if x.Rules.ExternalURL != "" {
		redirect = strings.TrimRight(x.Rules.ExternalURL, "/") + "/oauth/callback"
	}
	x.advise("Register a client by hand with the redirect URI %s and put it into a Secret: kubectl create secret "+
		"generic mcp-client --from-literal=client_id=... --from-literal=client_secret=...", redirect)
}

func (a *attempt) grantTypes() Finding {
	f := Finding{Title: "Grant types (RFC 8414, grant_types_supported)"}
	listed := texts(a.requests.document(stageAuthorizationServer), "grant_types_supported")
	if listed == nil {
		f.note("The metadata list none, which means authorization_code (RFC 8414, section 2); whether tokens can be " +
			"refreshed shows with the first one.")
		return f
	}
	if want := grantTypes[a.spec.GrantType]; want != "" {
		f.note("spec.grantType is %s: %s.", a.spec.GrantType, want)
		if !slices.Contains(listed, want) {
			f.warn("The authorization server does not list it.")
		}
		return f
	}
	if !slices.Contains(listed, mcpoauth.GrantTypeAuthorizationCode) {
		f.warn("The authorization server does not list authorization_code: a person's consent may be refused.")
	}
	if !slices.Contains(listed, mcpoauth.GrantTypeRefreshToken) {
		f.warn("The authorization server does not list refresh_token: without one a person consents anew whenever the " +
			"token expires.")
	}
	if f.Level == OK {
		f.note("authorization_code and refresh_token are listed.")
	}
	return f
}

func (x *Examination) scopes(a *attempt) Finding {
	f := Finding{Title: "Scopes (MCP authorization specification, scope selection)"}
	compat := compatibility(a.spec)
	var wanted []string
	for _, s := range a.spec.Scopes {
		wanted = append(wanted, string(s))
	}
	offline := string(compat.OfflineAccess)
	if discovery.NonInteractive(a.spec) && compat.OfflineAccess != v1alpha1.OfflineAccessAlways {
		offline = string(v1alpha1.OfflineAccessNever)
	}
	scopes := mcpoauth.SelectScopes(wanted, a.found, offline)
	rule := "Decided by nothing: no scope is asked for, so the authorization server chooses."
	switch {
	case len(wanted) > 0:
		rule = "Decided by spec.scopes."
	case len(a.found.ChallengedScopes) > 0:
		rule = "Decided by the scope of WWW-Authenticate."
	case len(a.found.ResourceScopes) > 0:
		rule = "Decided by scopes_supported of the protected resource metadata."
	}
	if len(scopes) > 0 {
		f.note("%s", mcpoauth.Sanitize(strings.Join(scopes, " "), 1024))
	}
	f.note("%s", rule)
	for _, scope := range wanted {
		if len(a.found.ResourceScopes) > 0 && !slices.Contains(a.found.ResourceScopes, scope) &&
			!slices.Contains(a.found.AuthorizationServer.ScopesSupported, scope) {
			f.warn("spec.scopes has %s, which no metadata list.", mcpoauth.Sanitize(scope, maxShown))
		}
	}
	return f
}

func (x *Examination) resourceIndicator(a *attempt) Finding {
	f := Finding{Title: "Resource indicator (RFC 8707)"}
	resource, rule := a.found.Resource, "as the protected resource metadata spell it"
	if a.requests.document(stageResource) == nil {
		rule = "the server URL, for there are no protected resource metadata"
	}
	if r := compatibility(a.spec).Resource; r != nil {
		switch r.Mode {
		case v1alpha1.ResourceModeOmit:
			resource, rule = "", "spec.compatibility.resource.mode is Omit"
		case v1alpha1.ResourceModeExplicit:
			resource, rule = r.Value, "spec.compatibility.resource.value"
		}
	}
	if resource == "" {
		f.note("None is sent: %s.", rule)
	} else {
		f.note("%s (%s).", shownText(resource), rule)
	}
	if discovery.NonInteractive(a.spec) {
		return f
	}
	parameters := map[string]string{}
	for name, value := range compatibility(a.spec).AuthorizationParameters {
		parameters[name] = string(value)
	}
	if err := mcpoauth.CheckAuthorizationEndpoint(mcpoauth.AuthorizationRequest{
		Endpoint: a.found.AuthorizationServer.AuthorizationEndpoint, Resource: resource, Parameters: parameters,
	}); err != nil {
		f.fail("No link could be made: %s", sentence(err.Error()))
	}
	return f
}

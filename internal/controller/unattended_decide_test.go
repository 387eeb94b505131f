package controller

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestATokenWithoutAPersonGoesFromDiscoveryToARequest(t *testing.T) {
	failed := func(wait time.Duration) func(*observed) {
		return failing(stepRequestToken, v1alpha1.ReasonTokenRequestFailing, wait)
	}
	edited := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServiceAccountName = "another" })
	noClient := func(o *observed) { o.registered = &mcpoauth.ClientRegistration{} }
	wants := func(w credential.Want) func(*credential.Grant) {
		return func(g *credential.Grant) {
			g.Challenge = &credential.Challenge{ID: credential.Hash(givenChallenge), Wants: w, Insufficient: w == credential.WantsConsent, Scopes: []string{"files:write"}}
		}
	}
	challenged := annotated(v1alpha1.AnnotationChallenge, givenChallenge)
	testDecisions(t, map[string]decision{
		"discovery comes first":                            {o: given(unattended), want: stepDiscover},
		"then the client":                                  {o: given(unattended, foundServer), want: stepRegister},
		"then the token":                                   {o: given(unattended, foundServer, noClient), want: stepRequestToken},
		"no callback is needed":                            {o: given(unattended, foundServer, noClient, func(o *observed) { o.externalURL = "" }), want: stepRequestToken},
		"a token at rest has no step":                      {o: given(unattended, requestedToken(), published), want: stepNone},
		"no consent is asked for as the token runs out":    {at: givenRefresh - time.Minute, o: given(unattended, requestedToken(), published), want: stepNone},
		"the next one is requested by the clock":           {at: givenRefresh, o: given(unattended, requestedToken(), published), want: stepRequestToken},
		"and when asked for":                               {o: given(unattended, requestedToken(), published, annotated(v1alpha1.AnnotationRefresh, "1")), want: stepRequestToken},
		"an outage of the MCP server does not stop it":     {at: givenRefresh, o: given(unattended, requestedToken(), published, failing(stepDiscover, v1alpha1.ReasonServerUnreachable, 2*time.Hour)), want: stepRequestToken},
		"a request waits for its retry":                    {at: givenRefresh, o: given(unattended, requestedToken(), published, failed(givenRefresh+time.Second)), want: stepNone},
		"and is made again on time":                        {at: givenRefresh, o: given(unattended, requestedToken(), published, failed(givenRefresh)), want: stepRequestToken},
		"the first one waits for its retry too":            {o: given(unattended, failed(time.Minute)), want: stepNone},
		"an edited spec brings a discovery":                {o: given(unattended, requestedToken(), published, edited), want: stepDiscover},
		"but not before the old token needs renewing":      {at: givenRefresh, o: given(unattended, requestedToken(), published, edited), want: stepRequestToken},
		"reauthorize brings a discovery":                   {o: given(unattended, requestedToken(), published, annotated(v1alpha1.AnnotationReauthorize, "1")), want: stepDiscover},
		"a refused token is requested again":               {o: given(unattended, requestedToken(wants(credential.WantsRefresh)), published, challenged), want: stepRequestToken},
		"then the server is discovered":                    {o: given(unattended, requestedToken(wants(credential.WantsDiscovery)), published, challenged), want: stepDiscover},
		"missing scopes bring a discovery":                 {o: given(unattended, requestedToken(wants(credential.WantsConsent)), published, challenged), want: stepDiscover},
		"a link for a person goes":                         {o: given(granted(), offered(), published, unattended, requestedToken(), published), want: stepEndAuthorization},
		"a leaked token is revoked first":                  {o: given(unattended, requestedToken(toBeRevoked)), want: stepRevoke},
		"the grant of a person does not count":             {o: given(granted(), published, unattended, published), want: stepDiscover},
		"a token without a person is not a person's grant": {o: given(unattended, requestedToken(), published, specified(func(s *v1alpha1.MCPConnectionSpec) { s.GrantType = v1alpha1.GrantTypeAuthorizationCode }), published), want: stepDiscover},
		"a changed issuer is said by the request": {o: given(unattended, specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer}
		}), foundServer, func(o *observed) {
			o.stored().PutNamedIssuer(credential.NamedIssuer{ServerURL: givenServer, Issuer: otherIssuer, Pinned: givenIssuer})
		}), want: stepRequestToken},
	})
}

func TestAnImportComesBeforeAnyConsent(t *testing.T) {
	brought := func(change ...func(*importedGrant)) func(*observed) {
		return func(o *observed) {
			o.imported = &importedGrant{refreshToken: "brought along", issuer: givenIssuer}
			for _, c := range change {
				c(o.imported)
			}
		}
	}
	missing := func(i *importedGrant) { i.missing = "It is missing." }
	spent := func(o *observed) { o.stored().Spent.Import = credential.Hash("brought along") }
	testDecisions(t, map[string]decision{
		"discovery comes first":                       {o: given(brought()), want: stepDiscover},
		"then the import":                             {o: given(brought(), foundServer), want: stepImportGrant},
		"a missing Secret needs no discovery":         {o: given(brought(missing)), want: stepImportGrant},
		"it is waited for without a consent":          {o: given(brought(missing), failing(stepImportGrant, v1alpha1.ReasonCredentialsMissing, time.Minute)), want: stepNone},
		"what was imported once is not again":         {o: given(brought(), spent, foundServer, foundClient), want: stepStartAuthorization},
		"nor is a Secret waited for that went":        {o: given(brought(missing), spent, foundServer, foundClient), want: stepStartAuthorization},
		"a dead grant may be replaced by another one": {o: given(granted(isSetAside), published, brought(func(i *importedGrant) { i.refreshToken = "another" }), spent), want: stepDiscover},
		"a code that a person brought comes first":    {o: given(answered, brought()), want: stepExchangeCode},
	})
}

package lifecycle

import (
	"testing"
	"time"

	"github.com/mcp-connection/operator/api/v1alpha1"
	"github.com/mcp-connection/operator/internal/credential"
	"github.com/mcp-connection/operator/internal/mcpoauth"
)

func TestATokenWithoutAPersonGoesFromDiscoveryToARequest(t *testing.T) {
	failed := func(wait time.Duration) func(*State) {
		return failing(StepRequestToken, v1alpha1.ReasonTokenRequestFailing, wait)
	}
	edited := specified(func(s *v1alpha1.MCPConnectionSpec) { s.ServiceAccountName = "another" })
	noClient := func(o *State) { o.Registered = &mcpoauth.ClientRegistration{} }
	wants := func(w credential.Want) func(*credential.Grant) {
		return func(g *credential.Grant) {
			g.Challenge = &credential.Challenge{ID: credential.Hash(givenChallenge), Wants: w,
				Insufficient: w == credential.WantsConsent, Scopes: []string{"files:write"}}
		}
	}
	challenged := annotated(v1alpha1.AnnotationChallenge, givenChallenge)
	testDecisions(t, map[string]decision{
		"discovery comes first": {o: given(nonInteractive), want: StepDiscover},
		"then the client":       {o: given(nonInteractive, foundServer), want: StepRegister},
		"then the token":        {o: given(nonInteractive, foundServer, noClient), want: StepRequestToken},
		"no callback is needed": {o: given(nonInteractive, foundServer, noClient,
			func(o *State) { o.ExternalURL = "" }), want: StepRequestToken},
		"a token at rest has no step": {o: given(nonInteractive, requestedToken(), published), want: StepNone},
		"no consent is asked for as the token runs out": {at: givenRefresh - time.Minute,
			o: given(nonInteractive, requestedToken(), published), want: StepNone},
		"the next one is requested by the clock": {at: givenRefresh,
			o: given(nonInteractive, requestedToken(), published), want: StepRequestToken},
		"and when asked for": {o: given(nonInteractive, requestedToken(), published,
			annotated(v1alpha1.AnnotationRefresh, "1")), want: StepRequestToken},
		"an outage of the MCP server does not stop it": {at: givenRefresh, o: given(nonInteractive, requestedToken(),
			published, failing(StepDiscover, v1alpha1.ReasonServerUnreachable, 2*time.Hour)), want: StepRequestToken},
		"a request waits for its retry": {at: givenRefresh,
			o: given(nonInteractive, requestedToken(), published, failed(givenRefresh+time.Second)), want: StepNone},
		"and is made again on time": {at: givenRefresh,
			o: given(nonInteractive, requestedToken(), published, failed(givenRefresh)), want: StepRequestToken},
		"the first one waits for its retry too": {o: given(nonInteractive, failed(time.Minute)), want: StepNone},
		"an edited spec brings a discovery": {o: given(nonInteractive, requestedToken(), published, edited),
			want: StepDiscover},
		"but not before the old token needs renewing": {at: givenRefresh,
			o: given(nonInteractive, requestedToken(), published, edited), want: StepRequestToken},
		"reauthorize brings a discovery": {o: given(nonInteractive, requestedToken(), published,
			annotated(v1alpha1.AnnotationReauthorize, "1")), want: StepDiscover},
		"a refused token is requested again": {o: given(nonInteractive,
			requestedToken(wants(credential.WantsRefresh)), published, challenged), want: StepRequestToken},
		"then the server is discovered": {o: given(nonInteractive,
			requestedToken(wants(credential.WantsDiscovery)), published, challenged), want: StepDiscover},
		"missing scopes bring a discovery": {o: given(nonInteractive,
			requestedToken(wants(credential.WantsConsent)), published, challenged), want: StepDiscover},
		"a link for a person goes": {o: given(granted(), offered(), published, nonInteractive,
			requestedToken(), published), want: StepEndAuthorization},
		"a leaked token is revoked first": {o: given(nonInteractive, requestedToken(toBeRevoked)), want: StepRevoke},
		"the grant of a person does not count": {o: given(granted(), published, nonInteractive, published),
			want: StepDiscover},
		"a token without a person is not a person's grant": {o: given(nonInteractive, requestedToken(), published,
			specified(func(s *v1alpha1.MCPConnectionSpec) { s.GrantType = v1alpha1.GrantTypeAuthorizationCode }), published),
			want: StepDiscover},
		"a changed issuer is said by the request": {o: given(nonInteractive, specified(func(s *v1alpha1.MCPConnectionSpec) {
			s.AuthorizationServer = &v1alpha1.AuthorizationServerSpec{Issuer: givenIssuer}
		}), foundServer, func(o *State) {
			o.stored().PutNamedIssuer(credential.NamedIssuer{ServerURL: givenServer, Issuer: otherIssuer, Pinned: givenIssuer})
		}), want: StepRequestToken},
	})
}

func TestAnImportComesBeforeAnyConsent(t *testing.T) {
	brought := func(change ...func(*ImportedGrant)) func(*State) {
		return func(o *State) {
			o.Imported = &ImportedGrant{RefreshToken: "brought along", Issuer: givenIssuer}
			for _, c := range change {
				c(o.Imported)
			}
		}
	}
	missing := func(i *ImportedGrant) { i.Missing = "It is missing." }
	spent := func(o *State) { o.stored().Spent.Import = credential.Hash("brought along") }
	testDecisions(t, map[string]decision{
		"discovery comes first":               {o: given(brought()), want: StepDiscover},
		"then the import":                     {o: given(brought(), foundServer), want: StepImportGrant},
		"a missing Secret needs no discovery": {o: given(brought(missing)), want: StepImportGrant},
		"it is waited for without a consent": {o: given(brought(missing),
			failing(StepImportGrant, v1alpha1.ReasonCredentialsMissing, time.Minute)), want: StepNone},
		"what was imported once is not again": {o: given(brought(), spent, foundServer, foundClient),
			want: StepStartAuthorization},
		"nor is a Secret waited for that went": {o: given(brought(missing), spent, foundServer, foundClient),
			want: StepStartAuthorization},
		"a dead grant may be replaced by another one": {o: given(granted(isSetAside), published,
			brought(func(i *ImportedGrant) { i.RefreshToken = "another" }), spent), want: StepDiscover},
		"a code that a person brought comes first": {o: given(answered, brought()), want: StepExchangeCode},
	})
}

package mcpoauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func TestClientCredentialsAuthenticateByEachMethod(t *testing.T) {
	for _, method := range []AuthMethod{AuthMethodClientSecretBasic, AuthMethodClientSecretPost} {
		t.Run(string(method), func(t *testing.T) {
			s := oauthtest.New(t)
			s.AddClient(oauthtest.Client{ID: "c", Secret: "s+ü %", AuthMethod: string(method)})
			r := ClientCredentialsRequest{Scopes: []string{"mcp:read"}, TokenEndpoint: TokenEndpoint{
				URL: s.URL + "/token", Resource: s.Resource(), Client: ClientRegistration{ClientID: "c", ClientSecret: "s+ü %",
					AuthMethod: method},
			}}
			got, err := newTestClient(t, s).ClientCredentials(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if !s.ValidAccessToken(got.AccessToken) || got.RefreshToken != "" || !slices.Equal(got.Scopes, r.Scopes) ||
				got.ExpiresAt.IsZero() {
				t.Errorf("token response %+v", got)
			}
			if g := s.Grants()[0]; g.Type != "client_credentials" || g.ClientID != "c" || g.Resource != s.Resource() {
				t.Errorf("grant %+v", g)
			}
		})
	}
}

// workload is an issuer of identities: a server whose key the other trusts.
func workload(t *testing.T, configure ...func(*oauthtest.Config)) (idp, s *oauthtest.Server) {
	t.Helper()
	idp = oauthtest.New(t, func(c *oauthtest.Config) {
		c.SubjectOf = func(token, tokenType string) (string, error) {
			if token != "id-token-hunter2" || tokenType != TokenTypeIDToken {
				return "", fmt.Errorf("%s is unknown", token)
			}
			return "alice", nil
		}
	})
	idp.AddClient(oauthtest.Client{ID: "c"})
	configure = append([]func(*oauthtest.Config){
		func(c *oauthtest.Config) { c.AssertionKeys = []jose.JSONWebKey{idp.PublicKey()} }}, configure...)
	s = oauthtest.New(t, configure...)
	s.AddClient(oauthtest.Client{ID: "c", Secret: "client-hunter2"})
	return idp, s
}

func exchangeAt(idp, s *oauthtest.Server) TokenExchangeRequest {
	return TokenExchangeRequest{
		TokenEndpoint: TokenEndpoint{URL: idp.URL + "/token", Resource: s.Resource(),
			Client: ClientRegistration{ClientID: "c", AuthMethod: AuthMethodNone}},
		SubjectToken: "id-token-hunter2", SubjectTokenType: TokenTypeIDToken, RequestedTokenType: TokenTypeIDJAG,
		Audience: s.Issuer(),
	}
}

func bearerAt(s *oauthtest.Server, assertion string) JWTBearerRequest {
	return JWTBearerRequest{Assertion: assertion, TokenEndpoint: TokenEndpoint{
		URL: s.URL + "/token", Resource: s.Resource(),
		Client: ClientRegistration{ClientID: "c", ClientSecret: "client-hunter2", AuthMethod: AuthMethodClientSecretBasic},
	}}
}

func TestAnIdentityBecomesATokenByWayOfAnIdentityAssertion(t *testing.T) {
	idp, s := workload(t)
	c := newTestClient(t, s)
	assertion, err := c.TokenExchange(t.Context(), exchangeAt(idp, s))
	if err != nil {
		t.Fatal(err)
	}
	if assertion.IssuedTokenType != TokenTypeIDJAG || assertion.TokenType != "N_A" ||
		assertion.ExpiresAt.Sub(assertion.ReceivedAt) != 5*time.Minute {
		t.Errorf("exchanged token %+v", assertion)
	}
	if aud, err := AssertionAudience(assertion.Token); err != nil || !slices.Equal(aud, []string{s.Issuer()}) {
		t.Errorf("audience %v %v", aud, err)
	}
	r := bearerAt(s, assertion.Token)
	r.Scopes = []string{"mcp:read"}
	got, err := c.JWTBearer(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if g := s.Grants()[0]; !s.ValidAccessToken(got.AccessToken) || g.Subject != "alice" || g.ClientID != "c" ||
		got.RefreshToken != "" {
		t.Errorf("grant %+v, token response %+v", g, got)
	}
	if f := s.Last("/token").Form; f.Has("client_id") || f.Get("scope") != "mcp:read" {
		t.Errorf("form %v", f)
	}
}

func TestAnIdentityAssertionIsGoodForOneClientAndServerOnly(t *testing.T) {
	idp, s := workload(t)
	s.AddClient(oauthtest.Client{ID: "other", Secret: "client-hunter2"})
	c := newTestClient(t, s)
	for name, change := range map[string]func(*TokenExchangeRequest, *JWTBearerRequest){
		"another audience": func(x *TokenExchangeRequest, _ *JWTBearerRequest) { x.Audience = s.Issuer() + "/" },
		"another resource": func(x *TokenExchangeRequest, _ *JWTBearerRequest) { x.Resource = "https://a.example/mcp" },
		"another client":   func(_ *TokenExchangeRequest, b *JWTBearerRequest) { b.Client.ClientID = "other" },
		"no client":        func(_ *TokenExchangeRequest, b *JWTBearerRequest) { b.Client = ClientRegistration{} },
	} {
		t.Run(name, func(t *testing.T) {
			x, b := exchangeAt(idp, s), bearerAt(s, "")
			change(&x, &b)
			assertion, err := c.TokenExchange(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			b.Assertion = assertion.Token
			_, err = c.JWTBearer(t.Context(), b)
			if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_grant" {
				t.Errorf("error %+v", e)
			}
		})
	}
}

func TestAnAssertionNeedsNoClientAndIsNotSentTwice(t *testing.T) {
	_, s := workload(t, func(c *oauthtest.Config) { c.SingleUseAssertions = true })
	key := newKey(t)
	s.Configure(func(c *oauthtest.Config) { c.AssertionKeys = []jose.JSONWebKey{key.PublicJWK()} })
	assertion, err := key.clientAssertion("system:serviceaccount:team:sync", s.Issuer(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := bearerAt(s, assertion)
	r.Client = ClientRegistration{}
	c := newTestClient(t, s)
	if _, err := c.JWTBearer(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got := s.Last("/token")
	if got.Form.Has("client_id") || got.Header.Get("Authorization") != "" {
		t.Errorf("form %v", got.Form)
	}
	if g := s.Grants()[0]; g.Subject != "system:serviceaccount:team:sync" || g.ClientID != "" {
		t.Errorf("grant %+v", g)
	}
	_, err = c.JWTBearer(t.Context(), r)
	wantError(t, err, Rejected, TokenRequestRejected)
	if s.Count("/token") != 2 {
		t.Error("a request was repeated")
	}
}

func TestARefusedAssertionOrSubjectTokenIsNotRepeatedInTheError(t *testing.T) {
	idp, s := workload(t, func(c *oauthtest.Config) {
		c.CheckAssertion = func(a string) error { return errors.New(a + " is refused") }
	})
	s.Handle("/token", func(w http.ResponseWriter, r *http.Request) {
		body(400, "application/json", `{"error":"invalid_grant","error_description":"got <`+r.FormValue("assertion")+
			r.FormValue("client_assertion")+`>"}`)(w, r)
	})
	c := newTestClient(t, s)
	_, err := c.JWTBearer(t.Context(), bearerAt(s, "hunter2.x.y"))
	wantError(t, err, Rejected, TokenRequestRejected, "<…>")
	ep := keyClient(s, newKey(t))
	_, err = c.ClientCredentials(t.Context(), ClientCredentialsRequest{TokenEndpoint: ep})
	e := errorLike(t, err, Rejected, TokenRequestRejected, "<…>")
	if strings.Contains(e.Message, "eyJ") {
		t.Errorf("message %q", e.Message)
	}
	x := exchangeAt(idp, s)
	x.SubjectToken = "other-hunter2"
	_, err = c.TokenExchange(t.Context(), x)
	wantError(t, err, Rejected, TokenRequestRejected, "… is unknown")
}

func TestATokenOfAnotherTypeThanAskedForIsNotReturned(t *testing.T) {
	idp, s := workload(t)
	answer := func(issued string) http.HandlerFunc {
		return body(200, "application/json", `{"access_token":"hunter2","token_type":"Bearer"`+issued+`}`)
	}
	c := newTestClient(t, s)
	idp.HandleTimes("/token", 1, answer(`,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"`))
	_, err := c.TokenExchange(t.Context(), exchangeAt(idp, s))
	wantError(t, err, Misconfigured, UnsupportedTokenType, "type access_token instead of id-jag")
	idp.HandleTimes("/token", 1, answer(`,"issued_token_type":"hunter2"`))
	_, err = c.TokenExchange(t.Context(), exchangeAt(idp, s))
	wantError(t, err, Misconfigured, UnsupportedTokenType)
	idp.HandleTimes("/token", 1, answer(""))
	if got, err := c.TokenExchange(t.Context(), exchangeAt(idp, s)); err != nil || got.Token != "hunter2" ||
		got.IssuedTokenType != "" {
		t.Errorf("a server that does not say the type: %+v %v", got, err)
	}
}

func TestExchangeParametersMayNotBeProtocolParameters(t *testing.T) {
	idp, s := workload(t)
	for _, name := range []string{"subject_token", "subject_token_type", "actor_token", "requested_token_type",
		"assertion", "client_assertion"} {
		x := exchangeAt(idp, s)
		x.Parameters = map[string]string{name: "x"}
		_, err := newTestClient(t, s).TokenExchange(t.Context(), x)
		wantError(t, err, Misconfigured, InvalidMetadata, name)
	}
}

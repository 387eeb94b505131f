package mcpoauth

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// spelled is a secret in all ways in which a server may repeat it.
func spelled(secret string) map[string]string {
	return map[string]string{
		"as it is": secret, "in a form": url.QueryEscape(secret), "in a path": url.PathEscape(secret),
		"in Base64":    base64.StdEncoding.EncodeToString([]byte(secret)),
		"in base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// holds fails for a text that has the secret in any of these ways.
func holds(t *testing.T, text, secret string) {
	t.Helper()
	for how, s := range spelled(secret) {
		if strings.Contains(text, s) {
			t.Errorf("the secret is shown %s: %s", how, text)
		}
	}
}

func TestNoSpellingOfWhatWasSentIsRepeated(t *testing.T) {
	const secret = "1//a+secret/of=25?&ä"
	s := oauthtest.New(t)
	ep := TokenEndpoint{URL: s.URL + oauthtest.TokenPath, Client: ClientRegistration{ClientID: "id"}}
	held := ClientRegistration{Method: Dynamic, ClientID: "id", RegistrationClientURI: s.URL + "/register/id",
		RegistrationAccessToken: secret}
	for name, send := range map[string]func(c *Client) error{
		"a code": func(c *Client) error {
			_, err := c.Exchange(t.Context(), CodeRequest{TokenEndpoint: ep, Code: secret})
			return err
		},
		"a verifier": func(c *Client) error {
			_, err := c.Exchange(t.Context(), CodeRequest{TokenEndpoint: ep, CodeVerifier: secret})
			return err
		},
		"a refresh token": func(c *Client) error {
			_, err := c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: secret})
			return err
		},
		"a client secret": func(c *Client) error {
			with := ep
			with.Client.ClientSecret, with.Client.AuthMethod = secret, AuthMethodClientSecretPost
			_, err := c.ClientCredentials(t.Context(), ClientCredentialsRequest{TokenEndpoint: with})
			return err
		},
		"an assertion": func(c *Client) error {
			_, err := c.JWTBearer(t.Context(), JWTBearerRequest{TokenEndpoint: ep, Assertion: secret})
			return err
		},
		"a subject token": func(c *Client) error {
			_, err := c.TokenExchange(t.Context(), TokenExchangeRequest{TokenEndpoint: ep, SubjectToken: secret})
			return err
		},
		"a revoked token": func(c *Client) error {
			return c.Revoke(t.Context(), RevocationRequest{TokenEndpoint: ep, Token: secret})
		},
		"an initial access token": func(c *Client) error {
			_, err := c.Register(t.Context(), RegistrationRequest{Endpoint: s.URL + "/register", InitialAccessToken: secret})
			return err
		},
		"a registration access token that updates": func(c *Client) error {
			_, err := c.UpdateRegistration(t.Context(), RegistrationRequest{}, &held)
			return err
		},
		"a registration access token that deletes": func(c *Client) error {
			return c.DeleteRegistration(t.Context(), &held)
		},
	} {
		for how, said := range spelled(secret) {
			for _, place := range []string{`{"error":%q}`, `{"error":"no","error_description":"it was (%s)"}`} {
				t.Run(name+" "+how, func(t *testing.T) {
					for _, path := range []string{oauthtest.TokenPath, oauthtest.RegisterPath, oauthtest.RegisterPath + "/id"} {
						s.Handle(path, body(http.StatusBadRequest, "application/json", fmt.Sprintf(place, said)))
					}
					err := send(newTestClient(t, s))
					if err == nil || !strings.Contains(err.Error(), "…") {
						t.Fatalf("nothing was repeated: %v", err)
					}
					holds(t, fmt.Sprintf("%v %+v", err, *AsError(err)), secret)
				})
			}
		}
	}
}

func TestAnAuthorizationResponseRepeatsNeitherStateNorCode(t *testing.T) {
	const secret = "state-of-a-browser"
	for how, said := range spelled(secret) {
		for _, name := range []string{"error", "error_description"} {
			for _, what := range []string{"state", "code"} {
				q := url.Values{"error": {"no"}, what: {secret}}
				q.Set(name, said)
				_, err := CheckAuthorizationResponse(q, "https://login.example.com", false)
				if err == nil {
					t.Fatalf("%s %s is accepted", what, how)
				}
				holds(t, fmt.Sprintf("%v %s", err, AsError(err).OAuthError), secret)
			}
		}
	}
}

func TestATokenIsNeitherAScopeNorATypeNorAName(t *testing.T) {
	const secret = "the-token-of-a-workload"
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.Public = true })
	s.Handle(oauthtest.TokenPath, body(http.StatusOK, "application/json",
		`{"access_token":"`+secret+`","refresh_token":"`+secret+`2","token_type":"`+secret+`","scope":"mcp:read `+secret+` x`+
			secret+`2 mcp:write"}`))
	answer, err := newTestClient(t, s).Refresh(t.Context(),
		RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + oauthtest.TokenPath}, RefreshToken: "refresh"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(answer.Scopes, " "); got != "mcp:read mcp:write" || answer.AccessToken != secret {
		t.Errorf("granted %q", got)
	}
	holds(t, answer.TokenType, secret)
	s.Handle(oauthtest.MCPPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="mcp:admin `+
			r.Header.Get("Authorization")+`"`)
		w.WriteHeader(http.StatusForbidden)
	})
	_, err = newTestClient(t, s).ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: secret})
	e := errorLike(t, err, Rejected, InsufficientScope)
	if got := strings.Join(e.Challenge.Scopes, " "); got != "mcp:admin Bearer" {
		t.Errorf("demanded %q", got)
	}
	s.Handle(oauthtest.MCPPath, body(http.StatusOK, "application/json",
		`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"I am `+
			secret+`","version":"`+base64.StdEncoding.EncodeToString([]byte(secret))+`"}}}`))
	info, err := newTestClient(t, s).ProbeServer(t.Context(), ServerProbe{ServerURL: s.MCPURL(), AccessToken: secret})
	if err == nil {
		holds(t, fmt.Sprintf("%+v", info), secret)
	} else {
		holds(t, err.Error(), secret)
	}
}

func TestASecretThatIsCutIsNotShown(t *testing.T) {
	const secret = "hunter2 is the word"
	for padding := maxTold - len(secret) - 2; padding <= maxTold; padding++ {
		text := strings.Repeat("\u200b", padding/3) + strings.Repeat(".", padding%3) + secret +
			strings.Repeat(" and more", 3000)
		if shown := retell(text, 200, []string{secret}); strings.Contains(shown, "hunter") {
			t.Errorf("%d bytes before the secret: %q", padding, shown)
		}
	}
}

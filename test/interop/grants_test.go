package interop

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/internal/mcpoauth"
	"github.com/mcp-connection/operator/test/harness"
)

// startOIDCProviderWithDPoP guards an MCP server that takes only tokens that are bound to a key.
func startOIDCProviderWithDPoP(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	return guardedBy(t, harness.MCPServerOptions{DPoP: true}, func(resource string) *server {
		return startNode(ctx, t, []string{"RESOURCE=" + resource, "DPOP=true"}, "oidc-provider.mjs")
	}).running(nil, signIn)
}

// startProtectedOIDCProvider hands out its initial access token. The client is deleted with the connection, so its
// refresh token has nobody to be refused to.
func startProtectedOIDCProvider(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	provider := guarded(t, func(resource string) *server {
		return startNode(ctx, t, []string{"RESOURCE=" + resource, "PROTECTED=true"}, "oidc-provider.mjs")
	})
	running := provider.running(nil, signIn)
	running.given = map[string]map[string]string{
		"mcp-initial-access": {"token": provider.events.secret("initial_access_token")}}
	running.ended = func(ctx context.Context) error {
		return provider.refusesRefresh(ctx, provider.events.registration(), "invalid_client")
	}
	return running
}

// agentSecret is one that oidc-provider takes: it wants printable ASCII.
const agentSecret = "known-to-this-test-and-its-server-only"

// startOIDCProviderForSecret knows a client with a secret, and rights of its own.
func startOIDCProviderForSecret(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	provider := startOIDCProviderFor(ctx, t, map[string]any{
		"client_id": "agent", "client_secret": agentSecret, "token_endpoint_auth_method": "client_secret_basic",
	})
	provider.events.add(event{Event: "given", Secrets: map[string]string{"client_secret": agentSecret}})
	return provider.unattended(map[string]map[string]string{"mcp-client": {"client_id": "agent",
		"client_secret": agentSecret}})
}

// startOIDCProviderForKey knows the public half of a client's key.
func startOIDCProviderForKey(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	key, err := mcpoauth.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	provider := startOIDCProviderFor(ctx, t, map[string]any{
		"client_id": "agent", "token_endpoint_auth_method": "private_key_jwt",
		"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.PublicJWK()}},
	})
	provider.events.add(event{Event: "given", Secrets: map[string]string{"private_key": string(private)}})
	return provider.unattended(map[string]map[string]string{"mcp-client": {"client_id": "agent",
		"private_key": string(private), "key_id": key.KeyID}})
}

// startOIDCProviderFor registers a client by hand.
func startOIDCProviderFor(ctx context.Context, t *testing.T, client map[string]any) *server {
	t.Helper()
	metadata, err := json.Marshal(client)
	if err != nil {
		t.Fatal(err)
	}
	return guarded(t, func(resource string) *server {
		return startNode(ctx, t, []string{"RESOURCE=" + resource, "CLIENT=" + string(metadata)}, "oidc-provider.mjs")
	})
}

// startOIDCProviderWithGrant has a grant already: another program registered, and a person consented to it.
func startOIDCProviderWithGrant(ctx context.Context, t *testing.T, _ *cluster) *running {
	t.Helper()
	provider := guarded(t, func(resource string) *server {
		return startNode(ctx, t, []string{"RESOURCE=" + resource}, "oidc-provider.mjs")
	})
	job := &cronJob{server: provider}
	if err := job.run(ctx, t); err != nil {
		t.Fatal(err)
	}
	running := provider.running(&job.client, nil)
	running.given = map[string]map[string]string{"mcp-grant": {
		"issuer": provider.Issuer, "client_id": job.client.ClientID, "refresh_token": job.refreshToken,
	}}
	return running
}

// cronJob is what kept a token fresh before there was an operator.
type cronJob struct {
	*server
	client       registration
	refreshToken string
}

// run registers, has a person consent, and spends the code. What it got it reads from the answers: the server's output,
// which tells of them too, may come later.
func (j *cronJob) run(ctx context.Context, t *testing.T) error {
	t.Helper()
	callback := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("thank you"))
	}))
	t.Cleanup(callback.Close)
	if err := j.register(ctx, callback.URL); err != nil {
		return err
	}
	const verifier = "a-code-verifier-of-forty-three-characters-or-more"
	challenge := sha256.Sum256([]byte(verifier))
	code, err := consentElsewhere(ctx, callback.URL, j.Issuer+"/auth?"+url.Values{
		"response_type": {"code"}, "client_id": {j.client.ClientID}, "redirect_uri": {callback.URL}, "state": {"state"},
		"scope": {scope + " offline_access"}, "prompt": {"consent"}, "resource": {j.Resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	if err != nil {
		return err
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	status, err := postForm(ctx, j.TokenEndpoint, j.client, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {callback.URL},
		"resource": {j.Resource},
	}, &answer)
	if err == nil && (status != http.StatusOK || answer.RefreshToken == "") {
		err = fmt.Errorf("the token endpoint answered %d, or without a refresh token", status)
	}
	j.refreshToken = answer.RefreshToken
	return err
}

func (j *cronJob) register(ctx context.Context, redirectURI string) error {
	body := fmt.Sprintf(`{"redirect_uris": [%q], "application_type": "native", "token_endpoint_auth_method": "none",
		"grant_types": ["authorization_code", "refresh_token"], "scope": "%s offline_access"}`, redirectURI, scope)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Issuer+"/reg", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("the registration endpoint answered %d", response.StatusCode)
	}
	var registered struct {
		ClientID   string `json:"client_id"`
		AuthMethod string `json:"token_endpoint_auth_method"`
	}
	if err := json.NewDecoder(response.Body).Decode(&registered); err != nil {
		return err
	}
	j.client = registration{ClientID: registered.ClientID, AuthMethod: registered.AuthMethod}
	return nil
}

// consentElsewhere walks through the server's pages, and returns the code that comes back.
func consentElsewhere(ctx context.Context, callback, link string) (code string, err error) {
	browser := harness.NewBrowser()
	page, err := browser.Open(ctx, link)
	for err == nil && !strings.HasPrefix(page.URL.String(), callback) {
		var form *harness.Form
		if form, err = signIn(page); err == nil {
			page, err = browser.Submit(ctx, page, form)
		}
	}
	if err != nil {
		return "", err
	}
	return page.URL.Query().Get("code"), nil
}

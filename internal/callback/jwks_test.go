package callback

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/internal/credential"
)

const (
	jwksPath     = "/oauth/jwks.json"
	keyLifetime  = 90 * 24 * time.Hour
	keyPublished = 24 * time.Hour
)

// sign has the reconciler need the operator's key, and says which one it is.
func (f *fixture) sign() string {
	f.Helper()
	key, err := f.store.SigningKey(f.Context(), f.now)
	f.must(err)
	return key.KeyID
}

// keys are the IDs of the keys that are served.
func (f *fixture) keys() string {
	f.Helper()
	w := f.browser().get(jwksPath)
	expect(f, w, http.StatusOK)
	var set jose.JSONWebKeySet
	f.must(json.Unmarshal(w.Body.Bytes(), &set))
	var ids []string
	for _, k := range set.Keys {
		if !k.IsPublic() {
			f.Error("a private key is served")
		}
		ids = append(ids, k.KeyID)
	}
	return strings.Join(ids, " ")
}

func TestTheDocumentOfAClientThatSigns(t *testing.T) {
	f := newFixture(t, withExternalURL(externalURL+"/mcp/"))
	w := f.browser().get("/mcp/oauth/client-metadata-jwt.json")
	expect(f, w, http.StatusOK)
	var got map[string]any
	f.must(json.Unmarshal(w.Body.Bytes(), &got))
	want := map[string]any{
		"client_id": externalURL + "/mcp/oauth/client-metadata-jwt.json", "redirect_uris": []any{externalURL + "/mcp/oauth/callback"},
		"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"}, "token_endpoint_auth_method": "private_key_jwt",
		"token_endpoint_auth_signing_alg": "ES256", "jwks_uri": externalURL + "/mcp/oauth/jwks.json",
		"application_type": "web", "client_name": "mcp-connection-operator", "software_version": "1.2.3",
	}
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("document\n%s\nwant\n%s", a, b)
	}
}

func TestPublicKeysAreServedOnceThereAreSome(t *testing.T) {
	f := newFixture(t)
	expect(f, f.browser().get(jwksPath), http.StatusNotFound)
	id := f.sign()
	f.now = f.now.Add(jwksLookAgain)
	w := f.browser().get(jwksPath)
	expect(f, w, http.StatusOK, id)
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("headers %v", w.Header())
	}
	if body := w.Body.String(); strings.Contains(body, "PRIVATE") || strings.Contains(body, `"d":`) {
		t.Error("a private key is served")
	}
	expect(f, f.browser().do(http.MethodPost, jwksPath, ""), http.StatusMethodNotAllowed)
}

func TestANewKeyIsServedWithinAMinute(t *testing.T) {
	f := newFixture(t)
	first := f.sign()
	if got := f.keys(); got != first {
		t.Fatalf("served are %s, want %s", got, first)
	}
	f.now = f.now.Add(keyLifetime - keyPublished - time.Second)
	f.keys()
	f.now = f.now.Add(time.Second)
	if f.sign() != first {
		t.Fatal("the next key signs before it was published")
	}
	f.now = f.now.Add(jwksFreshFor)
	if got := f.keys(); !strings.HasPrefix(got, first+" ") {
		t.Errorf("a minute later %s are served", got)
	}
}

func TestStrangersCostAFewReadsOnly(t *testing.T) {
	f := newFixture(t)
	reads := func(n int) int64 {
		before := f.reads.Load()
		for range n {
			f.browser().get(jwksPath)
		}
		return f.reads.Load() - before
	}
	if n := reads(50); n != 1 {
		t.Errorf("%d reads while there is no key, want 1", n)
	}
	f.sign()
	f.now = f.now.Add(jwksLookAgain)
	if n := reads(50); n != 1 {
		t.Errorf("%d reads with a key, want 1", n)
	}
}

func TestAnOutageOfTheAPIServerServesTheKeysReadLast(t *testing.T) {
	f := newFixture(t)
	id := f.sign()
	f.keys()
	f.onRead = func() error { return errors.New("no answer") }
	f.now = f.now.Add(time.Hour)
	if got := f.keys(); got != id {
		t.Errorf("served are %s", got)
	}
	fresh := newFixture(t)
	fresh.onRead = f.onRead
	expect(fresh, fresh.browser().get(jwksPath), http.StatusServiceUnavailable)
}

func TestASecretOfSomebodyElseIsNotServed(t *testing.T) {
	f := newFixture(t)
	f.sign()
	secret := f.secret()
	secret.Name, secret.Labels, secret.ResourceVersion, secret.UID = credential.SigningKeySecret, nil, "", ""
	f.must(f.client.Delete(f.Context(), secret.DeepCopy()))
	f.must(f.client.Create(f.Context(), secret))
	expect(f, f.browser().get(jwksPath), http.StatusNotFound)
}

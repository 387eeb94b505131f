package mcpoauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

func pkcs8(t *testing.T, key any, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func ecKey(t *testing.T, curve elliptic.Curve) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	return pkcs8(t, key, err)
}

func rsaKey(t *testing.T, bits int) []byte {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, bits)
	return pkcs8(t, key, err)
}

func edKey(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return pkcs8(t, key, err)
}

func newKey(t *testing.T) *SigningKey {
	t.Helper()
	key, err := GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyClient is a client of s that authenticates by key.
func keyClient(s *oauthtest.Server, key *SigningKey) TokenEndpoint {
	s.AddClient(oauthtest.Client{ID: "workload", Keys: []jose.JSONWebKey{key.PublicJWK()}})
	return TokenEndpoint{
		URL: s.URL + "/token", Issuer: s.Issuer(), Key: key, Resource: s.Resource(),
		Client: ClientRegistration{Method: Preregistered, ClientID: "workload", AuthMethod: AuthMethodPrivateKeyJWT},
	}
}

func TestEachAcceptedKeyAuthenticatesAClient(t *testing.T) {
	for alg, text := range map[string][]byte{"ES256": ecKey(t, elliptic.P256()), "RS256": rsaKey(t, 2048),
		"EdDSA": edKey(t)} {
		for _, kid := range []string{"", "k1"} {
			t.Run(alg+" with key ID "+kid, func(t *testing.T) {
				key, err := ParseSigningKey(text, kid)
				if err != nil {
					t.Fatal(err)
				}
				if key.Algorithm() != alg {
					t.Errorf("algorithm %s", key.Algorithm())
				}
				s := oauthtest.New(t)
				r := ClientCredentialsRequest{TokenEndpoint: keyClient(s, key)}
				got, err := newTestClient(t, s).ClientCredentials(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if !s.ValidAccessToken(got.AccessToken) {
					t.Errorf("token %+v", got)
				}
			})
		}
	}
}

func TestOtherKeysAreRefusedAndNeverShown(t *testing.T) {
	good := ecKey(t, elliptic.P256())
	body := strings.Split(string(good), "\n")[1]
	_, x, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: x})
	for name, text := range map[string][]byte{
		"empty":                   nil,
		"not PEM":                 []byte(body),
		"a truncated key":         []byte("-----BEGIN PRIVATE KEY-----\n" + body + "\n-----END PRIVATE KEY-----\n"),
		"another curve":           ecKey(t, elliptic.P384()),
		"a short RSA key":         rsaKey(t, 1024),
		"another container":       sec1,
		"an encrypted key":        []byte(strings.ReplaceAll(string(good), "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
		"a key that is too large": append([]byte(strings.Repeat("\n", maxKey)), good...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSigningKey(text, "k")
			e := errorLike(t, err, Misconfigured, CredentialsMissing, "P-256", "2048", "Ed25519", "PKCS#8")
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(e.Message, line) {
					t.Errorf("the message tells %q", line)
				}
			}
		})
	}
}

func TestAGeneratedKeySurvivesItsPEMAndIsNeverPrinted(t *testing.T) {
	key := newKey(t)
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSigningKey(text, key.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	first, err := json.Marshal(key.PublicJWK())
	if err != nil {
		t.Fatal(err)
	}
	second, err := json.Marshal(again.PublicJWK())
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Errorf("%s is not %s", first, second)
	}
	var members map[string]string
	if err := json.Unmarshal(first, &members); err != nil {
		t.Fatal(err)
	}
	if members["d"] != "" || members["kid"] != key.KeyID || members["alg"] != "ES256" || members["use"] != "sig" ||
		len(key.KeyID) != 43 {
		t.Errorf("public key %s", first)
	}
	want := "ES256 key " + key.KeyID
	for _, got := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", key)} {
		if got != want {
			t.Errorf("it prints as %q", got)
		}
	}
}

func TestAClientAssertionNamesOneServerAndLivesAMinute(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.IssuerPath, c.Now = "/tenant", clock })
	key := newKey(t)
	ep := keyClient(s, key)
	c := newTestClient(t, s, func(o *Options) { o.Now = clock })
	ids := map[string]bool{}
	for range 2 {
		if _, err := c.ClientCredentials(t.Context(), ClientCredentialsRequest{TokenEndpoint: ep}); err != nil {
			t.Fatal(err)
		}
		form := s.Last("/token").Form
		signed, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := signed.Verify(key.PublicJWK())
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		id, _ := claims["jti"].(string)
		if ids[id] || len(id) < 16 {
			t.Errorf("jti %q", id)
		}
		ids[id] = true
		delete(claims, "jti")
		want := map[string]any{
			"iss": "workload", "sub": "workload", "aud": s.URL + "/tenant", "iat": float64(now.Unix()),
			"exp": float64(now.Unix() + 60),
		}
		if fmt.Sprint(claims) != fmt.Sprint(want) {
			t.Errorf("claims %v, want %v", claims, want)
		}
		if form.Get("client_id") != "workload" || form.Has("client_secret") ||
			s.Last("/token").Header.Get("Authorization") != "" {
			t.Errorf("form %v", form)
		}
	}
}

func TestPrivateKeyJWTWithoutKeyOrIssuerIsNotSent(t *testing.T) {
	s := oauthtest.New(t)
	ep := keyClient(s, newKey(t))
	ep.Client.ClientSecret = "hunter2"
	for code, change := range map[Code]func(*TokenEndpoint){
		CredentialsMissing: func(ep *TokenEndpoint) { ep.Key = nil },
		InvalidMetadata:    func(ep *TokenEndpoint) { ep.Issuer = "" },
	} {
		r := ClientCredentialsRequest{TokenEndpoint: ep}
		change(&r.TokenEndpoint)
		_, err := newTestClient(t, s).ClientCredentials(t.Context(), r)
		if e := errorLike(t, err, Misconfigured, code, "private_key_jwt"); e.Outcome != NotSent {
			t.Errorf("outcome %v", e.Outcome)
		}
	}
	if len(s.Requests()) != 0 {
		t.Error("a request was sent")
	}
}

func TestAKeyAuthenticatesCodesRefreshesAndRevocations(t *testing.T) {
	s := oauthtest.New(t)
	key := newKey(t)
	c := newTestClient(t, s)
	ep := keyClient(s, key)
	s.AddClient(oauthtest.Client{ID: "workload", Keys: []jose.JSONWebKey{key.PublicJWK()},
		RedirectURIs: []string{testRedirectURI}})
	verifier := NewCodeVerifier()
	link, err := AuthorizationURL(AuthorizationRequest{
		Endpoint: s.URL + "/authorize", ClientID: "workload", RedirectURI: testRedirectURI, Resource: s.Resource(),
		State: "s", CodeVerifier: verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Approve(link)
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Exchange(t.Context(), CodeRequest{TokenEndpoint: ep, Code: back.Query().Get("code"),
		CodeVerifier: verifier, RedirectURI: testRedirectURI})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: first.RefreshToken})
	if err != nil {
		t.Fatal(err)
	}
	ep.URL = s.URL + "/revoke"
	if err := c.Revoke(t.Context(), RevocationRequest{TokenEndpoint: ep, Token: second.RefreshToken}); err != nil {
		t.Fatal(err)
	}
	if !s.Grants()[0].Revoked {
		t.Error("nothing was revoked")
	}
}

package mcpoauth

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-connection/operator/internal/mcpoauth/oauthtest"
)

// dpopEndpoint authorizes at a server with DPoP.
func dpopEndpoint(t *testing.T, c *Client, s *oauthtest.Server) (ep TokenEndpoint, r CodeRequest) {
	t.Helper()
	d, client, code, verifier := authorize(t, c, s)
	if !d.DPoPRequired {
		t.Error("DPoP was not found to be required")
	}
	ep = TokenEndpoint{URL: d.AuthorizationServer.TokenEndpoint, Client: *client, Resource: d.Resource,
		DPoP: GenerateDPoPKey()}
	return ep, CodeRequest{TokenEndpoint: ep, Code: code, CodeVerifier: verifier, RedirectURI: testRedirectURI}
}

func callMCP(t *testing.T, s *oauthtest.Server, scheme, token, proof string) int {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPost, s.MCPURL(), strings.NewReader(probeBody))
	req.Header.Set("Authorization", scheme+" "+token)
	req.Header.Set("DPoP", proof)
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestTokensAreBoundToTheKey(t *testing.T) {
	for _, nonce := range []string{"", "n-1"} {
		t.Run("nonce "+nonce, func(t *testing.T) {
			s := oauthtest.New(t, func(c *oauthtest.Config) { c.DPoP, c.DPoPNonce = true, nonce })
			c := newTestClient(t, s)
			ep, request := dpopEndpoint(t, c, s)
			first, err := c.Exchange(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			// What was stored must sign like what was generated.
			if ep.DPoP, err = ParseDPoPKey(ep.DPoP.JWK()); err != nil {
				t.Fatal(err)
			}
			second, err := c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: first.RefreshToken})
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if nonce != "" {
				want = 3 // the nonce is learned once
			}
			if g := s.Grants()[0]; second.TokenType != "DPoP" || g.Thumbprint != ep.DPoP.Thumbprint() || g.Reused ||
				s.Count("/token") != want {
				t.Errorf("type %q, grant %+v, %d requests", second.TokenType, g, s.Count("/token"))
			}
			u, _ := url.Parse(s.MCPURL() + "?query#fragment")
			proof, err := ep.DPoP.Prove(DPoPProof{Method: http.MethodPost, URL: u, AccessToken: second.AccessToken,
				Nonce: nonce}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if got := callMCP(t, s, "Bearer", second.AccessToken, proof); got != 401 {
				t.Errorf("as Bearer: %d", got)
			}
			for i, want := range []int{200, 401} {
				if got := callMCP(t, s, "DPoP", second.AccessToken, proof); got != want {
					t.Errorf("use %d of the proof: %d", i+1, got)
				}
			}
			revocation := RevocationRequest{TokenEndpoint: ep, Token: second.RefreshToken}
			revocation.URL = s.URL + "/revoke"
			if err := c.Revoke(t.Context(), revocation); err != nil || s.Last("/revoke").Header.Get("DPoP") != "" ||
				!s.Grants()[0].Revoked {
				t.Errorf("revocation: %v", err)
			}
		})
	}
}

func TestARefreshTokenOfAPublicClientNeedsItsKey(t *testing.T) {
	s := oauthtest.New(t, func(c *oauthtest.Config) { c.DPoP = true })
	c := newTestClient(t, s)
	ep, request := dpopEndpoint(t, c, s)
	tokens, err := c.Exchange(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	ep.DPoP = GenerateDPoPKey()
	_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: tokens.RefreshToken})
	if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_grant" {
		t.Error(e)
	}
	ep.DPoP = nil
	_, err = c.Refresh(t.Context(), RefreshRequest{TokenEndpoint: ep, RefreshToken: tokens.RefreshToken})
	if e := errorLike(t, err, Rejected, TokenRequestRejected); e.OAuthError != "invalid_dpop_proof" {
		t.Error(e)
	}
}

// askForNonce answers as RFC 9449 section 8 says.
func askForNonce(status int, nonce string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("DPoP-Nonce", nonce)
		body(status, "application/json", `{"error":"use_dpop_nonce"}`)(w, nil)
	}
}

// proofOf reads a proof without verifying it.
func proofOf(t *testing.T, h http.Header) proofClaims {
	t.Helper()
	proof, err := jose.ParseSignedCompact(h.Get("DPoP"), []jose.SignatureAlgorithm{jose.ES256})
	var claims proofClaims
	if err != nil || json.Unmarshal(proof.UnsafePayloadWithoutVerification(), &claims) != nil {
		t.Fatalf("proof %q: %v", h.Get("DPoP"), err)
	}
	return claims
}

func TestNonces(t *testing.T) {
	tokens := body(200, "application/json", `{"access_token":"a","token_type":"DPoP"}`)
	plain := body(400, "application/json", `{"error":"use_dpop_nonce"}`)
	for _, tt := range []struct {
		name     string
		answers  []http.HandlerFunc
		requests int
		outcome  Outcome
		ok       bool
	}{
		{"400 is answered with the nonce", []http.HandlerFunc{askForNonce(400, "n"), tokens}, 2, 0, true},
		{"401 too", []http.HandlerFunc{askForNonce(401, "n"), tokens}, 2, 0, true},
		{"a second demand may heal", []http.HandlerFunc{askForNonce(400, "n"), askForNonce(400, "m"), tokens}, 2, Answered,
			false},
		{"a demand without a nonce is not repeated", []http.HandlerFunc{plain, tokens}, 1, Answered, false},
		{"the second request may get lost", []http.HandlerFunc{askForNonce(400, "n"), dropConnection}, 2, Unknown, false},
		{"the second request may be put off", []http.HandlerFunc{askForNonce(400, "n"), status(503)}, 2, NotSent, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			n := 0
			s.Handle("/token", func(w http.ResponseWriter, r *http.Request) { n++; tt.answers[n-1](w, r) })
			_, err := refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{DPoP: GenerateDPoPKey()}})
			if tt.ok != (err == nil) || s.Count("/token") != tt.requests {
				t.Fatalf("%v after %q", err, paths(s))
			}
			if err != nil {
				if e := errorLike(t, err, Transient, TokenRequestFailing); e.Outcome != tt.outcome {
					t.Errorf("outcome %v", e.Outcome)
				}
			}
			if tt.requests == 2 {
				all := s.Requests()
				one, two := proofOf(t, all[0].Header), proofOf(t, all[1].Header)
				if one.Nonce != "" || two.Nonce != "n" || one.ID == two.ID || all[0].Body != all[1].Body {
					t.Errorf("proofs %+v, %+v", one, two)
				}
			}
		})
	}
}

func TestTheSecondRequestHasAClientAssertionOfItsOwn(t *testing.T) {
	s := oauthtest.New(t)
	s.Handle("/token", askForNonce(400, "n"))
	key, err := GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	client := ClientRegistration{ClientID: "c", AuthMethod: AuthMethodPrivateKeyJWT}
	_, err = refreshWith(t, s, RefreshRequest{TokenEndpoint: TokenEndpoint{DPoP: GenerateDPoPKey(), Client: client,
		Key: key, Issuer: s.Issuer()}})
	wantError(t, err, Transient, TokenRequestFailing)
	all := s.Requests()
	if len(all) != 2 || all[0].Form.Get("client_assertion") == "" ||
		all[0].Form.Get("client_assertion") == all[1].Form.Get("client_assertion") {
		t.Errorf("requests %q; servers take an assertion once", paths(s))
	}
}

func TestTheSecondRequestKeepsSendBy(t *testing.T) {
	s := oauthtest.New(t)
	now := time.Now()
	s.Handle("/token", func(w http.ResponseWriter, r *http.Request) {
		now = now.Add(time.Minute)
		askForNonce(400, "n")(w, r)
	})
	r := RefreshRequest{TokenEndpoint: TokenEndpoint{DPoP: GenerateDPoPKey(), SendBy: now.Add(30 * time.Second)}}
	_, err := refreshWith(t, s, r, func(o *Options) { o.Now = func() time.Time { return now } })
	if e := errorLike(t, err, Transient, TokenRequestFailing, "not sent"); e.Outcome != NotSent || s.Count("/token") != 1 {
		t.Errorf("outcome %v, requests %q", e.Outcome, paths(s))
	}
}

func TestAnyAnswerMayRenewTheNonce(t *testing.T) {
	s := oauthtest.New(t)
	n := 0
	s.Handle("/token", func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("DPoP-Nonce", fmt.Sprint("n", n))
		body(200, "application/json", `{"access_token":"a"}`)(w, nil)
	})
	c := newTestClient(t, s)
	for _, want := range []string{"", "n1", "n2"} {
		// Views share what is known.
		r := RefreshRequest{TokenEndpoint: TokenEndpoint{URL: s.URL + "/token", DPoP: GenerateDPoPKey()}, RefreshToken: "r"}
		if _, err := c.For(s.MCPURL()).Refresh(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := proofOf(t, s.Last("/token").Header).Nonce; got != want {
			t.Errorf("nonce %q, want %q", got, want)
		}
	}
}

func TestNoncesAreBounded(t *testing.T) {
	n := &nonces{byOrigin: map[string]string{}}
	for i := range 2 * maxNonces {
		n.put(fmt.Sprint(i), "n")
	}
	n.put("a", strings.Repeat("n", maxNonce+1))
	if len(n.byOrigin) != maxNonces || n.get("a") != "" || n.get(fmt.Sprint(2*maxNonces-1)) != "n" {
		t.Errorf("%d nonces", len(n.byOrigin))
	}
}

func TestDPoPKeys(t *testing.T) {
	// The key of RFC 9449, section 4.1, and its thumbprint of section 6.1.
	var public jose.JSONWebKey
	text := `{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`
	if err := json.Unmarshal([]byte(text), &public); err != nil {
		t.Fatal(err)
	}
	key := &DPoPKey{key: &ecdsa.PrivateKey{PublicKey: *public.Key.(*ecdsa.PublicKey)}}
	if got := key.Thumbprint(); got != "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" {
		t.Errorf("thumbprint %s", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); got != "DPoP key "+key.Thumbprint() {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	good := string(GenerateDPoPKey().JWK())
	for name, bad := range map[string]string{
		"a public key": text, "nothing": "", "no JSON": "hunter2", "no key": "{}",
		"a symmetric key": `{"kty":"oct","k":"hunter2"}`,
		"another curve":   strings.Replace(good, "P-256", "P-384", 1),
	} {
		if _, err := ParseDPoPKey([]byte(bad)); err == nil {
			t.Errorf("%s was taken", name)
		} else {
			wantError(t, err, Misconfigured, InvalidMetadata)
		}
	}
}

func TestTheURLOfAProof(t *testing.T) {
	for raw, want := range map[string]string{
		"https://as.example/token?a=b#c": "https://as.example/token",
		"https://as.example":             "https://as.example/",
		"https://as.example:8443/a%2Fb/": "https://as.example:8443/a%2Fb/",
	} {
		u, _ := url.Parse(raw)
		proof, err := GenerateDPoPKey().Prove(DPoPProof{Method: "POST", URL: u}, time.Unix(7, 9))
		if err != nil {
			t.Fatal(err)
		}
		if got := proofOf(t, http.Header{"Dpop": {proof}}); got.URL != want || got.IssuedAt != 7 || got.Method != "POST" ||
			got.Hash != "" {
			t.Errorf("%s: %+v", raw, got)
		}
	}
}

func TestWhoWantsDPoP(t *testing.T) {
	for _, tt := range []struct {
		name      string
		challenge string
		metadata  string
		algs      []string
		want      bool
		refused   bool
	}{
		{"nobody", "Bearer", "", nil, false, false},
		{"a challenge", `dpop algs="ES256", scope="mcp:read"`, "", nil, true, false},
		{"a choice is no demand", "DPoP, Bearer", "", nil, false, false},
		{"the metadata", "Bearer", `,"dpop_bound_access_tokens_required":true`, nil, true, false},
		{"the metadata do not", "Bearer", `,"dpop_bound_access_tokens_required":false`, []string{"RS256"}, false, false},
		{"ES256 is listed", "DPoP", "", []string{"RS256", "ES256"}, true, false},
		{"an empty list says nothing", "DPoP", "", []string{}, true, false},
		{"ES256 is not listed", "DPoP", "", []string{"RS256", "none"}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := oauthtest.New(t)
			s.Handle("/mcp", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", tt.challenge)
				w.WriteHeader(401)
			})
			s.Handle(oauthtest.ResourceMetadataPath, body(200, "application/json",
				`{"resource":"`+s.MCPURL()+`","authorization_servers":["`+s.Issuer()+`"]`+tt.metadata+`}`))
			s.Handle(s.MetadataPath(), func(w http.ResponseWriter, _ *http.Request) {
				md := s.Metadata()
				if tt.algs != nil {
					md["dpop_signing_alg_values_supported"] = tt.algs
				}
				recorder := httptest.NewRecorder()
				_ = json.NewEncoder(recorder).Encode(md)
				body(200, "application/json", recorder.Body.String())(w, nil)
			})
			d, err := newTestClient(t, s).Discover(t.Context(), DiscoveryRequest{ServerURL: s.MCPURL()})
			if tt.refused {
				wantError(t, err, Misconfigured, InvalidMetadata, "ES256", "dpop_signing_alg_values_supported")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.DPoPRequired != tt.want {
				t.Errorf("required: %v", d.DPoPRequired)
			}
		})
	}
}

package oauthtest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proofLife is how far the iat of a proof may be from the clock.
const proofLife = time.Minute

type proofClaims struct {
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	URL      string `json:"htu"`
	IssuedAt int64  `json:"iat"`
	Nonce    string `json:"nonce"`
	Hash     string `json:"ath"`
}

// checkProof checks the DPoP header of a request (RFC 9449, section 4.3) and returns the thumbprint of its key. token
// is the access token that came with it; empty at the token endpoint.
func (s *Server) checkProof(r *http.Request, token string) (thumbprint string, no *refusal) {
	bad := func(why string) (string, *refusal) { return "", &refusal{"invalid_dpop_proof", why} }
	values := r.Header.Values("DPoP")
	if len(values) != 1 {
		return bad("there must be one DPoP header")
	}
	proof, err := jose.ParseSignedCompact(values[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return bad("the proof is no JWS with ES256")
	}
	header := proof.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return bad("typ is not dpop+jwt")
	}
	if header.JSONWebKey == nil || !header.JSONWebKey.Valid() || !header.JSONWebKey.IsPublic() {
		return bad("jwk is missing, or not public")
	}
	payload, err := proof.Verify(header.JSONWebKey)
	var claims proofClaims
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return bad("the signature is wrong, or the claims are no claims")
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return bad("the key has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), s.checkClaims(claims, r, token)
}

func (s *Server) checkClaims(claims proofClaims, r *http.Request, token string) *refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.config.Now()
	age := now.Sub(time.Unix(claims.IssuedAt, 0))
	hash := ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		hash = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	why := ""
	switch {
	case claims.Method != r.Method:
		why = "htm is another method"
	case claims.URL != s.URL+r.URL.Path:
		why = "htu is another URL"
	case age > proofLife || age < -proofLife:
		why = "iat is too far from now"
	case claims.Hash != hash:
		why = "ath is missing, or another"
	case claims.ID == "" || s.proofs[claims.ID]:
		why = "jti is missing, or was used before"
	}
	if why != "" {
		return &refusal{"invalid_dpop_proof", why}
	}
	s.proofs[claims.ID] = true
	if claims.Nonce != s.config.DPoPNonce {
		return &refusal{"use_dpop_nonce", "the proof needs the nonce of the DPoP-Nonce header"}
	}
	return nil
}

// offerNonce is in every answer where proofs need a nonce (RFC 9449, section 8.2).
func offerNonce(w http.ResponseWriter, c Config) {
	if c.DPoPNonce != "" {
		w.Header().Set("DPoP-Nonce", c.DPoPNonce)
	}
}

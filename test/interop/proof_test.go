package interop

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proofs are those that an MCP server has seen (RFC 9449, section 4.3). None is taken twice.
type proofs struct {
	mu   sync.Mutex
	seen map[string]bool
}

// check wants a proof for this request and this token, with the key that the token is bound to.
func (p *proofs) check(r *http.Request, url, token, thumbprint string) error {
	values := r.Header.Values("DPoP")
	if len(values) != 1 {
		return errors.New("there must be one proof")
	}
	proof, err := jose.ParseSignedCompact(values[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	header := proof.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" || header.JSONWebKey == nil || !header.JSONWebKey.IsPublic() {
		return errors.New("the proof has another type, or no public key")
	}
	payload, err := proof.Verify(header.JSONWebKey)
	if err != nil {
		return err
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	if base64.RawURLEncoding.EncodeToString(sum) != thumbprint {
		return errors.New("the token is not bound to the key of the proof")
	}
	return p.checkClaims(payload, r.Method, url, token)
}

func (p *proofs) checkClaims(payload []byte, method, url, token string) error {
	var claims struct {
		ID       string `json:"jti"`
		Method   string `json:"htm"`
		URL      string `json:"htu"`
		IssuedAt int64  `json:"iat"`
		Hash     string `json:"ath"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(token))
	switch age := time.Since(time.Unix(claims.IssuedAt, 0)); {
	case claims.Method != method || claims.URL != url:
		return errors.New("the proof is for another request")
	case claims.Hash != base64.RawURLEncoding.EncodeToString(hash[:]):
		return errors.New("the proof is for another token")
	case age > time.Minute || age < -time.Minute:
		return errors.New("the proof is too old, or of the future")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if claims.ID == "" || p.seen[claims.ID] {
		return errors.New("the proof has no jti, or was used before")
	}
	p.seen[claims.ID] = true
	return nil
}

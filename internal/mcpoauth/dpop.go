package mcpoauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// dpopAlgorithm is the one that every server with DPoP knows.
const dpopAlgorithm = "ES256"

// DPoPKey is a P-256 key that tokens are bound to (RFC 9449). It signs with ES256 and is safe for concurrent use.
type DPoPKey struct {
	key *ecdsa.PrivateKey
}

// GenerateDPoPKey returns a fresh key.
func GenerateDPoPKey() *DPoPKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		// crypto/rand never fails: it ends the program instead.
		panic("mcpoauth: " + err.Error())
	}
	return &DPoPKey{key: key}
}

// ParseDPoPKey reads what JWK wrote. The error is InvalidMetadata (Misconfigured), and tells nothing of the key.
func ParseDPoPKey(jwk []byte) (*DPoPKey, error) {
	var parsed jose.JSONWebKey
	err := json.Unmarshal(jwk, &parsed)
	key, ok := parsed.Key.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() || !parsed.Valid() {
		return nil, misconfigured(InvalidMetadata, "the DPoP key is no private JWK on the curve P-256 (RFC 7518, "+
			"section 6.2)")
	}
	return &DPoPKey{key: key}, nil
}

// JWK is the private key in JSON (RFC 7517): a secret.
func (k *DPoPKey) JWK() []byte {
	text, err := json.Marshal(jose.JSONWebKey{Key: k.key, Algorithm: dpopAlgorithm, Use: "sig"})
	if err != nil {
		panic("mcpoauth: a P-256 key cannot be encoded: " + err.Error())
	}
	return text
}

// Thumbprint is what servers bind tokens to (RFC 7638 with SHA-256; RFC 9449, section 6.1).
func (k *DPoPKey) Thumbprint() string {
	sum, err := (&jose.JSONWebKey{Key: &k.key.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil {
		panic("mcpoauth: a P-256 key has no thumbprint: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// String keeps the key out of whatever prints it.
func (k *DPoPKey) String() string { return "DPoP key " + k.Thumbprint() }

// GoString is String, for %#v.
func (k *DPoPKey) GoString() string { return k.String() }

// DPoPProof says what a proof is for (RFC 9449, section 4.2).
type DPoPProof struct {
	Method string
	URL    *url.URL
	// AccessToken that the request carries; empty at the token endpoint.
	AccessToken string
	// Nonce that the server gave; empty: none is known.
	Nonce string
}

type proofClaims struct {
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	URL      string `json:"htu"`
	IssuedAt int64  `json:"iat"`
	Nonce    string `json:"nonce,omitempty"`
	Hash     string `json:"ath,omitempty"`
}

// Prove signs a proof, which is the value of the DPoP header of one request.
func (k *DPoPKey) Prove(p DPoPProof, now time.Time) (string, error) {
	// Neither query nor fragment. An empty path is sent as a slash.
	target := url.URL{Scheme: p.URL.Scheme, Host: p.URL.Host, Path: p.URL.Path, RawPath: p.URL.RawPath}
	if target.Path == "" {
		target.Path = "/"
	}
	claims := proofClaims{ID: rand.Text(), Method: p.Method, URL: target.String(), IssuedAt: now.Unix(), Nonce: p.Nonce}
	if p.AccessToken != "" {
		sum := sha256.Sum256([]byte(p.AccessToken))
		claims.Hash = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	// EmbedJWK puts the public half into the header.
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	return signJWT(jose.SigningKey{Algorithm: dpopAlgorithm, Key: k.key}, options, claims)
}

// postProved posts a token request with a proof where there is a key. A server that wants its nonce in the proof has
// spent nothing when it says so (RFC 9449, section 8), so the request is sent once more with the nonce, by the same
// SendBy. It is made anew for that, since what it signs may be good for one use only.
func (c *Client) postProved(ctx context.Context, u *url.URL, ep TokenEndpoint,
	request func() ([]byte, http.Header, *Error)) (*answer, *Error) {
	body, header, e := request()
	if e != nil {
		e.Outcome = NotSent
		return nil, e
	}
	if ep.DPoP == nil {
		return c.postOnce(ctx, u, body, header, ep.SendBy, TokenRequestFailing)
	}
	a, e := c.postWithProof(ctx, u, ep, body, header)
	if e != nil || !wantsNonce(a) {
		return a, e
	}
	if body, header, e = request(); e != nil {
		e.Outcome = NotSent
		return nil, e
	}
	return c.postWithProof(ctx, u, ep, body, header)
}

func (c *Client) postWithProof(ctx context.Context, u *url.URL, ep TokenEndpoint, body []byte,
	header http.Header) (*answer, *Error) {
	proof, err := ep.DPoP.Prove(DPoPProof{Method: http.MethodPost, URL: u, Nonce: c.nonces.get(origin(u))}, c.o.Now())
	if err != nil {
		e := misconfigured(InvalidMetadata, "POST %s was not sent: the DPoP key does not sign", showURL(u))
		e.Outcome = NotSent
		return nil, e
	}
	header.Set("DPoP", proof)
	a, e := c.postOnce(ctx, u, body, header, ep.SendBy, TokenRequestFailing)
	if e == nil {
		c.nonces.put(origin(u), a.dpopNonce)
	}
	return a, e
}

const useDPoPNonce = "use_dpop_nonce"

func wantsNonce(a *answer) bool {
	if a.dpopNonce == "" || (a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized) {
		return false
	}
	said := parseOAuthError(a.body)
	return said != nil && said.raw == useDPoPNonce
}

const (
	maxNonces = 1024
	// maxNonce is what is kept of a stranger's header.
	maxNonce = 1024
)

// nonces are the newest of each origin (RFC 9449, section 8.2). One that was forgotten costs a request more.
type nonces struct {
	mu       sync.Mutex
	byOrigin map[string]string
}

func (n *nonces) get(origin string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byOrigin[origin]
}

func (n *nonces) put(origin, nonce string) {
	if nonce == "" || len(nonce) > maxNonce {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.byOrigin[origin]; !known && len(n.byOrigin) >= maxNonces {
		for some := range n.byOrigin {
			delete(n.byOrigin, some)
			break
		}
	}
	n.byOrigin[origin] = nonce
}

// ChallengesDPoP is true for a DPoP challenge without a Bearer one beside it, which would be a choice (RFC 9449,
// section 7.2).
func ChallengesDPoP(challenges []Challenge) bool {
	return hasScheme(challenges, "DPoP") && !hasScheme(challenges, "Bearer")
}

// requiresDPoP is true if tokens must be bound to a key: by challenge, or because the protected resource metadata say
// so (RFC 9728, section 2).
func requiresDPoP(challenges []Challenge, resource *ProtectedResourceMetadata) bool {
	return ChallengesDPoP(challenges) || (resource != nil && resource.DPoPBoundAccessTokensRequired)
}

// checkDPoP fails if the authorization server would refuse every proof. One that lists no algorithm may still know
// DPoP, as many documents are older than their servers, and the token endpoint will say; the list is optional (RFC
// 9449, section 5.1).
func checkDPoP(as *AuthorizationServerMetadata) *Error {
	listed := as.DPoPSigningAlgValuesSupported
	if len(listed) == 0 || slices.Contains(listed, dpopAlgorithm) {
		return nil
	}
	return misconfigured(InvalidMetadata,
		"the MCP server wants DPoP, but authorization server %s lists no ES256 among dpop_signing_alg_values_supported; "+
			"have it support ES256", showRaw(as.Issuer))
}

package harness

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// DPoP is the transport of a workload whose token is bound to a key: it signs every request as RFC 9449 section 7 says,
// and sends one once more if the server wants its nonce in the proof (section 9). It shares no code with the operator.
type DPoP struct {
	signer jose.Signer
	token  string
	base   http.RoundTripper

	mu    sync.Mutex
	nonce string
}

// NewDPoP takes dpop_jwk and access_token of a token Secret. Requests go out by base.
func NewDPoP(jwk []byte, accessToken string, base http.RoundTripper) (*DPoP, error) {
	var key jose.JSONWebKey
	if err := json.Unmarshal(jwk, &key); err != nil {
		return nil, errors.New("the DPoP key is no JWK")
	}
	private, ok := key.Key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the DPoP key is no private EC key")
	}
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, options)
	return &DPoP{signer: signer, token: accessToken, base: base}, err
}

// RoundTrip implements http.RoundTripper.
func (d *DPoP) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		body, err = io.ReadAll(request.Body)
		if err = errors.Join(err, request.Body.Close()); err != nil {
			return nil, err
		}
	}
	response, err := d.send(request, body)
	if err != nil || !wantsNonce(response) {
		return response, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	return d.send(request, body)
}

// wantsNonce is about a challenge of the MCP server.
func wantsNonce(response *http.Response) bool {
	return response.StatusCode == http.StatusUnauthorized && response.Header.Get("DPoP-Nonce") != "" &&
		strings.Contains(response.Header.Get("WWW-Authenticate"), "use_dpop_nonce")
}

// send sends the request with a proof of its own.
func (d *DPoP) send(request *http.Request, body []byte) (*http.Response, error) {
	proof, err := d.prove(request)
	if err != nil {
		return nil, err
	}
	signed := request.Clone(request.Context())
	if request.Body != nil {
		signed.Body = io.NopCloser(bytes.NewReader(body))
	}
	signed.Header.Set("Authorization", "DPoP "+d.token)
	signed.Header.Set("DPoP", proof)
	response, err := d.base.RoundTrip(signed)
	if err != nil {
		return nil, err
	}
	if nonce := response.Header.Get("DPoP-Nonce"); nonce != "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.nonce = nonce
	}
	return response, nil
}

func (d *DPoP) prove(request *http.Request) (string, error) {
	hash := sha256.Sum256([]byte(d.token))
	target := url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host, Path: request.URL.Path,
		RawPath: request.URL.RawPath}
	claims := map[string]any{
		"jti": rand.Text(), "htm": request.Method, "htu": target.String(), "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	}
	d.mu.Lock()
	if d.nonce != "" {
		claims["nonce"] = d.nonce
	}
	d.mu.Unlock()
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signature, err := d.signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signature.CompactSerialize()
}

package mcpoauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLifetime is short, for an assertion is made for one request.
	assertionLifetime = time.Minute
	// maxKey is what is read of a PEM text; a key of RSA with 8192 bits has 6.5 KiB.
	maxKey = 16 << 10
	minRSA = 2048
	pemKey = "PRIVATE KEY"
)

// SigningKey signs client assertions (RFC 7523, section 2.2).
type SigningKey struct {
	// KeyID is the kid of assertions and of the public key (RFC 7515, section 4.1.4); empty: none is sent.
	KeyID     string
	signer    crypto.Signer
	algorithm jose.SignatureAlgorithm
}

// ParseSigningKey reads a private key in PKCS#8 PEM: EC P-256 signs with ES256, RSA of 2048 bits or more with RS256,
// Ed25519 with EdDSA. An empty keyID sends none.
//
// The error is CredentialsMissing (Misconfigured), says what is accepted and never holds the key.
func ParseSigningKey(text []byte, keyID string) (*SigningKey, error) {
	refused := func(why string) error {
		return misconfigured(CredentialsMissing, "the private key %s; use a PKCS#8 PEM key (BEGIN PRIVATE KEY) of EC "+
			"P-256, RSA with at least %d bits, or Ed25519", why, minRSA)
	}
	if len(text) > maxKey {
		return nil, refused("is longer than 16 KiB")
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, refused("is not PEM")
	}
	if block.Type != pemKey {
		return nil, refused("is not an unencrypted PKCS#8 key (openssl pkcs8 -topk8 -nodes converts one)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, refused("cannot be parsed")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, refused("cannot sign")
	}
	algorithm := signatureAlgorithm(signer)
	if algorithm == "" {
		return nil, refused("is of another kind or too short")
	}
	return &SigningKey{KeyID: keyID, signer: signer, algorithm: algorithm}, nil
}

// signatureAlgorithm is empty for keys that are not accepted.
func signatureAlgorithm(key crypto.Signer) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSA {
			return jose.RS256
		}
	case ed25519.PrivateKey:
		return jose.EdDSA
	}
	return ""
}

// OwnKeyAlgorithm is the alg of keys that GenerateSigningKey makes.
const OwnKeyAlgorithm = string(jose.ES256)

// GenerateSigningKey returns a new key for ES256. Its KeyID is the key's thumbprint (RFC 7638).
func GenerateSigningKey() (*SigningKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	k := &SigningKey{signer: key, algorithm: jose.ES256}
	jwk := k.PublicJWK()
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	k.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return k, nil
}

// Algorithm is the alg of signatures (RFC 7518, section 3.1; RFC 8037), such as ES256.
func (k *SigningKey) Algorithm() string { return string(k.algorithm) }

// PublicJWK is the public half for a jwks.json (RFC 7517).
func (k *SigningKey) PublicJWK() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.KeyID, Algorithm: string(k.algorithm), Use: "sig"}
}

// PEM is the private key in PKCS#8, as ParseSigningKey reads it.
func (k *SigningKey) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// String keeps the key out of whatever prints it.
func (k *SigningKey) String() string { return string(k.algorithm) + " key " + k.KeyID }

// GoString is String, for %#v.
func (k *SigningKey) GoString() string { return k.String() }

// assertionClaims of a client assertion (RFC 7523, section 3). The audience is one string: the issuer of the server,
// which no other server accepts.
type assertionClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
}

func (k *SigningKey) clientAssertion(clientID, issuer string, now time.Time) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT")
	if k.KeyID != "" {
		options = options.WithHeader("kid", k.KeyID)
	}
	return signJWT(jose.SigningKey{Algorithm: k.algorithm, Key: k.signer}, options, assertionClaims{
		Issuer: clientID, Subject: clientID, Audience: issuer, ID: rand.Text(),
		IssuedAt: now.Unix(), Expiry: now.Add(assertionLifetime).Unix(),
	})
}

// assert authenticates by private_key_jwt (RFC 7523, section 2.2).
func (ep TokenEndpoint) assert(form url.Values, now time.Time) *Error {
	switch {
	case ep.Key == nil:
		return misconfigured(CredentialsMissing, "the client authenticates by private_key_jwt but has no private key; add "+
			"a PKCS#8 PEM key private_key to its credentials, or use another authentication method")
	case ep.Issuer == "":
		return misconfigured(InvalidMetadata, "the client authenticates by private_key_jwt but the issuer of the "+
			"authorization server is not known")
	}
	assertion, err := ep.Key.clientAssertion(ep.Client.ClientID, ep.Issuer, now)
	if err != nil {
		// The library's text could name parts of the key.
		return misconfigured(CredentialsMissing, "the client assertion cannot be signed with the private key; "+
			"replace the key")
	}
	form.Set("client_id", ep.Client.ClientID)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

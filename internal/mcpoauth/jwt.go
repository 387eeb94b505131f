package mcpoauth

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxJWT is what is read of a JWT; those of identity providers with many groups have some KiB.
const maxJWT = 64 << 10

// JWTExpiry reads the exp claim of an access token that happens to be a JWT (RFC 7519, section 4.1.4), without
// verifying anything: it may guide a schedule and nothing else. It is zero for every other token.
func JWTExpiry(token string) time.Time {
	payload, ok := jwtPayload(token)
	if !ok {
		return time.Time{}
	}
	var claims struct {
		Expiry float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expiry <= 0 || claims.Expiry > math.MaxInt32*4 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expiry), 0)
}

// AssertionAudience reads the aud claim of a JWT that is about to be sent (RFC 7519, section 4.1.3), without verifying
// anything: whoever sends it checks that it is meant for the receiver and for nobody else. It is nil if there is none.
// Claims that two readers could read differently are refused.
//
// The error is CredentialsMissing (Misconfigured) and never holds the assertion.
func AssertionAudience(assertion string) ([]string, error) {
	payload, ok := jwtPayload(assertion)
	if !ok {
		return nil, misconfigured(CredentialsMissing, "the assertion is not a JWT of at most 64 KiB (RFC 7519); use a "+
			"signed JWT whose audience is the authorization server")
	}
	var claims struct {
		Audience audience `json:"aud"`
	}
	if err := decodeDocument(payload, &claims, []string{"aud"}); err != nil {
		return nil, misconfigured(CredentialsMissing, "the claims of the assertion are not a JSON object with an aud that "+
			"is a string or an array of strings, each member once (RFC 7519); use another assertion")
	}
	return claims.Audience, nil
}

// audience is a string or an array of strings.
type audience []string

// UnmarshalJSON takes null for an empty string, as encoding/json does.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// signJWT makes a JWT of claims.
func signJWT(key jose.SigningKey, options *jose.SignerOptions, claims any) (string, error) {
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// jwtPayload returns the claims of a JWS in compact form (RFC 7515, section 7.1).
func jwtPayload(token string) ([]byte, bool) {
	// The decoder would skip line breaks.
	if len(token) > maxJWT || strings.ContainsAny(token, "\r\n") {
		return nil, false
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	return payload, err == nil
}

// JWTIssuer reads the iss claim of a JWT (RFC 7519, section 4.1.1), without verifying anything; empty if there is none.
func JWTIssuer(token string) string {
	payload, ok := jwtPayload(token)
	if !ok {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

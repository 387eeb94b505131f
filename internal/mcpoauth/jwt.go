package mcpoauth

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"
)

// JWTExpiry reads the exp claim of an access token that happens to be a JWT (RFC 7519, section 4.1.4), without
// verifying anything: it may guide a schedule and nothing else. It is zero for every other token.
func JWTExpiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
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
